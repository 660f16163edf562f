//! TLS 1.3 with credentials that can be replaced while connections go on.
//!
//! Everybody's certificate comes from one authority. Between sidecars the certificate names a
//! service account (a SPIFFE URI), towards servers it carries DNS names; [`Expect`] says which
//! of the two a dialler asks for. There is no way to switch verification off.

mod ahead;
mod identity;
mod verify;

#[cfg(test)]
mod tests;

pub use ahead::ReadAhead;
pub use identity::{Identity, IdentityError};

use arc_swap::ArcSwapOption;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What went wrong with a key, a certificate or a bundle.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM text could not be read.
    #[error("failed to read {what} as PEM: {reason}")]
    Pem {
        /// Which of the three.
        what: &'static str,
        /// What the parser said.
        reason: String,
    },
    /// A file could not be read.
    #[error("failed to read {path}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The parts do not fit each other, or the bundle is empty.
    #[error("failed to use the certificate, key and trust bundle: {reason}")]
    Unusable {
        /// What does not fit.
        reason: String,
    },
    /// Nothing was installed yet.
    #[error("there is no certificate yet")]
    Missing,
}

impl TlsError {
    fn unusable(reason: impl std::fmt::Display) -> Self {
        Self::Unusable { reason: reason.to_string() }
    }
}

/// Makes ring the process's only TLS provider. Call it first in `main`; again does nothing.
pub fn install_provider() {
    // It fails only where one is installed already, which is what is wanted.
    drop(rustls::crypto::ring::default_provider().install_default());
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Whether a server asks its callers for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// It does not.
    None,
    /// It does, and takes callers without one as well.
    Optional,
    /// It takes nobody without one.
    Required,
}

/// Whom a dialler wants at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// A certificate that names this service account.
    Identity(Identity),
    /// A certificate valid for at least one of these DNS names or IP addresses.
    Names(Vec<String>),
}

/// A certificate chain with its key, and the roots to trust.
#[derive(Debug)]
pub struct Material {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

impl Clone for Material {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key(), roots: Arc::clone(&self.roots) }
    }
}

impl Material {
    /// Reads PEM texts: the chain leaf first, the key in PKCS#8 or SEC1, one or more roots.
    ///
    /// # Errors
    /// When one of them cannot be read or is empty.
    pub fn from_pem(chain: &str, key: &str, bundle: &str) -> Result<Self, TlsError> {
        let chain = certificates("the certificate chain", chain)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| TlsError::Pem { what: "the private key", reason: error.to_string() })?;
        Ok(Self { chain, key, roots: roots(bundle)? })
    }

    /// Reads `tls.crt`, `tls.key` and `ca.crt` of a folder, the names that Kubernetes uses.
    ///
    /// # Errors
    /// When a file is missing or cannot be used.
    pub fn from_folder(folder: &Path) -> Result<Self, TlsError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path)
                .map_err(|source| TlsError::File { path: path.display().to_string(), source })
        };
        Self::from_pem(&read("tls.crt")?, &read("tls.key")?, &read("ca.crt")?)
    }

    /// Whom the leaf names; servers with DNS names only have none.
    ///
    /// # Errors
    /// When the leaf carries no readable SPIFFE URI.
    pub fn identity(&self) -> Result<Identity, IdentityError> {
        self.chain.first().ok_or(IdentityError::Missing).and_then(Identity::from_certificate)
    }

    /// Whether whoever dials this name takes the leaf for it.
    ///
    /// # Errors
    /// When the leaf cannot be read, or carries other names.
    pub fn valid_for(&self, name: &str) -> Result<(), TlsError> {
        let leaf = self.chain.first().ok_or(TlsError::Missing)?;
        let parsed = ParsedCertificate::try_from(leaf).map_err(TlsError::unusable)?;
        let server = ServerName::try_from(name).map_err(TlsError::unusable)?;
        verify_server_name(&parsed, &server)
            .map_err(|_| TlsError::unusable(format!("the certificate is not for {name}")))
    }

    /// Whether the roots signed the leaf, over the rest of the chain or at once; that it has ended by now is no matter here.
    ///
    /// # Errors
    /// When they did not.
    pub fn signed_by_its_roots(&self) -> Result<(), TlsError> {
        let (leaf, rest) = self.chain.split_first().ok_or(TlsError::Missing)?;
        let parsed = ParsedCertificate::try_from(leaf).map_err(TlsError::unusable)?;
        let last = u64::try_from(self.not_after().unwrap_or(0)).unwrap_or(0).saturating_sub(1);
        let last = UnixTime::since_unix_epoch(Duration::from_secs(last));
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, rest, last, algorithms).map_err(
            |error| TlsError::unusable(format!("the roots do not vouch for the certificate: {error}")),
        )
    }

    /// When the leaf ends to be valid, in seconds since the Unix epoch; `None` if unreadable.
    #[must_use]
    pub fn not_after(&self) -> Option<i64> {
        self.chain.first().and_then(|leaf| identity::not_after(leaf))
    }
}

fn certificates(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(TlsError::Pem { what, reason: "it holds no certificate".to_owned() }),
        Err(error) => Err(TlsError::Pem { what, reason: error.to_string() }),
    }
}

fn roots(bundle: &str) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    for root in certificates("the trust bundle", bundle)? {
        store.add(root).map_err(TlsError::unusable)?;
    }
    Ok(Arc::new(store))
}

/// The credentials of this process. Clones share them; replacing them reaches the next
/// connection, those that stand go on.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    current: Arc<ArcSwapOption<Material>>,
}

impl Credentials {
    /// None yet: handshakes fail with [`TlsError::Missing`] until [`Self::replace`].
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Credentials that start with `material`.
    #[must_use]
    pub fn new(material: Material) -> Self {
        let credentials = Self::default();
        credentials.replace(material);
        credentials
    }

    /// Uses `material` from the next connection on.
    pub fn replace(&self, material: Material) {
        self.current.store(Some(Arc::new(material)));
    }

    /// What is in use.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Material>> {
        self.current.load_full()
    }

    /// The configuration for the next accepted connection. `alpn` may be empty.
    ///
    /// # Errors
    /// When there are none yet, or key and certificate do not fit.
    pub fn server_config(&self, auth: ClientAuth, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        let material = self.current().ok_or(TlsError::Missing)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::unusable)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&material.roots), provider());
        let builder = match auth {
            ClientAuth::None => builder.with_no_client_auth(),
            ClientAuth::Optional => builder.with_client_cert_verifier(
                verifier.allow_unauthenticated().build().map_err(TlsError::unusable)?,
            ),
            ClientAuth::Required => {
                builder.with_client_cert_verifier(verifier.build().map_err(TlsError::unusable)?)
            }
        };
        let mut config = builder
            .with_single_cert(material.chain.clone(), material.key.clone_key())
            .map_err(TlsError::unusable)?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// The configuration for the next dialled connection: shows our certificate, and takes only
    /// whom `expect` names.
    ///
    /// # Errors
    /// When there are none yet, or key and certificate do not fit.
    pub fn client_config(&self, expect: Expect, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
        let material = self.current().ok_or(TlsError::Missing)?;
        let mut config = client_builder(Arc::clone(&material.roots), expect)?
            .with_client_auth_cert(material.chain.clone(), material.key.clone_key())
            .map_err(TlsError::unusable)?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

/// A dialler without a certificate of its own: for the call that gets the first one.
///
/// # Errors
/// When the bundle cannot be read.
pub fn anonymous_client_config(
    bundle: &str,
    expect: Expect,
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = client_builder(roots(bundle)?, expect)?.with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

fn client_builder(
    roots: Arc<RootCertStore>,
    expect: Expect,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, TlsError> {
    let verifier = verify::ServerVerifier::new(roots, expect, provider());
    Ok(ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier)))
}
