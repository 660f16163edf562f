//! `/metrics`, `/live` and `/ready` on a port of their own, and one path more for a program that has something to tell.
//!
//! They run on a thread with a runtime of its own, so that a scrape never delays a message.

mod lines;
mod patience;
#[cfg(test)]
mod tests;

pub use lines::Lines;

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
use std::time::Duration;

/// A connection that takes nothing of what it asked for is closed after so long.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// What the admin listener tells.
#[derive(Debug, Clone)]
pub struct Pages {
    /// Under `/metrics`.
    pub registry: Registry,
    /// Under `/ready`.
    pub readiness: Readiness,
    /// Under a path of their own.
    pub lines: Option<Lines>,
}

/// Opens `address` (port 0 = any) and serves until `shutdown` begins; returns the real address.
///
/// # Errors
/// When the port cannot be opened.
pub fn serve_admin(address: SocketAddr, pages: Pages, shutdown: Shutdown) -> Result<SocketAddr, AdminError> {
    serve_patiently(address, pages, shutdown, PATIENCE)
}

fn serve_patiently(
    address: SocketAddr,
    pages: Pages,
    shutdown: Shutdown,
    patience: Duration,
) -> Result<SocketAddr, AdminError> {
    let failed = |source| AdminError { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let app = router(pages);
    tasks::spawn_thread("admin", move || {
        runtime.block_on(async move {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(socket) => {
                    let door = patience::Door { socket, patience };
                    let serving = async { axum::serve(door, app).await };
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

fn router(pages: Pages) -> Router {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready));
    let router = match pages.lines.clone() {
        Some(lines) => router.route(lines.path, get(async move || lines.answer())),
        None => router,
    };
    router.with_state(pages)
}

async fn ready(State(pages): State<Pages>) -> Response {
    if pages.readiness.is_ready() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, pages.readiness.text()).into_response()
}

async fn metrics(State(pages): State<Pages>) -> Response {
    let mut text = Vec::new();
    let encoder = TextEncoder::new();
    if let Err(error) = encoder.encode(&pages.registry.gather(), &mut text) {
        return (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response();
    }
    ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response()
}
