//! The keys and certificates of a cluster, under one authority of its own. They live as long as
//! the cluster and are never used elsewhere, so they are made anew each time and do not expire.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};

use super::layout::{Layout, NODE_ADDRESS, SERVICE_FIRST};

/// Keys are for their owner's eyes.
const KEY_MODE: u32 = 0o600;

/// One certificate: the file's name, whom it names, and under which names it serves.
struct Identity {
    file: &'static str,
    common_name: String,
    organization: Option<&'static str>,
    serves: Vec<String>,
}

fn identities(layout: &Layout) -> Vec<Identity> {
    let user = |file, common_name: &str, organization| Identity {
        file,
        common_name: common_name.to_owned(),
        organization,
        serves: Vec::new(),
    };
    let server = |file, names: &[&str]| Identity {
        file,
        common_name: file.to_owned(),
        organization: None,
        serves: names.iter().map(|&name| name.to_owned()).collect(),
    };
    let masters = Some("system:masters");
    vec![
        user("admin", "admin", masters),
        user("apiserver-to-kubelet", "apiserver", masters),
        user("coredns", "coredns", masters),
        user("controller-manager", "system:kube-controller-manager", None),
        user("scheduler", "system:kube-scheduler", None),
        user("proxy", "system:kube-proxy", None),
        user("node", &format!("system:node:{}", layout.name()), Some("system:nodes")),
        server(
            "apiserver",
            &[
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local",
                "localhost",
                "127.0.0.1",
                NODE_ADDRESS,
                SERVICE_FIRST,
            ],
        ),
        server("kubelet", &[layout.name(), NODE_ADDRESS]),
    ]
}

/// Writes `authority.crt` and `.key`, one pair for each identity, and the key pair that signs
/// service account tokens.
pub(crate) fn write(layout: &Layout) -> Result<()> {
    let folder = layout.certificates();
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "pinnace test cluster");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate().context("cannot make the authority's key")?;
    let authority =
        CertifiedIssuer::self_signed(parameters, key).context("cannot make the authority's certificate")?;
    write_pair(&folder, "authority", &authority.pem(), authority.key())?;

    for identity in identities(layout) {
        let (certificate, key) = issue(&identity, &authority)
            .with_context(|| format!("cannot make the certificate {}", identity.file))?;
        write_pair(&folder, identity.file, &certificate, &key)?;
    }

    let tokens = KeyPair::generate().context("cannot make the token key")?;
    write_secret(&folder.join("tokens.key"), &tokens.serialize_pem())?;
    fs::write(folder.join("tokens.pub"), tokens.public_key_pem()).context("cannot write the public token key")
}

fn issue(
    identity: &Identity,
    authority: &CertifiedIssuer<'_, KeyPair>,
) -> Result<(String, KeyPair), rcgen::Error> {
    let mut parameters = CertificateParams::new(identity.serves.clone())?;
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, identity.common_name.as_str());
    if let Some(organization) = identity.organization {
        parameters.distinguished_name.push(DnType::OrganizationName, organization);
    }
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let purpose = if identity.serves.is_empty() {
        ExtendedKeyUsagePurpose::ClientAuth
    } else {
        ExtendedKeyUsagePurpose::ServerAuth
    };
    parameters.extended_key_usages = vec![purpose];
    let key = KeyPair::generate()?;
    Ok((parameters.signed_by(&key, authority)?.pem(), key))
}

fn write_pair(folder: &Path, name: &str, certificate: &str, key: &KeyPair) -> Result<()> {
    let file = folder.join(format!("{name}.crt"));
    fs::write(&file, certificate).with_context(|| format!("cannot write {}", file.display()))?;
    write_secret(&folder.join(format!("{name}.key")), &key.serialize_pem())
}

fn write_secret(file: &Path, content: &str) -> Result<()> {
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(KEY_MODE)
        .open(file)
        .and_then(|mut open| open.write_all(content.as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Goal: every identity has a certificate and a key that only its owner may read.
    #[test]
    fn every_identity_gets_a_pair() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        fs::create_dir_all(layout.certificates()).unwrap();
        write(&layout).unwrap();
        let names = identities(&layout).into_iter().map(|identity| identity.file);
        for name in names.chain(["authority"]) {
            let certificate = layout.certificates().join(format!("{name}.crt"));
            assert!(fs::read_to_string(certificate).unwrap().contains("BEGIN CERTIFICATE"));
            let key = fs::metadata(layout.certificates().join(format!("{name}.key"))).unwrap();
            assert_eq!(key.permissions().mode() & 0o777, KEY_MODE, "{name}");
        }
        let public = fs::read_to_string(layout.certificates().join("tokens.pub")).unwrap();
        assert!(public.contains("BEGIN PUBLIC KEY"), "{public}");
    }
}
