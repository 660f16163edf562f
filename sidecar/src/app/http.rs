//! The HTTP door, and the switch between it and gRPC on the same port.
//!
//! `POST /v1/topics/NAME`, `POST /v1/channels/NAME` publish the body; `GET …/messages` subscribes;
//! `POST /v1/channels/NAME/request` sends the body as a request and answers with the reply. Errors are
//! `application/problem+json`. The shape of a message in JSON is in `http/json.rs`.

mod json;
mod places;
mod problem;
mod publish;
mod request;
mod subscribe;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use http::{HeaderMap, Method, Request, Uri, header};

use super::socket::{HttpResponse, Service};
use super::{Doors, grpc};
use crate::messaging::{Name, Problem, ProblemKind};
use problem::Refusal;
pub(super) use publish::{describe, message, read};

/// Both kinds of request, by path and content type.
pub(super) fn service(doors: Doors) -> Service {
    Router::new()
        .route("/v1/topics/{name}", post(publish_topic))
        .route("/v1/channels/{name}", post(publish_channel))
        .route("/v1/topics/{name}/messages", get(subscribe_topic))
        .route("/v1/channels/{name}/messages", get(subscribe_channel))
        .route("/v1/channels/{name}/request", post(request))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(fallback)
        .with_state(doors)
}

async fn publish_topic(
    State(doors): State<Doors>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> HttpResponse {
    let published = publish::publish(&doors, named(&doors, "topics", &name), request).await;
    answer(&doors, published)
}

async fn publish_channel(
    State(doors): State<Doors>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> HttpResponse {
    let published = publish::publish(&doors, named(&doors, "channels", &name), request).await;
    answer(&doors, published)
}

async fn subscribe_topic(
    State(doors): State<Doors>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> HttpResponse {
    let subscribed = subscribe::subscribe(&doors, named(&doors, "topics", &name), &uri, &headers).await;
    answer(&doors, subscribed)
}

async fn subscribe_channel(
    State(doors): State<Doors>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> HttpResponse {
    let subscribed = subscribe::subscribe(&doors, named(&doors, "channels", &name), &uri, &headers).await;
    answer(&doors, subscribed)
}

async fn request(
    State(doors): State<Doors>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> HttpResponse {
    let replied = request::request(&doors, named(&doors, "channels", &name), request).await;
    answer(&doors, replied)
}

async fn method_not_allowed(method: Method, uri: Uri) -> HttpResponse {
    problem::response(&Refusal {
        status: http::StatusCode::METHOD_NOT_ALLOWED,
        code: "METHOD_NOT_ALLOWED",
        detail: format!(
            "{method} {}: POST publishes to /v1/topics/NAME and /v1/channels/NAME, GET reads their /messages",
            uri.path()
        ),
    })
}

async fn fallback(State(doors): State<Doors>, request: Request<Body>) -> HttpResponse {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
        return grpc::call(&doors, request).await;
    }
    problem::response(&Refusal::from(Problem::new(
        ProblemKind::NotFound,
        format!("{}: there is /v1/topics/NAME, /v1/channels/NAME and their /messages", request.uri().path()),
    )))
}

fn named(doors: &Doors, kind: &str, name: &str) -> Result<Name, Problem> {
    Name::parse(&format!("{kind}/{name}"), &doors.namespace)
}

fn answer(doors: &Doors, result: Result<HttpResponse, Refusal>) -> HttpResponse {
    result.unwrap_or_else(|refusal| {
        doors.metrics.door_refusals.with_label_values(&["http", refusal.code]).inc();
        problem::response(&refusal)
    })
}

#[cfg(test)]
mod tests;
