//! Leaf certificates. Names come from the caller's decision, never from a request.

use super::{
    Authority, AuthorityError, CSR_BYTES_MAX, Issued, IssuedKey, SIDECAR_LIFETIME, ServerNames, set_validity,
};
use control::Identity;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls_pki_types::CertificateSigningRequestDer;
use std::time::Duration;

fn spiffe(trust_domain: &str, identity: &Identity) -> Result<SanType, AuthorityError> {
    let uri = format!("spiffe://{trust_domain}/ns/{}/sa/{}", identity.namespace, identity.service_account);
    let name = uri.as_str().try_into().map_err(|_| AuthorityError::Name { name: uri.clone() })?;
    Ok(SanType::URI(name))
}

fn leaf(common_name: &str, names: Vec<SanType>, usages: Vec<ExtendedKeyUsagePurpose>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.subject_alt_names = names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages;
    params.use_authority_key_identifier_extension = true;
    params
}

impl Authority {
    /// Signs the public key of a PKCS#10 request for `identity`, for `lifetime`. Everything else that
    /// the request says is ignored.
    ///
    /// # Errors
    /// When the request is too long, damaged, or not signed by its own key.
    pub fn sign_request(
        &self,
        csr: &[u8],
        (identity, lifetime): (&Identity, Duration),
        now: i64,
    ) -> Result<Issued, AuthorityError> {
        if csr.len() > CSR_BYTES_MAX {
            return Err(AuthorityError::Request(format!(
                "it has {} bytes; the limit is {CSR_BYTES_MAX}",
                csr.len()
            )));
        }
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr))
            .map_err(|error| AuthorityError::Request(error.to_string()))?;
        let params = self.identity_params(identity)?;
        self.sign(params, &request.public_key, lifetime, now)
    }

    /// A new key with a certificate for `identity`, as sidecars have it.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn issue_identity(&self, identity: &Identity, now: i64) -> Result<IssuedKey, AuthorityError> {
        self.sign_new_key(self.identity_params(identity)?, SIDECAR_LIFETIME, now)
    }

    /// A new key with a server's certificate, for at most 90 days.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn issue_server(
        &self,
        names: &ServerNames,
        lifetime: Duration,
        now: i64,
    ) -> Result<IssuedKey, AuthorityError> {
        let mut all = Vec::new();
        for dns in &names.dns {
            let name = dns.as_str().try_into().map_err(|_| AuthorityError::Name { name: dns.clone() })?;
            all.push(SanType::DnsName(name));
        }
        all.extend(names.addresses.iter().copied().map(SanType::IpAddress));
        let mut usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let mut common_name = names.dns.first().cloned().unwrap_or_default();
        if let Some(identity) = &names.identity {
            all.push(spiffe(&self.trust_domain, identity)?);
            usages.push(ExtendedKeyUsagePurpose::ClientAuth);
            common_name = identity.to_string();
        }
        if let Some(client) = &names.client {
            usages.push(ExtendedKeyUsagePurpose::ClientAuth);
            common_name.clone_from(client);
        }
        self.sign_new_key(leaf(&common_name, all, usages), lifetime, now)
    }

    fn identity_params(&self, identity: &Identity) -> Result<CertificateParams, AuthorityError> {
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok(leaf(&identity.to_string(), vec![spiffe(&self.trust_domain, identity)?], usages))
    }

    fn sign_new_key(
        &self,
        params: CertificateParams,
        lifetime: Duration,
        now: i64,
    ) -> Result<IssuedKey, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Sign)?;
        let Issued { chain_pem, not_after } = self.sign(params, &key, lifetime, now)?;
        Ok(IssuedKey { chain_pem, key_pem: key.serialize_pem(), not_after })
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
        lifetime: Duration,
        now: i64,
    ) -> Result<Issued, AuthorityError> {
        let not_after = set_validity(&mut params, now, self.lifetime(lifetime, now));
        let issuer = self.signer(now).ok_or(AuthorityError::NoRoot)?.issuer()?;
        let certificate = params.signed_by(key, &issuer).map_err(AuthorityError::Sign)?;
        Ok(Issued { chain_pem: certificate.pem(), not_after })
    }
}
