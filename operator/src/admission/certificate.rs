//! The webhooks' serving certificate: made, renewed, and the authority behind it published.
//!
//! The roots go into `caBundle` before a certificate of theirs is served, so the API server never
//! meets one that it does not know. Everything else of the webhook configurations is the chart's.

mod files;
#[cfg(test)]
mod tests;

pub use files::{FilesError, Folder};

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use control_plane::authority::ServerNames;
use control_plane::{Authority, AuthorityError};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::core::{DynamicObject, GroupVersionKind, TypeMeta};
use kube::discovery::ApiResource;
use kube::{Api, Client, Resource, ResourceExt as _};
use prometheus::IntGaugeVec;
use runtime::backoff::Backoff;
use runtime::health::Readiness;
use runtime::tls::{Credentials, Material, TlsError};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::apply;

/// How long a certificate lives; a new one is made at half of it.
const LIFETIME: Duration = Duration::from_secs(30 * 86_400);
/// How often somebody else's change of `caBundle` is looked for.
const CHECK_PERIOD: Duration = Duration::from_secs(60);
/// The part of readiness that this file owns.
const READINESS: &str = "webhooks";

/// Why there is no new certificate, or nobody knows its root.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It could not be signed.
    #[error("failed to make the webhooks' certificate")]
    Authority(#[from] AuthorityError),
    /// It could not be used.
    #[error("failed to use the webhooks' certificate")]
    Tls(#[from] TlsError),
    /// `caBundle` could not be read or written.
    #[error(
        "failed to publish the authority in {kind} {name}: {source}; does the chart's name for it match --webhook-configuration?"
    )]
    Publish {
        /// Which of the two.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
}

/// Says that the webhooks are not ready; who has a certificate says when they are.
pub(super) fn wait_for_certificate(readiness: &Readiness) {
    readiness.wait_for(READINESS, "the webhooks have no certificate yet");
}

/// Keeps the certificate fresh and its root published.
pub struct Keeper {
    /// Reads and writes the configurations.
    pub client: Client,
    /// The name of both configurations; empty = somebody else publishes the roots.
    pub configuration: String,
    /// The name that the API server dials.
    pub server_name: String,
    /// The authority.
    pub roots: watch::Receiver<Arc<Authority>>,
    /// What the listener serves with.
    pub credentials: Credentials,
    /// Not ready before the first certificate is published and served.
    pub readiness: Readiness,
    /// When certificates end, by `certificate`.
    pub expiration: IntGaugeVec,
}

impl Keeper {
    /// Runs for ever; drop it to end it.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let mut renew_at = 0;
        loop {
            let now = runtime::clock::unix_seconds();
            let pause = match self.step(now, &mut renew_at).await {
                Ok(()) => {
                    self.readiness.done(READINESS);
                    backoff.reset();
                    let left = u64::try_from(renew_at.saturating_sub(now)).unwrap_or(0);
                    CHECK_PERIOD.min(Duration::from_secs(left.max(1)))
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "the webhooks' certificate is not up to date");
                    backoff.next_pause()
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // A closed channel never changes again, and then the period is enough.
                Ok(()) = self.roots.changed() => renew_at = 0,
            }
        }
    }

    async fn step(&mut self, now: i64, renew_at: &mut i64) -> Result<(), CertificateError> {
        let authority = self.roots.borrow_and_update().clone();
        let bundle = authority.bundle_pem();
        self.publish::<MutatingWebhookConfiguration>("MutatingWebhookConfiguration", &bundle).await?;
        self.publish::<ValidatingWebhookConfiguration>("ValidatingWebhookConfiguration", &bundle).await?;
        if now >= *renew_at {
            let names = ServerNames { dns: vec![self.server_name.clone()], ..ServerNames::default() };
            let issued = authority.issue_server(&names, LIFETIME, now)?;
            self.credentials.replace(Material::from_pem(&issued.chain_pem, &issued.key_pem, &bundle)?);
            self.expiration.with_label_values(&["webhook"]).set(issued.not_after);
            *renew_at = now.saturating_add(issued.not_after.saturating_sub(now) / 2);
            tracing::info!(
                name = self.server_name,
                not_after = issued.not_after,
                "made the webhooks' certificate"
            );
        }
        Ok(())
    }

    async fn publish<K: Resource<DynamicType = ()>>(
        &self,
        kind: &'static str,
        bundle: &str,
    ) -> Result<(), CertificateError> {
        let name = self.configuration.as_str();
        if name.is_empty() {
            return Ok(());
        }
        let failed =
            |source| CertificateError::Publish { kind, name: name.to_owned(), source: Box::new(source) };
        let (group, version) = (K::group(&()), K::version(&()));
        let gvk = GroupVersionKind::gvk(&group, &version, kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, &K::plural(&()));
        let configurations: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let present = configurations.get(name).await.map_err(failed)?;
        let Some(webhooks) = with_bundle(&present.data, bundle) else { return Ok(()) };
        let mut wanted =
            DynamicObject::new(&present.name_any(), &resource).data(json!({ "webhooks": webhooks }));
        wanted.types = Some(TypeMeta { api_version: gvk.api_version(), kind: kind.to_owned() });
        apply::apply_part(&configurations, &wanted, "pinnace-webhook-certificate").await.map_err(failed)?;
        tracing::info!(kind, name, "published the authority in caBundle");
        Ok(())
    }
}

/// The part of a configuration that makes every webhook of it trust `bundle`; `None` when all do.
fn with_bundle(configuration: &Value, bundle: &str) -> Option<Vec<Value>> {
    let encoded = BASE64_STANDARD.encode(bundle);
    let webhooks = configuration.get("webhooks").and_then(Value::as_array)?;
    let known =
        |webhook: &Value| webhook.pointer("/clientConfig/caBundle").and_then(Value::as_str) == Some(&encoded);
    if webhooks.iter().all(known) {
        return None;
    }
    let part = |webhook: &Value| json!({"name": webhook.get("name"), "clientConfig": {"caBundle": encoded}});
    Some(webhooks.iter().map(part).collect())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
