//! `/metrics`, `/live` and `/ready` on a port of their own.
//!
//! They run on a thread with a runtime of its own, so that a scrape never delays a message.

use crate::shutdown::Shutdown;
use crate::tasks;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder as _, Registry, TextEncoder};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Named reasons why the process is not ready yet. Ready = none left.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    waiting: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Readiness {
    /// Nothing to wait for.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Not ready because of `part`; `why` is what `/ready` answers.
    pub fn wait_for(&self, part: &'static str, why: impl Into<String>) {
        self.lock().insert(part, why.into());
    }

    /// `part` no longer stands in the way.
    pub fn done(&self, part: &'static str) {
        self.lock().remove(part);
    }

    /// Whether nothing stands in the way.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        self.lock().iter().map(|(part, why)| format!("{part}: {why}\n")).collect()
    }
}

/// The port could not be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to open the admin listener on {address}: is the port taken? choose another with --admin-listen"
)]
pub struct AdminError {
    address: SocketAddr,
    source: std::io::Error,
}

#[derive(Clone)]
struct Admin {
    registry: Registry,
    readiness: Readiness,
}

/// Opens `address` (port 0 = any) and serves until `shutdown` begins; returns the real address.
///
/// # Errors
/// When the port cannot be opened.
pub fn serve_admin(
    address: SocketAddr,
    registry: Registry,
    readiness: Readiness,
    shutdown: Shutdown,
) -> Result<SocketAddr, AdminError> {
    let failed = |source| AdminError { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .with_state(Admin { registry, readiness });
    tasks::spawn_thread("admin", move || {
        runtime.block_on(async move {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => {
                    let serving = async { axum::serve(listener, app).await };
                    if let Some(Err(error)) = shutdown.or(serving).await {
                        tracing::error!(%error, "admin listener failed");
                    }
                }
                Err(error) => tracing::error!(%error, "admin listener failed"),
            }
        });
    })
    .map_err(failed)?;
    Ok(local)
}

async fn ready(State(admin): State<Admin>) -> Response {
    if admin.readiness.is_ready() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, admin.readiness.text()).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let mut text = Vec::new();
    let encoder = TextEncoder::new();
    if let Err(error) = encoder.encode(&admin.registry.gather(), &mut text) {
        return (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response();
    }
    ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Goal: readiness follows its parts and says which one is missing; metrics are Prometheus text.
    #[test]
    fn answers_readiness_and_metrics() {
        let registry = Registry::new();
        let counter = prometheus::IntCounter::new("pinnace_test_total", "for the test").unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        counter.inc();
        let readiness = Readiness::new();
        readiness.wait_for("view", "no view from the control plane yet");
        let shutdown = Shutdown::new();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = serve_admin(any, registry, readiness.clone(), shutdown.clone()).unwrap();
        let answer = get(address, "/ready");
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("view: no view"), "{answer}");
        readiness.done("view");
        assert!(get(address, "/ready").starts_with("HTTP/1.1 200"));
        assert!(get(address, "/live").starts_with("HTTP/1.1 200"));
        assert!(get(address, "/metrics").contains("pinnace_test_total 1"));
        shutdown.begin();
    }
}
