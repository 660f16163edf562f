//! One message as a request to the app, and what its answer means.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use runtime::tasks::{OnError, Tasks};

use crate::app::http as door;
use crate::durable::parts;
use crate::messaging::Message;

/// The longest pause that an app may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// How much of an answer that nobody reads keeps its connection; a longer one ends it.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Idle connections to the app.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// The connections to the app.
pub(super) type Connections = Client<HttpConnector, Full<Bytes>>;

/// Starts the tasks of connections where all tasks are started.
#[derive(Clone)]
struct Executor(Tasks);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, connection: F) {
        drop(self.0.spawn("push connection", OnError::Log, async move {
            connection.await;
            Ok::<_, std::convert::Infallible>(())
        }));
    }
}

pub(super) fn connections(tasks: &Tasks, most: u32) -> Connections {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(Executor(tasks.clone()))
        .pool_max_idle_per_host(usize::try_from(most).unwrap_or(usize::MAX))
        .pool_idle_timeout(IDLE_MAX)
        .pool_timer(hyper_util::rt::TokioTimer::new())
        .build(connector)
}

/// What the app's answer means for the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// 2xx.
    Done,
    /// 429 and 503, or nobody answers: the same message again, after this pause if the app names one.
    Later(Option<Duration>, &'static str),
    /// Everything else, and no answer in time.
    Failed(String),
}

/// What a status means. `Retry-After` is read in its form with seconds (RFC 9110, 10.2.3).
pub(super) fn verdict(status: StatusCode, headers: &HeaderMap) -> Verdict {
    let pause = || {
        let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse::<u64>().ok()?;
        Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
    };
    match status {
        _ if status.is_success() => Verdict::Done,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Verdict::Later(pause(), "later"),
        _ => Verdict::Failed(format!("the app answered {status}")),
    }
}

/// The request that brings a message. Parts stand one behind the other.
pub(super) fn request(
    url: &Uri,
    message: &Message,
    about: &[(&'static str, String)],
) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(parts::join(&message.parts)));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = url.clone();
    door::describe(message, request.headers_mut());
    if let Some(sizes) = parts::sizes(&message.parts) {
        insert(request.headers_mut(), parts::SIZES_HEADER, &sizes);
    }
    for (name, value) in about {
        insert(request.headers_mut(), name, value);
    }
    request
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// Sends it and waits for the head of the answer.
///
/// # Errors
/// What it means that there is none.
pub(super) async fn send(
    connections: &Connections,
    request: Request<Full<Bytes>>,
    timeout: Duration,
) -> Result<Response<Incoming>, Verdict> {
    match tokio::time::timeout(timeout, connections.request(request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) if error.is_connect() => Err(Verdict::Later(None, "unreachable")),
        Ok(Err(error)) => Err(Verdict::Failed(format!("the app broke the connection off: {error}"))),
        Err(_) => Err(Verdict::Failed(format!("the app did not answer within {timeout:?}"))),
    }
}

/// Reads an answer that means nothing, so that its connection can be used again.
pub(super) async fn discard(response: Response<Incoming>, timeout: Duration) {
    let mut body = response.into_body();
    let reading = async {
        let mut bytes = 0;
        while bytes < ANSWER_BYTES_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            bytes += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    drop(tokio::time::timeout(timeout, reading).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: each kind of answer means what the guide says.
    #[test]
    fn statuses_have_their_meaning() {
        let after = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            headers
        };
        let none = HeaderMap::new();
        assert_eq!(verdict(StatusCode::NO_CONTENT, &none), Verdict::Done);
        assert_eq!(verdict(StatusCode::TOO_MANY_REQUESTS, &none), Verdict::Later(None, "later"));
        for (text, seconds) in [("7", Some(7)), ("86400", Some(60)), ("soon", None)] {
            let expected = Verdict::Later(seconds.map(Duration::from_secs), "later");
            assert_eq!(verdict(StatusCode::SERVICE_UNAVAILABLE, &after(text)), expected, "{text}");
        }
        for status in [StatusCode::FOUND, StatusCode::BAD_REQUEST, StatusCode::INTERNAL_SERVER_ERROR] {
            assert!(
                matches!(verdict(status, &none), Verdict::Failed(text) if text.contains(status.as_str()))
            );
        }
    }
}
