//! Roots and what they sign. Pure over the time given, in seconds since the Unix epoch; the caller
//! stores the roots.
//!
//! A root lives `ROOT_LIFETIME`. At two thirds of it [`Authority::advanced`] adds a second one: from then on
//! the bundle holds both, while the old one goes on signing for `OVERLAP`, until everybody trusts
//! the new one. After that the new one signs; the old one leaves once all that it signed has expired.
//! With roots that live shorter all of it is shorter: the overlap and the longest life of a leaf are each at most a sixth
//! of the root's, so that both fit into its last third.

mod sign;
#[cfg(test)]
mod tests;

use control::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use std::net::IpAddr;
use std::time::Duration;

/// How long a root lives.
pub const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long a sidecar's certificate lives; it is renewed at 60 % of that.
pub const SIDECAR_LIFETIME: Duration = Duration::from_secs(86_400);
/// The longest life of a server's certificate.
pub const SERVER_LIFETIME_MAX: Duration = Duration::from_secs(90 * 86_400);
/// How long a new root is only trusted, before it signs.
pub const OVERLAP: Duration = Duration::from_secs(2 * 86_400);
/// The shortest life of a root: a sixth of it must be enough to renew every leaf.
pub const ROOT_LIFETIME_MIN: Duration = Duration::from_secs(60);
/// The overlap, and the longest life of a leaf, as a part of its root's.
const PARTS: u32 = 6;
/// How far clocks may differ: certificates are valid from this much before they are made. A node that lost its time server
/// for a while is some minutes off; a first certificate that nobody else takes for valid yet would keep its Pod out.
const CLOCK_SKEW: Duration = Duration::from_secs(900);
/// The longest signing request, in bytes; one for an elliptic key takes about 300.
const CSR_BYTES_MAX: usize = 8 * 1024;

/// A root as the caller keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredRoot {
    /// The certificate.
    pub certificate_pem: String,
    /// Its key, PKCS#8: secret.
    pub key_pem: String,
}

impl std::fmt::Debug for StoredRoot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("StoredRoot").finish_non_exhaustive()
    }
}

/// A certificate for a key that somebody else holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// PEM, leaf first.
    pub chain_pem: String,
    /// Seconds since the Unix epoch.
    pub not_after: i64,
}

/// A certificate with its key.
#[derive(Clone)]
pub struct IssuedKey {
    /// PEM, leaf first.
    pub chain_pem: String,
    /// PKCS#8 PEM: secret.
    pub key_pem: String,
    /// Seconds since the Unix epoch.
    pub not_after: i64,
}

impl std::fmt::Debug for IssuedKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("IssuedKey").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// What a server's certificate is for.
#[derive(Clone, Debug, Default)]
pub struct ServerNames {
    /// DNS names; a leading `*.` is allowed.
    pub dns: Vec<String>,
    /// IP addresses.
    pub addresses: Vec<IpAddr>,
    /// The service account, for servers that also dial others under it.
    pub identity: Option<Identity>,
    /// Who it is towards other servers, where that is no service account. A name that no service account can have.
    pub client: Option<String>,
}

/// Why nothing was signed or read.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The stored root does not parse, or has no key.
    #[error("failed to read the stored root certificate: {0}")]
    Stored(String),
    /// There is not one root.
    #[error("no root certificate is stored")]
    NoRoot,
    /// The signing request is damaged, too long, or its signature does not match.
    #[error("failed to read the certificate signing request: {0}")]
    Request(String),
    /// A name cannot stand in a certificate.
    #[error("{name:?} cannot be a name in a certificate")]
    Name {
        /// The name.
        name: String,
    },
    /// The signature itself failed.
    #[error("failed to sign a certificate: {0}")]
    Sign(rcgen::Error),
}

#[derive(Clone, Debug)]
struct Root {
    stored: StoredRoot,
    created: i64,
    not_after: i64,
}

/// The roots of one trust domain, oldest first.
#[derive(Clone, Debug)]
pub struct Authority {
    trust_domain: String,
    roots: Vec<Root>,
    root_lifetime: Duration,
}

pub(crate) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Sets the validity: from a little before `now` until `lifetime` after it; returns the end.
fn set_validity(params: &mut CertificateParams, now: i64, lifetime: Duration) -> i64 {
    let since_epoch = Duration::from_secs(u64::try_from(now).unwrap_or(0));
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + since_epoch.saturating_add(lifetime);
    now.saturating_add(seconds(lifetime))
}

impl Root {
    fn create(trust_domain: &str, lifetime: Duration, now: i64) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Sign)?;
        let mut params = CertificateParams::default();
        set_validity(&mut params, now, lifetime);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Pinnace");
        params.distinguished_name.push(DnType::CommonName, format!("{trust_domain} root {now}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(AuthorityError::Sign)?;
        Self::read(StoredRoot { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    fn read(stored: StoredRoot) -> Result<Self, AuthorityError> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(stored.certificate_pem.as_bytes())
            .map_err(|error| AuthorityError::Stored(error.to_string()))?;
        let parsed = pem.parse_x509().map_err(|error| AuthorityError::Stored(error.to_string()))?;
        let validity = parsed.validity();
        let created = validity.not_before.timestamp().saturating_add(seconds(CLOCK_SKEW));
        let root = Self { stored, created, not_after: validity.not_after.timestamp() };
        root.issuer()?;
        Ok(root)
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, AuthorityError> {
        let stored = |error: rcgen::Error| AuthorityError::Stored(error.to_string());
        let key = KeyPair::from_pem(&self.stored.key_pem).map_err(stored)?;
        Issuer::from_ca_cert_pem(&self.stored.certificate_pem, key).map_err(stored)
    }

    /// How long it has been there.
    fn age(&self, now: i64) -> i64 {
        now.saturating_sub(self.created)
    }

    fn life(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.not_after.saturating_sub(self.created)).unwrap_or(0))
    }
}

impl Authority {
    /// A new authority with one root.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn create(trust_domain: &str, now: i64) -> Result<Self, AuthorityError> {
        Self::create_with(trust_domain, ROOT_LIFETIME, now)
    }

    /// A new authority whose roots live for `root_lifetime`.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn create_with(
        trust_domain: &str,
        root_lifetime: Duration,
        now: i64,
    ) -> Result<Self, AuthorityError> {
        let root_lifetime = root_lifetime.max(ROOT_LIFETIME_MIN);
        let roots = vec![Root::create(trust_domain, root_lifetime, now)?];
        Ok(Self { trust_domain: trust_domain.to_owned(), roots, root_lifetime })
    }

    /// The same roots; those to come live for `root_lifetime`, and one that was to live longer is replaced as if it had
    /// that life. What it signed before goes on being trusted.
    #[must_use]
    pub fn with_root_lifetime(mut self, root_lifetime: Duration) -> Self {
        self.root_lifetime = root_lifetime.max(ROOT_LIFETIME_MIN);
        self
    }

    /// The authority whose roots were stored.
    ///
    /// # Errors
    /// When there are none or they cannot be read.
    pub fn load(trust_domain: &str, stored: Vec<StoredRoot>) -> Result<Self, AuthorityError> {
        let mut roots = stored.into_iter().map(Root::read).collect::<Result<Vec<_>, _>>()?;
        if roots.is_empty() {
            return Err(AuthorityError::NoRoot);
        }
        roots.sort_by_key(|root| root.created);
        Ok(Self { trust_domain: trust_domain.to_owned(), roots, root_lifetime: ROOT_LIFETIME })
    }

    /// What the caller keeps, oldest first.
    #[must_use]
    pub fn stored(&self) -> Vec<StoredRoot> {
        self.roots.iter().map(|root| root.stored.clone()).collect()
    }

    /// Of the SPIFFE ids.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// PEM of every root to trust.
    #[must_use]
    pub fn bundle_pem(&self) -> String {
        self.roots.iter().map(|root| root.stored.certificate_pem.as_str()).collect()
    }

    /// When the root that signs at `now` ends, in seconds since the Unix epoch; for the metric.
    #[must_use]
    pub fn root_not_after(&self, now: i64) -> i64 {
        self.signer(now).map_or(0, |root| root.not_after)
    }

    /// The next step of a change of root, when one is due; the caller stores the result, then uses it.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn advanced(&self, now: i64) -> Result<Option<Self>, AuthorityError> {
        let pairs = self.roots.iter().zip(self.roots.iter().skip(1));
        // All that it signed is over: nothing was signed by it any more once the next one was trusted.
        let is_over = |(old, next): &(&Root, &Root)| {
            let leaves = (old.life() / PARTS).min(SERVER_LIFETIME_MAX);
            next.age(now) > seconds(self.overlap(old).saturating_add(leaves))
        };
        let over: Vec<&StoredRoot> = pairs.filter(is_over).map(|(old, _)| &old.stored).collect();
        let due = |root: &Root| root.age(now) > seconds(self.life(root)) / 3 * 2;
        let add = self.roots.last().is_none_or(due);
        if over.is_empty() && !add {
            return Ok(None);
        }
        let mut stored = self.stored();
        stored.retain(|root| !over.contains(&root));
        if add {
            stored.push(Root::create(&self.trust_domain, self.root_lifetime, now)?.stored);
        }
        let next = Self::load(&self.trust_domain, stored)?;
        Ok(Some(next.with_root_lifetime(self.root_lifetime)))
    }

    /// How long a leaf really lives that is asked for now.
    #[must_use]
    pub fn lifetime(&self, asked: Duration, now: i64) -> Duration {
        let longest = self.signer(now).map_or(Duration::ZERO, |root| self.life(root) / PARTS);
        asked.min(SERVER_LIFETIME_MAX).min(longest)
    }

    /// How often to look whether a step is due, so that everybody hears of it in time.
    #[must_use]
    pub fn check_period(&self) -> Duration {
        let shortest = self.roots.iter().map(|root| self.life(root)).min();
        shortest.map_or(Duration::ZERO, |life| life / 60).max(Duration::from_secs(1))
    }

    /// The life of a root by the setting of now.
    fn life(&self, root: &Root) -> Duration {
        root.life().min(self.root_lifetime)
    }

    /// How long the root after this one is only trusted.
    fn overlap(&self, root: &Root) -> Duration {
        (self.life(root) / PARTS).min(OVERLAP)
    }

    /// The newest root that everybody has had time to trust, else the oldest. One that ended while nobody looked signs
    /// nothing any more.
    fn signer(&self, now: i64) -> Option<&Root> {
        let pairs = self.roots.iter().zip(self.roots.iter().skip(1));
        let trusted = |(old, next): &(&Root, &Root)| {
            next.age(now) >= seconds(self.overlap(old)) || old.not_after <= now
        };
        pairs.rev().find(trusted).map(|(_, next)| next).or_else(|| self.roots.first())
    }
}
