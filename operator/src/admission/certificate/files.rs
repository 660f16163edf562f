//! The webhooks' serving certificate, where somebody else makes it: a folder with `tls.crt`, `tls.key` and maybe `ca.crt`, as a
//! Secret is mounted. Read again when it changes. Publishes nothing: whoever brings it writes `caBundle` too.

#[cfg(test)]
mod tests;

use super::READINESS;
use prometheus::IntGaugeVec;
use runtime::health::Readiness;
use runtime::tls::{ClientAuth, Credentials, Material, TlsError};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITY: &str = "ca.crt";
/// A chain has a few KiB.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// How often the folder is looked at. The kubelet takes up to two minutes to bring a Secret there.
const PERIOD: Duration = Duration::from_secs(10);

/// Why a folder gives no certificate.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file could not be read.
    #[error(
        "failed to read {path} for the webhooks: --webhook-certificate-dir needs {CERTIFICATE} and {KEY} there (a Secret of type kubernetes.io/tls: chart value webhook.certificate.secret)"
    )]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no text, or too long for what it should be.
    #[error("failed to use {path} for the webhooks: it is no PEM text of at most {FILE_BYTES_MAX} bytes")]
    Content {
        /// Which.
        path: String,
    },
    /// They do not fit each other.
    #[error("failed to use {CERTIFICATE}, {KEY} and {AUTHORITY} in {folder} for the webhooks: {reason}")]
    Unusable {
        /// Where.
        folder: String,
        /// What does not fit.
        reason: String,
    },
}

/// Keeps the certificate of a folder in use.
pub struct Folder {
    folder: PathBuf,
    server_name: String,
    credentials: Credentials,
    expiration: IntGaugeVec,
    read: Texts,
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Texts {
    certificate: String,
    key: String,
    authority: Option<String>,
}

impl Folder {
    /// Reads the folder and uses what is in it.
    ///
    /// # Errors
    /// When a file is missing, or they do not fit each other or the name that the API server dials.
    pub async fn open(
        folder: &Path,
        server_name: &str,
        (credentials, expiration): (Credentials, IntGaugeVec),
        readiness: &Readiness,
    ) -> Result<Self, FilesError> {
        let read = read(folder).await?;
        let opened = Self {
            folder: folder.to_owned(),
            server_name: server_name.to_owned(),
            credentials,
            expiration,
            read,
        };
        opened.install(&opened.read)?;
        readiness.done(READINESS);
        Ok(opened)
    }

    /// Uses what comes; what cannot be used leaves the certificate before in use. Runs for ever; drop it to end it.
    pub async fn run(mut self) {
        // The same problem is told once.
        let mut told = String::new();
        loop {
            tokio::time::sleep(PERIOD).await;
            match self.look().await {
                Ok(()) => told.clear(),
                Err(error) => {
                    let problem = super::chain(&error);
                    if problem != told {
                        tracing::error!(problem, "the webhooks go on with the certificate that they have");
                        told = problem;
                    }
                }
            }
        }
    }

    async fn look(&mut self) -> Result<(), FilesError> {
        let now = read(&self.folder).await?;
        if now != self.read {
            self.install(&now)?;
            self.read = now;
        }
        Ok(())
    }

    fn install(&self, texts: &Texts) -> Result<(), FilesError> {
        let material = usable(texts, &self.server_name).map_err(|error| FilesError::Unusable {
            folder: self.folder.display().to_string(),
            reason: super::chain(&error),
        })?;
        let not_after = material.not_after().unwrap_or_default();
        self.expiration.with_label_values(&["webhook"]).set(not_after);
        self.credentials.replace(material);
        tracing::info!(folder = %self.folder.display(), not_after, "the webhooks use the certificate of a folder");
        Ok(())
    }
}

async fn read(folder: &Path) -> Result<Texts, FilesError> {
    let authority = match read_file(folder, AUTHORITY).await {
        Err(FilesError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
        read => Some(read?),
    };
    Ok(Texts {
        certificate: read_file(folder, CERTIFICATE).await?,
        key: read_file(folder, KEY).await?,
        authority,
    })
}

async fn read_file(folder: &Path, name: &str) -> Result<String, FilesError> {
    let path = folder.join(name);
    let shown = path.display().to_string();
    let failed = |source| FilesError::File { path: shown.clone(), source };
    let file = tokio::fs::File::open(&path).await.map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).await.map_err(failed)?;
    let is_short = u64::try_from(bytes.len()).is_ok_and(|length| length <= FILE_BYTES_MAX);
    let text = String::from_utf8(bytes).ok().filter(|_| is_short);
    text.ok_or(FilesError::Content { path: shown })
}

/// The material, if the API server can be served with it. Dates are not looked at: one that has ended must not keep all else
/// from working, and the metric says so.
fn usable(texts: &Texts, server_name: &str) -> Result<Material, TlsError> {
    // Nobody shows a certificate to the webhooks; the roots are for the sidecars' side of a listener.
    let bundle = texts.authority.as_ref().unwrap_or(&texts.certificate);
    let material = Material::from_pem(&texts.certificate, &texts.key, bundle)?;
    material.valid_for(server_name)?;
    if texts.authority.is_some() {
        material.signed_by_its_roots()?;
    }
    Credentials::new(material.clone()).server_config(ClientAuth::None, &[])?;
    Ok(material)
}
