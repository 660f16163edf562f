//! Handshakes over an in-memory pipe with certificates made on the spot.

use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

struct Root {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Root {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn material(&self, names: Vec<SanType>) -> Material {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Material::from_pem(&leaf.pem(), &key.serialize_pem(), &self.issuer.pem()).unwrap()
    }

    fn account(&self, name: &str) -> Material {
        let uri = Identity::new("shop", name).to_spiffe("cluster.local");
        self.material(vec![SanType::URI(uri.try_into().unwrap())])
    }
}

/// Who the server saw, or the dialler's error.
async fn shake(server: &Credentials, client: &Credentials, expect: Expect) -> Result<Identity, String> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let acceptor = TlsAcceptor::from(server.server_config(ClientAuth::Required, &[]).unwrap());
    let connector = TlsConnector::from(client.client_config(expect, &[]).unwrap());
    let name = "ignored".try_into().unwrap();
    let (accepted, connected) = tokio::join!(acceptor.accept(far), connector.connect(name, near));
    connected.map_err(|error| error.to_string())?;
    let accepted = accepted.map_err(|error| error.to_string())?;
    let (_, session) = accepted.get_ref();
    Identity::from_certificate(&session.peer_certificates().unwrap()[0]).map_err(|error| error.to_string())
}

/// Goal: both ends learn who the other is, and a dialler refuses anybody else.
#[tokio::test]
async fn a_dialler_takes_only_whom_it_expects() {
    let root = Root::new();
    let server = Credentials::new(root.account("pricing"));
    let client = Credentials::new(root.account("shop"));
    let wanted = Expect::Identity(Identity::new("shop", "pricing"));
    assert_eq!(shake(&server, &client, wanted).await, Ok(Identity::new("shop", "shop")));
    let other = Expect::Identity(Identity::new("shop", "billing"));
    assert!(shake(&server, &client, other).await.is_err());
    let name = Expect::Names(vec!["broker.infra.svc".to_owned()]);
    assert!(shake(&server, &client, name).await.is_err(), "a service account is not a DNS name");
}

/// Goal: a server with DNS names is taken by any one of them.
#[tokio::test]
async fn one_name_of_several_is_enough() {
    let root = Root::new();
    let names = vec![SanType::DnsName("broker.infra.svc".try_into().unwrap())];
    let server = Credentials::new(root.material(names));
    let client = Credentials::new(root.account("shop"));
    let expect = Expect::Names(vec!["elsewhere".to_owned(), "broker.infra.svc".to_owned()]);
    assert!(shake(&server, &client, expect).await.is_ok());
    let wrong = Expect::Names(vec!["broker.other.svc".to_owned()]);
    assert!(shake(&server, &client, wrong).await.is_err());
}

/// Goal: a certificate of another root is refused on both sides, and replacing the credentials
/// reaches the next connection.
#[tokio::test]
async fn strangers_are_refused_and_replacement_takes_effect() {
    let (ours, theirs) = (Root::new(), Root::new());
    let wanted = || Expect::Identity(Identity::new("shop", "pricing"));
    let server = Credentials::new(ours.account("pricing"));
    let client = Credentials::new(theirs.account("shop"));
    assert!(shake(&server, &client, wanted()).await.is_err());
    client.replace(ours.account("shop"));
    assert!(shake(&server, &client, wanted()).await.is_ok());
    assert!(Credentials::empty().server_config(ClientAuth::None, &[]).is_err());
}

/// Goal: only the documented form names an account.
#[test]
fn only_the_documented_form_is_an_identity() {
    let whole = Identity::from_spiffe("spiffe://cluster.local/ns/shop/sa/billing");
    assert_eq!(whole, Some(Identity::new("shop", "billing")));
    for bad in ["spiffe://d/ns/a/sa", "spiffe://d/ns/a/sa/b/c", "https://d/ns/a/sa/b", "spiffe:///ns/a/sa/b"]
    {
        assert_eq!(Identity::from_spiffe(bad), None, "{bad}");
    }
    assert!("shop/billing".parse::<Identity>().is_ok());
    assert!("billing".parse::<Identity>().is_err() && "a/b/c".parse::<Identity>().is_err());
}
