//! `POST /v1/channels/NAME/request`: the body is the request, the answer's body the reply.
//!
//! Headers travel both ways as when publishing. `?timeoutMs=N` waits less than the Channel's requestTimeout,
//! `?idempotent=true` lets another responder do it when the first one is gone.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Query;
use http::{Request, Response, Uri};

use super::problem::Refusal;
use super::publish::{describe, message, read};
use crate::app::socket::HttpResponse;
use crate::app::{Doors, publish as engine};
use crate::durable::parts;
use crate::messaging::{Message, Name, Problem, ProblemKind};

pub(super) async fn request(
    doors: &Doors,
    name: Result<Name, Problem>,
    request: Request<Body>,
) -> Result<HttpResponse, Refusal> {
    let Name::Channel(name) = name? else {
        return Err(Problem::new(ProblemKind::InvalidArgument, "requests go over Channels").into());
    };
    let (timeout, idempotent) = options(request.uri())?;
    let limit = engine::message_bytes_max(doors, &Name::Channel(name.clone())).await?;
    let (head, body) = request.into_parts();
    let mut asked = message(&head.headers);
    asked.parts.push(read(body, &head.headers, limit).await?);
    let reply = doors.channels.request(&name, asked, timeout, idempotent).await?;
    Ok(response(reply))
}

fn options(uri: &Uri) -> Result<(Option<Duration>, bool), Problem> {
    let invalid = |text: String| Problem::new(ProblemKind::InvalidArgument, text);
    let query: Query<Vec<(String, String)>> =
        Query::try_from_uri(uri).map_err(|error| invalid(format!("the query cannot be read: {error}")))?;
    let (mut timeout, mut idempotent) = (None, false);
    for (name, value) in query.0 {
        match (name.as_str(), value.as_str()) {
            ("timeoutMs", _) => {
                let number: u32 =
                    value.parse().map_err(|_| invalid(format!("timeoutMs: {value:?} is no whole number")))?;
                timeout = Some(Duration::from_millis(number.into()));
            }
            ("idempotent", "true") => idempotent = true,
            ("idempotent", "false") => idempotent = false,
            ("idempotent", _) => {
                return Err(invalid(format!("idempotent: {value:?} is neither true nor false")));
            }
            _ => {
                let text = format!("query parameter {name:?} is unknown: there is timeoutMs, idempotent");
                return Err(invalid(text));
            }
        }
    }
    Ok((timeout, idempotent))
}

/// The reply's one part, or all of them one after the other; its headers where HTTP has a form for them.
fn response(reply: Message) -> HttpResponse {
    let mut response = Response::new(Body::from(parts::join(&reply.parts)));
    describe(&reply, response.headers_mut());
    response
}
