//! Who we are: a key of our own and a certificate for our service account, got with a projected token, renewed long
//! before it ends, kept while the control plane is away.

use crate::control::{Address, connect};
use crate::metrics::Metrics;
use crate::state::StateDir;
use crate::view::ViewReceiver;
use proto::control::CertifyRequest;
use proto::control::control_client::ControlClient;
use runtime::backoff::Backoff;
use runtime::clock;
use runtime::tls::{self, Credentials, Expect, Material};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;

/// Renew when this part of the certificate's life is over.
const RENEW_AFTER: f64 = 0.6;
/// Spread of the moment of renewal, as a part of the life: a thousand sidecars do not come at once.
const RENEW_JITTER: f64 = 0.1;
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long one try may take.
const CERTIFY_MAX: Duration = Duration::from_secs(10);

/// A certificate with its key, as it is saved.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Certified {
    chain_pem: String,
    key_pem: String,
    bundle_pem: String,
    /// Seconds since the Unix epoch.
    issued: i64,
    /// Seconds since the Unix epoch.
    not_after: i64,
}

/// Where a certificate comes from.
pub(crate) struct Source {
    pub(crate) control: Address,
    /// PEM of the roots that were given at the start.
    pub(crate) bundle_pem: String,
    pub(crate) token_file: PathBuf,
}

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
enum CertifyError {
    #[error("failed to read the token file {path}: {source}")]
    Token { path: String, source: std::io::Error },
    #[error("failed to make a key or a request: {0}")]
    Request(#[from] rcgen::Error),
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    #[error("failed to reach the control plane: {0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("the control plane refused: {}: {}", .0.code(), .0.message())]
    Refused(#[from] Box<tonic::Status>),
    #[error("the control plane did not answer within {CERTIFY_MAX:?}")]
    Slow,
}

/// Keeps the credentials valid.
pub(crate) struct Keeper {
    source: Source,
    state: StateDir,
    credentials: Credentials,
    metrics: Metrics,
    current: Option<Certified>,
    /// When the certificate ends, in seconds since the Unix epoch; 0 = there is none yet.
    not_after: watch::Sender<i64>,
}

impl Keeper {
    /// Starts with the saved certificate while it is valid.
    pub(crate) fn new(source: Source, state: StateDir, credentials: Credentials, metrics: Metrics) -> Self {
        let current = state.identity().filter(|saved| saved.not_after > clock::unix_seconds());
        let mut keeper =
            Self { source, state, credentials, metrics, current: None, not_after: watch::Sender::new(0) };
        if let Some(saved) = current
            && let Err(error) = keeper.install(saved)
        {
            tracing::warn!(%error, "the saved certificate cannot be used; asking for a new one");
        }
        keeper
    }

    /// When the certificate ends, in seconds since the Unix epoch; 0 = there is none yet.
    pub(crate) fn not_after(&self) -> watch::Receiver<i64> {
        self.not_after.subscribe()
    }

    fn install(&mut self, certified: Certified) -> Result<(), tls::TlsError> {
        let material = Material::from_pem(&certified.chain_pem, &certified.key_pem, &certified.bundle_pem)?;
        self.credentials.replace(material);
        self.metrics.certificate_expiration.set(certified.not_after);
        self.not_after.send_replace(certified.not_after);
        self.current = Some(certified);
        Ok(())
    }

    fn save(&self) {
        if let Some(current) = &self.current
            && let Err(error) = self.state.save_identity(current)
        {
            tracing::warn!(%error, "the identity is not saved; a restart will need the control plane");
        }
    }

    /// Gets the first certificate and every later one; takes the roots that views bring.
    pub(crate) async fn run(mut self, mut views: ViewReceiver) {
        let mut backoff = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
        let mut due = self.renewal_due();
        loop {
            let wait = Duration::from_secs(u64::try_from(due - clock::unix_seconds()).unwrap_or(0));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = views.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let bundle = views.borrow_and_update().trust_bundle_pem.clone();
                    self.take_bundle(bundle);
                    continue;
                }
            }
            match self.renew().await {
                Ok(()) => {
                    backoff.reset();
                    due = self.renewal_due();
                    self.save();
                    tracing::info!(not_after = *self.not_after.borrow(), "got a certificate");
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to get a certificate; the current one stays while it is valid");
                    tokio::time::sleep(backoff.next_pause()).await;
                }
            }
        }
    }

    /// In seconds since the Unix epoch; now, without a certificate.
    fn renewal_due(&self) -> i64 {
        self.current.as_ref().map_or(0, |current| {
            renewal_seconds(current.issued, current.not_after, runtime::random::fraction())
        })
    }

    /// New roots are trusted at once, beside the certificate that we have.
    fn take_bundle(&mut self, bundle_pem: String) {
        let Some(current) = &self.current else { return };
        if bundle_pem.is_empty() || bundle_pem == current.bundle_pem {
            return;
        }
        match self.install(Certified { bundle_pem, ..current.clone() }) {
            Ok(()) => self.save(),
            Err(error) => tracing::warn!(%error, "the view's trust bundle cannot be used"),
        }
    }

    async fn renew(&mut self) -> Result<(), CertifyError> {
        let certified = tokio::time::timeout(CERTIFY_MAX, self.certify()).await;
        let certified = certified.map_err(|_| CertifyError::Slow)??;
        Ok(self.install(certified)?)
    }

    async fn certify(&self) -> Result<Certified, CertifyError> {
        let path = &self.source.token_file;
        let token = tokio::fs::read_to_string(path)
            .await
            .map_err(|source| CertifyError::Token { path: path.display().to_string(), source })?;
        let key = rcgen::KeyPair::generate()?;
        let csr = rcgen::CertificateParams::default().serialize_request(&key)?;
        let mut bundle = self.source.bundle_pem.clone();
        if let Some(current) = &self.current {
            bundle.push('\n');
            bundle.push_str(&current.bundle_pem);
        }
        let expect = Expect::Names(vec![self.source.control.server_name.clone()]);
        let config = tls::anonymous_client_config(&bundle, expect, &[b"h2"])?;
        let channel = connect(&self.source.control, config).await?;
        let request = CertifyRequest { token: token.trim().to_owned(), csr: csr.der().to_vec().into() };
        let answer = ControlClient::new(channel).certify(request).await.map_err(Box::new)?.into_inner();
        Ok(Certified {
            chain_pem: answer.certificate_chain_pem,
            key_pem: key.serialize_pem(),
            bundle_pem: answer.trust_bundle_pem,
            issued: clock::unix_seconds(),
            not_after: answer.not_after,
        })
    }
}

/// When to renew, in seconds since the Unix epoch. `fraction` in `0.0..1.0` is the jitter.
fn renewal_seconds(issued: i64, not_after: i64, fraction: f64) -> i64 {
    let life = Duration::from_secs(u64::try_from(not_after - issued).unwrap_or(0));
    let after = life.mul_f64(RENEW_AFTER + RENEW_JITTER * (fraction.clamp(0.0, 1.0) - 0.5));
    issued.saturating_add(i64::try_from(after.as_secs()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: renewal comes at 60 % of the life, spread by a tenth of it, and at once for one that is over.
    #[test]
    fn renewal_is_spread_around_sixty_percent() {
        let day = 86_400;
        assert_eq!(renewal_seconds(1000, 1000 + day, 0.5), 1000 + day * 6 / 10);
        let (early, late) = (renewal_seconds(0, day, 0.0), renewal_seconds(0, day, 1.0));
        assert!(early >= day * 55 / 100 - 1 && late <= day * 65 / 100 + 1, "{early} {late}");
        assert_eq!(renewal_seconds(2000, 1000, 0.5), 2000);
    }
}
