//! The admission webhooks: AdmissionReview in, answer out.
//!
//! `/inject` puts the sidecar into labelled Pods, `/validate` refuses objects of our kinds that
//! cannot work. Nothing is written here, in a dry run or otherwise, and nothing is asked of the
//! API server while it waits for an answer.

pub mod certificate;
pub mod inject;
mod listen;
mod review;
mod surroundings;
#[cfg(test)]
mod tests;
pub mod validate;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use control_plane::Authority;
use kube::Client;
use prometheus::IntGaugeVec;
use runtime::health::Readiness;
use runtime::tasks::Tasks;
use runtime::tls::Credentials;
use tokio::sync::watch;

pub use listen::ListenError;

use crate::{metrics::AdmissionMetrics, users};
use inject::{Outcome, Settings, inject};
use review::{API_VERSION, Answer, Request, Review, ReviewResponse};
use validate::{Surroundings, Verdict, validate};

/// Object and old object of the largest request that the API server takes, as JSON.
const BODY_BYTES_MAX: usize = 8 << 20;
/// The API server waits at most 30 s, and less with our own settings.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// A refused deletion is looked at again after so long: who deletes Topics and their Broker in one breath is ahead of
/// what this replica watches.
const DELETION_PAUSE: Duration = Duration::from_millis(500);

/// What the webhooks decide with.
pub struct Webhooks {
    /// What all sidecars have in common; its bundle is replaced by that of `roots`.
    pub settings: Settings,
    /// Who signs; every root to trust is told to each sidecar.
    pub roots: watch::Receiver<Arc<Authority>>,
    /// The other objects of the cluster.
    pub surroundings: Arc<dyn Surroundings>,
    /// Counts the answers.
    pub metrics: AdmissionMetrics,
}

/// Where the webhooks are, for the API server and for this process.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where they listen.
    pub listen: SocketAddr,
    /// The name that the API server dials.
    pub server_name: String,
    /// Name of both webhook configurations; empty = somebody else publishes the roots.
    pub configuration: String,
    /// Where somebody else puts the certificate, and publishes its roots; `None` = it is made here.
    pub certificate_folder: Option<PathBuf>,
}

/// Why the webhooks did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port could not be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The certificate that somebody else brings cannot be used.
    #[error(transparent)]
    Certificate(#[from] certificate::FilesError),
}

/// Starts the webhooks of this replica with a certificate of their own; returns the real address.
/// `expiration` has the label `certificate`.
///
/// # Errors
/// When the port cannot be opened, or a folder gives no certificate.
pub async fn start(
    place: Place,
    webhooks: Webhooks,
    (client, readiness): (Client, Readiness),
    expiration: IntGaugeVec,
    tasks: &Tasks,
) -> Result<SocketAddr, StartError> {
    let credentials = Credentials::empty();
    certificate::wait_for_certificate(&readiness);
    if let Some(folder) = &place.certificate_folder {
        let uses = (credentials.clone(), expiration);
        let folder = certificate::Folder::open(folder, &place.server_name, uses, &readiness).await?;
        drop(tasks.spawn_until_shutdown("webhook certificate", folder.run()));
        return Ok(serve(place.listen, credentials, webhooks, tasks).await?);
    }
    let keeper = certificate::Keeper {
        client,
        configuration: place.configuration,
        server_name: place.server_name,
        roots: webhooks.roots.clone(),
        credentials: credentials.clone(),
        readiness,
        expiration,
    };
    let address = serve(place.listen, credentials, webhooks, tasks).await?;
    drop(tasks.spawn_until_shutdown("webhook certificate", keeper.run()));
    Ok(address)
}

/// An answer and the word it is counted under.
type Decision = (Answer, &'static str);

/// Opens the HTTPS port and answers until the shutdown begins; returns the real address.
///
/// # Errors
/// When the port cannot be opened.
pub async fn serve(
    address: SocketAddr,
    credentials: Credentials,
    webhooks: Webhooks,
    tasks: &Tasks,
) -> Result<SocketAddr, ListenError> {
    listen::serve(address, credentials, router(webhooks), tasks).await
}

fn router(webhooks: Webhooks) -> Router {
    Router::new()
        .route("/inject", post(answer_inject))
        .route("/validate", post(answer_validate))
        .with_state(Arc::new(webhooks))
}

async fn answer_inject(State(webhooks): State<Arc<Webhooks>>, body: Body) -> Response {
    answer(&webhooks, "inject", body, Webhooks::decide_pod).await
}

async fn answer_validate(State(webhooks): State<Arc<Webhooks>>, body: Body) -> Response {
    answer(&webhooks, "validate", body, Webhooks::decide_object).await
}

async fn answer(
    webhooks: &Webhooks,
    webhook: &'static str,
    body: Body,
    decide: fn(&Webhooks, &Request) -> Decision,
) -> Response {
    let started = runtime::clock::now();
    let answered = match read(body).await {
        Ok(request) => {
            let mut decision = decide(webhooks, &request);
            if request.operation == "DELETE" && matches!(decision.0, Answer::Denied { .. }) {
                tokio::time::sleep(DELETION_PAUSE).await;
                decision = decide(webhooks, &request);
            }
            let (answer, result) = decision;
            log(webhook, &request, &answer, result);
            webhooks.metrics.answered(webhook, result, started.elapsed());
            ReviewResponse::new(request.uid, answer)
                .and_then(|response| serde_json::to_vec(&response))
                .map_err(|error| {
                    (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to write the answer: {error}"))
                })
        }
        Err(problem) => {
            webhooks.metrics.answered(webhook, "bad_request", started.elapsed());
            Err(problem)
        }
    };
    match answered {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err((status, message)) => {
            tracing::warn!(webhook, %status, message, "webhook request not answered");
            (status, message).into_response()
        }
    }
}

async fn read(body: Body) -> Result<Request, (StatusCode, String)> {
    let reading = tokio::time::timeout(BODY_DEADLINE, axum::body::to_bytes(body, BODY_BYTES_MAX));
    let bytes: Bytes = reading
        .await
        .map_err(|_| (StatusCode::REQUEST_TIMEOUT, "the body took too long to arrive".to_owned()))?
        .map_err(|error| (StatusCode::PAYLOAD_TOO_LARGE, format!("failed to read the body: {error}")))?;
    let bad = |message: String| (StatusCode::BAD_REQUEST, message);
    let review: Review = serde_json::from_slice(&bytes)
        .map_err(|error| bad(format!("the body is no AdmissionReview: {error}")))?;
    if review.api_version != API_VERSION {
        return Err(bad(format!("apiVersion is {:?}; send {API_VERSION}", review.api_version)));
    }
    review.request.ok_or_else(|| bad("the AdmissionReview holds no request".to_owned()))
}

fn log(webhook: &str, request: &Request, answer: &Answer, result: &str) {
    let Request { namespace, name, kind, operation, dry_run, .. } = request;
    let kind = &kind.kind;
    match answer {
        Answer::Allowed { .. } => {
            tracing::debug!(webhook, namespace, name, kind, operation, dry_run, result, "allowed")
        }
        Answer::Denied { message } => {
            tracing::info!(webhook, namespace, name, kind, operation, dry_run, message, "denied");
        }
    }
}

impl Webhooks {
    fn decide_pod(&self, request: &Request) -> Decision {
        if request.operation != "CREATE" || request.kind.kind != "Pod" || !request.kind.group.is_empty() {
            return (Answer::allowed(), "other_object");
        }
        let (user_id, warning) = self.user(&request.namespace);
        let trust_bundle_pem = self.roots.borrow().bundle_pem();
        let settings = Settings { trust_bundle_pem, user_id, ..self.settings.clone() };
        match inject(&request.object, &settings) {
            Outcome::Patched { patch, mut warnings } => {
                warnings.extend(warning);
                (Answer::Allowed { patch: Some(patch), warnings }, "injected")
            }
            Outcome::Skipped(skip) => (Answer::allowed(), skip.name()),
            Outcome::Refused { problems } => {
                let message = format!("the Pod cannot have a sidecar: {}", problems.join("; "));
                (Answer::Denied { message }, "refused")
            }
        }
    }

    /// The user that a sidecar in this namespace runs as, and what its owner should know.
    fn user(&self, namespace: &str) -> (u32, Option<String>) {
        let range = self.surroundings.uid_range(namespace);
        match range.as_deref().map(users::last_of) {
            None => (inject::USER_ID, None),
            Some(Ok(user_id)) => (user_id, None),
            Some(Err(problem)) => {
                let annotation = users::UID_RANGE;
                (
                    inject::USER_ID,
                    Some(format!("annotation {annotation} of namespace {namespace}: {problem}")),
                )
            }
        }
    }

    fn decide_object(&self, request: &Request) -> Decision {
        match validate(request, self.surroundings.as_ref()) {
            Verdict::Fine => (Answer::allowed(), "valid"),
            Verdict::Doubtful { warnings } => {
                (Answer::Allowed { patch: None, warnings }, "valid_with_warnings")
            }
            Verdict::Wrong { message } => (Answer::Denied { message }, "refused"),
        }
    }
}
