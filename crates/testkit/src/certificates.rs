//! A certificate authority made on the spot. Its certificates live long: not for expiry tests.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};

/// A root that exists only in the test.
pub struct TestAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key and the root to trust, as PEM texts.
#[derive(Debug, Clone)]
pub struct Pem {
    /// The leaf.
    pub chain: String,
    /// Its key.
    pub key: String,
    /// The root.
    pub bundle: String,
}

impl Default for TestAuthority {
    fn default() -> Self {
        Self::new()
    }
}

impl TestAuthority {
    /// A new root.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "test root");
        let key = KeyPair::generate().expect("a key can be made");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("a root can sign itself") }
    }

    /// The root as PEM.
    #[must_use]
    pub fn bundle(&self) -> String {
        self.issuer.pem()
    }

    /// For the service account `namespace/name` in the trust domain `cluster.local`.
    #[must_use]
    pub fn account(&self, namespace: &str, name: &str) -> Pem {
        let uri = format!("spiffe://cluster.local/ns/{namespace}/sa/{name}");
        let uri = uri.try_into().expect("names are ASCII");
        self.issue(&format!("{namespace}/{name}"), vec![SanType::URI(uri)])
    }

    /// Signs a request (PKCS#10, DER) for the service account `namespace/name`, as the control plane does; returns PEM.
    /// What the request says of itself is ignored.
    ///
    /// # Panics
    /// When the request cannot be read.
    #[must_use]
    pub fn certify(&self, request: &[u8], namespace: &str, name: &str) -> String {
        let request = CertificateSigningRequestParams::from_der(&request.into()).expect("a request");
        let uri = format!("spiffe://cluster.local/ns/{namespace}/sa/{name}");
        let names = vec![SanType::URI(uri.try_into().expect("names are ASCII"))];
        let params = Self::params(&format!("{namespace}/{name}"), names);
        params.signed_by(&request.public_key, &self.issuer).expect("the root can sign").pem()
    }

    /// For a server with these DNS names or IP addresses.
    #[must_use]
    pub fn server(&self, names: &[&str]) -> Pem {
        let names = names.iter().map(|name| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into().expect("names are ASCII")),
        });
        self.issue("server", names.collect())
    }

    fn params(common_name: &str, names: Vec<SanType>) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = names;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params
    }

    fn issue(&self, common_name: &str, names: Vec<SanType>) -> Pem {
        let params = Self::params(common_name, names);
        let key = KeyPair::generate().expect("a key can be made");
        let leaf = params.signed_by(&key, &self.issuer).expect("the root can sign");
        Pem { chain: leaf.pem(), key: key.serialize_pem(), bundle: self.bundle() }
    }
}

impl Pem {
    /// Writes `tls.crt`, `tls.key` and `ca.crt` into `folder`, the names that Kubernetes uses.
    ///
    /// # Errors
    /// When the folder is missing or cannot be written.
    pub fn write_to(&self, folder: &std::path::Path) -> std::io::Result<()> {
        std::fs::write(folder.join("tls.crt"), &self.chain)?;
        std::fs::write(folder.join("tls.key"), &self.key)?;
        std::fs::write(folder.join("ca.crt"), &self.bundle)
    }
}
