//! `GET …/messages`: a subscription as server-sent events or as newline-delimited JSON.
//!
//! Credit comes back by itself as the client reads: a client that does not read gets nothing
//! more, and what it does not read stays where it was. Over HTTP there are no acks: with a
//! group, an offset is committed once the client's connection took the message.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Query;
use bytes::Bytes;
use futures::Stream;
use http::{HeaderMap, HeaderValue, Response, Uri, header};
use runtime::shutdown::Shutdown;

use super::json::{self, Layout};
use super::places::Places;
use super::problem::Refusal;
use crate::app::Doors;
use crate::app::session::{Item, Open, Session};
use crate::app::socket::HttpResponse;
use crate::durable::Start;
use crate::messaging::{Name, Problem, ProblemKind};

/// Messages on their way to a client that names no `credit`.
const CREDIT: u32 = 256;
/// A stream without messages says something this often, so that a client behind a dead
/// connection can tell, and so that we can.
const SILENCE_MAX: Duration = Duration::from_secs(30);

pub(super) async fn subscribe(
    doors: &Doors,
    name: Result<Name, Problem>,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<HttpResponse, Refusal> {
    let name = name?;
    let mut open = options(uri)?;
    let places = last_event(headers)?;
    open.resumed = places.resumed();
    let accepts_events = headers.get_all(header::ACCEPT).iter().any(|value| {
        value.to_str().is_ok_and(|value| value.to_ascii_lowercase().contains("text/event-stream"))
    });
    let (layout, content_type) = if accepts_events {
        (Layout::Events, "text/event-stream")
    } else {
        (Layout::Lines, "application/x-ndjson")
    };
    let session = Session::open(doors, &name, open).await?;
    let shutdown = doors.tasks.shutdown().clone();
    let reader = Reader { session, layout, places, taken: 0, shutdown, ended: false };
    let mut response = Response::new(Body::from_stream(reader.stream()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Where the client's last stream stood; an empty header is none.
fn last_event(headers: &HeaderMap) -> Result<Places, Problem> {
    match headers.get("last-event-id") {
        Some(value) if !value.is_empty() => Places::parse(value.to_str().unwrap_or("\u{fffd}")),
        _ => Ok(Places::default()),
    }
}

fn options(uri: &Uri) -> Result<Open, Problem> {
    let invalid = |text: String| Problem::new(ProblemKind::InvalidArgument, text);
    let query: Query<Vec<(String, String)>> =
        Query::try_from_uri(uri).map_err(|error| invalid(format!("the query cannot be read: {error}")))?;
    let mut open = Open { credit: CREDIT, ..Open::default() };
    for (name, value) in query.0 {
        match (name.as_str(), value.as_str()) {
            ("prefix", _) => open.prefixes.push(Bytes::from(value)),
            ("group", _) => open.group = value,
            ("start", "latest") => open.start = Some(Start::Latest),
            ("start", "earliest") => open.start = Some(Start::Earliest),
            ("start", _) => return Err(invalid(format!("start: {value:?} is neither latest nor earliest"))),
            ("credit", _) => {
                open.credit =
                    value.parse().map_err(|_| invalid(format!("credit: {value:?} is no whole number")))?;
            }
            _ => {
                let text =
                    format!("query parameter {name:?} is unknown: there is prefix, group, start, credit");
                return Err(invalid(text));
            }
        }
    }
    Ok(open)
}

struct Reader {
    session: Session,
    layout: Layout,
    places: Places,
    /// Messages that the connection has taken since the last grant.
    taken: u32,
    shutdown: Shutdown,
    ended: bool,
}

impl Reader {
    fn stream(self) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send {
        futures::stream::unfold(self, |mut reader| async move {
            let piece = reader.next().await?;
            Some((Ok(piece), reader))
        })
    }

    /// Polled when the connection has room for more: so what came before was taken.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if self.taken > 0 {
            self.session.grant(self.taken).await;
            self.taken = 0;
        }
        let shutdown = self.shutdown.clone();
        let items = tokio::select! {
            items = self.session.next() => items?,
            () = tokio::time::sleep(SILENCE_MAX) => return Some(self.alive()),
            () = shutdown.begun() => {
                vec![Item::End(Problem::new(ProblemKind::Unavailable, "the sidecar is shutting down"))]
            }
        };
        let deliveries = items.iter().filter(|item| matches!(item, Item::Delivery(_))).count();
        self.taken = u32::try_from(deliveries).unwrap_or(u32::MAX);
        self.ended = items.iter().any(|item| matches!(item, Item::End(_)));
        Some(json::items(self.layout, items, &mut self.places))
    }

    /// A comment, or an empty line, which readers of either layout skip.
    fn alive(&self) -> Bytes {
        match self.layout {
            Layout::Events => Bytes::from_static(b":\n\n"),
            Layout::Lines => Bytes::from_static(b"\n"),
        }
    }
}
