//! Authorities into Secrets and back.

use super::*;

const NOW: i64 = 1_800_000_000;

fn secret(authority: &Authority) -> Secret {
    Secret { data: Some(data(authority)), ..Secret::default() }
}

/// Goal: what is written makes the same authority again, also with two roots in it.
#[test]
fn secrets_hold_the_whole_authority() {
    let one = Authority::create("cluster.local", NOW).expect("an authority");
    assert_eq!(stored(&secret(&one)), one.stored());
    let late = NOW + 9 * 365 * 86_400;
    let two = one.advanced(late).expect("a key").expect("a step is due");
    assert_eq!(two.stored().len(), 2);
    let again = Authority::load("cluster.local", stored(&secret(&two))).expect("the roots");
    assert_eq!(again.stored(), two.stored());
    assert_eq!(again.bundle_pem(), two.bundle_pem());
}

/// Goal: a damaged Secret gives an error and never an authority with other roots.
#[test]
fn damage_is_no_authority() {
    let whole = secret(&Authority::create("cluster.local", NOW).expect("an authority"));
    for key in [CERTIFICATES, KEYS] {
        let mut data = whole.data.clone().expect("data");
        data.insert(key.to_owned(), ByteString(b"nonsense".to_vec()));
        let damaged = Secret { data: Some(data), ..Secret::default() };
        assert!(matches!(Authority::load("cluster.local", stored(&damaged)), Err(AuthorityError::NoRoot)));
    }
}

/// Goal: the keys are in one field of the Secret alone, apart from what may be shown.
#[test]
fn certificates_and_keys_are_apart() {
    let data = data(&Authority::create("cluster.local", NOW).expect("an authority"));
    let text = |key: &str| String::from_utf8(data[key].0.clone()).expect("PEM");
    assert!(text(CERTIFICATES).contains("CERTIFICATE") && !text(CERTIFICATES).contains("PRIVATE"));
    assert!(text(KEYS).contains("PRIVATE KEY") && !text(KEYS).contains("CERTIFICATE"));
}
