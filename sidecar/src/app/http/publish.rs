//! `POST`: one body, one message. The limit is known before the first byte of the body is read.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;

use super::json;
use super::problem::Refusal;
use crate::app::socket::HttpResponse;
use crate::app::{Doors, publish as engine};
use crate::messaging::{Message, Name, Problem, ProblemKind};

const KEY: HeaderName = HeaderName::from_static("pinnace-key");
const SUBJECT: HeaderName = HeaderName::from_static("pinnace-subject");
/// CloudEvents in binary mode.
const CLOUD_EVENTS: &str = "ce-";
/// Headers that travel besides: the payload's type, and W3C trace context.
const KEPT: [&str; 3] = ["content-type", "traceparent", "tracestate"];
/// The longest silence in the middle of a body.
const BODY_SILENCE_MAX: Duration = Duration::from_secs(30);
/// How much of a body that is too large is read and thrown away, and for how long.
const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;
const DISCARD_MAX: Duration = Duration::from_secs(2);

pub(super) async fn publish(
    doors: &Doors,
    name: Result<Name, Problem>,
    request: Request<Body>,
) -> Result<HttpResponse, Refusal> {
    let name = name?;
    let limit = engine::message_bytes_max(doors, &name).await?;
    let (head, body) = request.into_parts();
    let mut message = message(&head.headers);
    message.parts.push(read(body, &head.headers, limit).await?);
    let positions = engine::begin(doors, &name, vec![message]).await?.finish().await?;
    let body = positions.first().map(json::position).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Says of a message in headers what HTTP has a form for: the other way round than [`message`].
pub(in crate::app) fn describe(message: &Message, headers: &mut HeaderMap) {
    for (name, value) in &message.headers {
        let kept = name.starts_with(CLOUD_EVENTS) || KEPT.contains(&name.as_str());
        if let (true, Ok(name), Ok(value)) =
            (kept, HeaderName::try_from(name.as_str()), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    let key = message.key.as_ref().map(|key| (KEY, key));
    let subject = (!message.subject.is_empty()).then_some((SUBJECT, &message.subject));
    for (name, value) in key.into_iter().chain(subject) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    }
}

/// What the headers say about the message.
pub(in crate::app) fn message(headers: &HeaderMap) -> Message {
    let bytes = |name: &HeaderName| headers.get(name).map(|value| Bytes::copy_from_slice(value.as_bytes()));
    let kept = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with(CLOUD_EVENTS) || KEPT.contains(&name.as_str()));
    Message {
        subject: bytes(&SUBJECT).unwrap_or_default(),
        key: bytes(&KEY),
        headers: kept
            .map(|(name, value)| (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes())))
            .collect(),
        ..Message::default()
    }
}

/// The body, of at most `limit` bytes. A larger one is refused by its Content-Length, or where
/// it passes the limit; never more than that is kept.
pub(in crate::app) async fn read(
    mut body: Body,
    headers: &HeaderMap,
    limit: usize,
) -> Result<Bytes, Refusal> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.is_some_and(|text| text.parse::<usize>().map_or(true, |length| length > limit)) {
        return Err(too_large(limit));
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(BODY_SILENCE_MAX, body.frame()).await;
        let frame = match frame {
            Err(_) => {
                return Err(Problem::new(ProblemKind::DeadlineExceeded, "the body stopped coming").into());
            }
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                let text = format!("failed to read the body: {error}");
                return Err(Problem::new(ProblemKind::InvalidArgument, text).into());
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + rest.len() + data.len() > limit {
            drop((first, rest, data));
            discard(body).await;
            return Err(too_large(limit));
        }
        // Most bodies come in one piece, which is then not copied.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
                first = Bytes::new();
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// Reads on for a moment: a client that still sends when its connection is closed does not see the answer.
async fn discard(mut body: Body) {
    let reading = async {
        let mut bytes = 0;
        while bytes < DISCARDED_BYTES_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            bytes += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    drop(tokio::time::timeout(DISCARD_MAX, reading).await);
}

fn too_large(limit: usize) -> Refusal {
    Refusal {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        code: "INVALID_ARGUMENT",
        detail: format!("the body exceeds spec.maxMessageSize ({limit} bytes)"),
    }
}
