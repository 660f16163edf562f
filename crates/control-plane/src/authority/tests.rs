//! What is signed, for whom and for how long, and the change of root over ten years.

mod lives;

use super::*;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

const NOW: i64 = 1_800_000_000;

fn authority() -> Authority {
    Authority::create("cluster.local", NOW).unwrap()
}

fn request(names: Vec<String>) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(names).unwrap();
    params.serialize_request(&key).unwrap().der().to_vec()
}

fn leaf(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// Goal: a sidecar gets the names that its token proved, whatever its request asks for.
#[test]
fn a_request_does_not_choose_its_names() {
    let identity = Identity::new("shop", "billing");
    let issued = authority()
        .sign_request(&request(vec!["evil.example".to_owned()]), (&identity, SIDECAR_LIFETIME), NOW)
        .unwrap();
    let leaf = leaf(&issued.chain_pem);
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    let names = &parsed.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(names.len(), 1);
    assert_eq!(names[0].to_string(), "URI(spiffe://cluster.local/ns/shop/sa/billing)");
    assert_eq!(parsed.subject().to_string(), "CN=shop/billing");
    assert_eq!(parsed.validity().not_after.timestamp(), NOW + 86_400);
    assert!(!parsed.is_ca());
}

/// Goal: a server that dials others has a certificate for both, under its name; one that does not has one for servers alone.
#[test]
fn a_server_that_dials_others_has_a_name() {
    for (client, subject, dials) in
        [(Some("kafka:shop/default"), "CN=kafka:shop/default", true), (None, "CN=a.svc", false)]
    {
        let names = ServerNames {
            dns: vec!["a.svc".to_owned()],
            client: client.map(str::to_owned),
            ..ServerNames::default()
        };
        let issued = authority().issue_server(&names, SIDECAR_LIFETIME, NOW).unwrap();
        let leaf = leaf(&issued.chain_pem);
        let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).unwrap();
        assert_eq!(parsed.subject().to_string(), subject);
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert_eq!((usage.server_auth, usage.client_auth), (true, dials), "{subject}");
        let names = &parsed.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(names.len(), 1, "it is no service account: {names:?}");
    }
}

/// Goal: what a clock ten minutes ahead signs, roots and leaves, is valid for everybody else at once.
#[test]
fn clocks_may_differ_by_ten_minutes() {
    let (authority, identity) = (authority(), Identity::new("shop", "billing"));
    let issued = authority.sign_request(&request(vec![]), (&identity, SIDECAR_LIFETIME), NOW).unwrap();
    for pem in [issued.chain_pem, authority.bundle_pem()] {
        let certificate = leaf(&pem);
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
        assert!(parsed.validity().not_before.timestamp() <= NOW - 600, "{:?}", parsed.validity());
    }
    assert_eq!(authority.roots[0].age(NOW), 0, "a root's age does not count that");
}

/// Goal: damaged, oversized and forged requests are refused.
#[test]
fn bad_requests_are_refused() {
    let identity = Identity::new("shop", "billing");
    let good = request(vec![]);
    assert!(authority().sign_request(&good, (&identity, SIDECAR_LIFETIME), NOW).is_ok());
    for at in [10, good.len() / 2, good.len() - 1] {
        let mut forged = good.clone();
        forged[at] ^= 0x40;
        assert!(authority().sign_request(&forged, (&identity, SIDECAR_LIFETIME), NOW).is_err(), "byte {at}");
    }
    assert!(authority().sign_request(&[], (&identity, SIDECAR_LIFETIME), NOW).is_err());
    assert!(
        authority().sign_request(&vec![0x30; CSR_BYTES_MAX + 1], (&identity, SIDECAR_LIFETIME), NOW).is_err()
    );
}

/// Goal: what is stored makes the same authority again.
#[test]
fn stored_roots_are_read_back() {
    let first = authority();
    let again = Authority::load("cluster.local", first.stored()).unwrap();
    assert_eq!(first.bundle_pem(), again.bundle_pem());
    assert!(matches!(Authority::load("cluster.local", vec![]), Err(AuthorityError::NoRoot)));
}

/// Goal: through the whole change of root, everything signed is covered by the bundle, there are
/// never more than two roots, and the old one goes.
#[test]
fn the_root_changes_without_a_gap() {
    let day = 86_400;
    let mut authority = authority();
    let first = authority.bundle_pem();
    let (mut now, mut most, mut changes) = (NOW, 1, 0);
    while now < NOW + 12 * 365 * day {
        if let Some(next) = authority.advanced(now).unwrap() {
            let signer_before = authority.signer(now).unwrap().stored.certificate_pem.clone();
            assert!(next.bundle_pem().contains(&signer_before), "the signer left at {now}");
            authority = next;
            changes += 1;
        }
        most = most.max(authority.roots.len());
        assert!(authority.root_not_after(now) > now + seconds(SERVER_LIFETIME_MAX));
        now += day;
    }
    assert_eq!((most, changes), (2, 2));
    assert!(!authority.bundle_pem().contains(&first));
}
