//! Whose token is this? Asks the Kubernetes API, which knows whether the Pod behind it still runs.
//!
//! A TokenReview is a question that happens to be a POST; nothing is stored.

mod offline;
#[cfg(test)]
mod tests;

pub use offline::OfflineReviewer;

use std::time::Duration;

use control_plane::{Identity, ReviewError, TokenReviewer};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};

/// Who the token must be meant for.
pub const AUDIENCE: &str = "pinnace";
/// A sidecar waits meanwhile.
const DEADLINE: Duration = Duration::from_secs(10);
/// Projected tokens have about 1 KiB.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// The API server writes it for tokens that end with their Pod.
const POD_CLAIM: &str = "authentication.kubernetes.io/pod-name";

/// See the module.
#[derive(Clone)]
pub struct KubernetesReviewer {
    reviews: Api<TokenReview>,
}

impl KubernetesReviewer {
    /// Asks through `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { reviews: Api::all(client) }
    }

    async fn ask(&self, token: &str) -> Result<Identity, ReviewError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(ReviewError::Refused(format!(
                "it has {} bytes; the limit is {TOKEN_BYTES_MAX}",
                token.len()
            )));
        }
        let spec = TokenReviewSpec { audiences: Some(vec![AUDIENCE.to_owned()]), token: token.to_owned() };
        let question = TokenReview { spec, ..TokenReview::default() };
        let parameters = PostParams::default();
        let asking = self.reviews.create(&parameters, &question);
        let answer = tokio::time::timeout(DEADLINE, asking)
            .await
            .map_err(|_| ReviewError::Unavailable("the Kubernetes API did not answer in time".to_owned()))?
            .map_err(|error| {
                ReviewError::Unavailable(format!("the Kubernetes API could not review it: {error}"))
            })?;
        read(&answer.status.unwrap_or_default()).map_err(ReviewError::Refused)
    }
}

impl TokenReviewer for KubernetesReviewer {
    fn review<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Identity, ReviewError>> {
        self.ask(token).boxed()
    }
}

/// The service account that the answer proves, or why it proves none.
fn read(status: &TokenReviewStatus) -> Result<Identity, String> {
    if status.authenticated != Some(true) {
        let why = status.error.as_deref().unwrap_or("the Kubernetes API does not know it");
        return Err(format!("{why}; is it the token that Pinnace projects into the Pod?"));
    }
    // An API server that knows no audiences answers for all of them: then the list is missing.
    if !status.audiences.iter().flatten().any(|audience| audience == AUDIENCE) {
        return Err(format!("it is not meant for audience {AUDIENCE}"));
    }
    let user = status.user.clone().unwrap_or_default();
    let name = user.username.unwrap_or_default();
    let account = name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    let Some((namespace, service_account)) = account else {
        return Err(format!("{name:?} is no service account"));
    };
    if user.extra.is_none_or(|extra| extra.get(POD_CLAIM).is_none_or(Vec::is_empty)) {
        return Err(format!("the token of {namespace}/{service_account} is bound to no Pod"));
    }
    Ok(Identity::new(namespace, service_account))
}
