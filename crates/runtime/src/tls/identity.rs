//! Reads who a certificate names. Verification of the chain happens before, in rustls.

use rustls_pki_types::CertificateDer;
use std::fmt;
use std::str::FromStr;
use x509_parser::extensions::GeneralName;

/// A service account: `NAMESPACE/NAME`, in a certificate `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub service_account: String,
}

/// A text or a certificate does not name a service account.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdentityError {
    /// The certificate cannot be parsed.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// It carries no SPIFFE URI of ours.
    #[error("the certificate names no service account")]
    Missing,
    /// Not `NAMESPACE/NAME`.
    #[error("{0:?} is not of the form NAMESPACE/SERVICEACCOUNT")]
    Form(String),
}

impl Identity {
    /// Both parts given; no check.
    #[must_use]
    pub fn new(namespace: impl Into<String>, service_account: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), service_account: service_account.into() }
    }

    /// The first SPIFFE URI of the form above among the certificate's names.
    ///
    /// # Errors
    /// When there is none.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let (_, parsed) =
            x509_parser::parse_x509_certificate(certificate).map_err(|_| IdentityError::Unreadable)?;
        let names = parsed
            .subject_alternative_name()
            .map_err(|_| IdentityError::Unreadable)?
            .ok_or(IdentityError::Missing)?;
        names
            .value
            .general_names
            .iter()
            .find_map(|name| match name {
                GeneralName::URI(uri) => Self::from_spiffe(uri),
                _ => None,
            })
            .ok_or(IdentityError::Missing)
    }

    /// Reads `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/NAME`.
    #[must_use]
    pub fn from_spiffe(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix("spiffe://")?.split('/');
        let domain = parts.next()?;
        let found = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let ("ns", namespace, "sa", service_account) = found else { return None };
        let whole = !domain.is_empty() && !namespace.is_empty() && !service_account.is_empty();
        (whole && parts.next().is_none()).then(|| Self::new(namespace, service_account))
    }

    /// `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/NAME`.
    #[must_use]
    pub fn to_spiffe(&self, trust_domain: &str) -> String {
        format!("spiffe://{trust_domain}/ns/{}/sa/{}", self.namespace, self.service_account)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.service_account)
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self::new(namespace, name))
            }
            _ => Err(IdentityError::Form(text.to_owned())),
        }
    }
}

pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}
