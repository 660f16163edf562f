//! Errors as `application/problem+json` (RFC 9457). Pure.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::app::socket::HttpResponse;
use crate::messaging::{Problem, ProblemKind};

/// A refusal in HTTP's words.
#[derive(Debug)]
pub(in crate::app) struct Refusal {
    pub(super) status: StatusCode,
    /// The same word as gRPC's status code, where there is one.
    pub(super) code: &'static str,
    pub(in crate::app) detail: String,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let (status, code) = match problem.kind {
            ProblemKind::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            ProblemKind::PermissionDenied => (StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
            ProblemKind::NotSupported => (StatusCode::NOT_IMPLEMENTED, "UNIMPLEMENTED"),
            ProblemKind::InvalidArgument => (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT"),
            ProblemKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
            ProblemKind::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "DEADLINE_EXCEEDED"),
            ProblemKind::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED"),
            ProblemKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"),
        };
        Self { status, code, detail: problem.message }
    }
}

/// The answer that carries it.
pub(super) fn response(refusal: &Refusal) -> HttpResponse {
    let body = json!({
        "type": "about:blank",
        "title": refusal.status.canonical_reason().unwrap_or_default(),
        "status": refusal.status.as_u16(),
        "code": refusal.code,
        "detail": refusal.detail,
    });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = refusal.status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}
