//! The mechanisms: published examples, what is refused, and a client and a server in memory.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use proptest::prelude::*;

use super::{
    oauth, plain,
    scram::{Challenge, Credential, First, Hash},
};

/// Goal: the exchange of RFC 7677, byte for byte.
#[test]
fn scram_is_the_published_example() {
    let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let credential = Credential::from_password(Hash::Sha256, "pencil", salt);
    let first = First::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
    let challenge = Challenge::new(Hash::Sha256, first, credential, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
    let asked = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    assert_eq!(challenge.server_first(), asked);
    let proof = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let verified = challenge.finish(proof.as_bytes()).unwrap();
    assert_eq!(verified, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    for (what, wrong) in [
        ("another binding", proof.replace("biws", "eSws")),
        ("another nonce", proof.replace("k0,p", "k1,p")),
        ("another proof", proof.replace("dHzb", "dHzc")),
        ("a short proof", proof.replace("dHzb", "")),
        ("no proof", proof.split(",p=").next().unwrap().to_owned()),
    ] {
        assert_eq!(challenge.finish(wrong.as_bytes()), None, "{what}");
    }
}

/// Goal: first messages that ask for what is not there, or that cannot be read, are refused; escapes are undone.
#[test]
fn scram_refuses_what_it_cannot_do() {
    let parse = |text: &str| First::parse(text.as_bytes()).map(|first| first.user);
    assert_eq!(parse("n,,n=a=2Cb=3Dc,r=x").as_deref(), Some("a,b=c"));
    assert_eq!(parse("y,a=me,n=me,r=x").as_deref(), Some("me"));
    for wrong in [
        "",
        "n",
        "n,,",
        "n,,n=user",
        "n,,n=,r=x",
        "n,,n=user,r=",
        "p=tls-unique,,n=user,r=x",
        "n,a=other,n=user,r=x",
        "n,,m=ext,n=user,r=x",
        "n,,n=a=b,r=x",
        "n,,n=user,r=x,tokenauth=true",
        "n,,n=user,r=x y",
    ] {
        assert_eq!(parse(wrong), None, "{wrong}");
    }
}

/// Goal: nobody gets in as a user that is not there, whatever the proof.
#[test]
fn nobody_fits_no_password() {
    let first = First::parse(b"n,,n=ghost,r=abc").unwrap();
    let challenge =
        Challenge::new(Hash::Sha512, first, Credential::of_nobody(Hash::Sha512, vec![1; 16]), "def");
    assert!(challenge.server_first().starts_with("r=abcdef,s="));
    let proof = format!("c=biws,r=abcdef,p={}", BASE64.encode([0; 64]));
    assert_eq!(challenge.finish(proof.as_bytes()), None);
}

/// Goal: PLAIN takes one name and one password, and no name to act for.
#[test]
fn plain_is_read() {
    let parse =
        |token: &[u8]| plain::parse(token).map(|claim| (claim.user.to_owned(), claim.password.to_owned()));
    let alice = Some(("alice".to_owned(), "pw=1".to_owned()));
    assert_eq!(parse(b"\0alice\0pw=1"), alice);
    assert_eq!(parse(b"alice\0alice\0pw=1"), alice);
    for wrong in [
        &b""[..],
        b"alice",
        b"\0alice",
        b"\0alice\0",
        b"\0\0pw",
        b"bob\0alice\0pw",
        b"\0a\0b\0c",
        b"\0\xff\0pw",
    ] {
        assert_eq!(parse(wrong), None, "{wrong:?}");
    }
}

/// Goal: a bearer token is found in its message, and only there.
#[test]
fn bearer_messages_are_read() {
    let parse = |text: &str| oauth::parse(text.as_bytes());
    assert_eq!(parse("n,,\x01auth=Bearer a.b.c\x01\x01").as_deref(), Some("a.b.c"));
    assert_eq!(parse("n,,\x01ext=1\x01auth=bearer a.b.c\x01\x01").as_deref(), Some("a.b.c"));
    for wrong in [
        "",
        "n,,",
        "n,a=bob,\x01auth=Bearer a\x01\x01",
        "n,,\x01auth=Basic a\x01\x01",
        "n,,\x01auth=Bearer\x01\x01",
    ] {
        assert_eq!(parse(wrong), None, "{wrong:?}");
    }
}

proptest! {
    /// Goal: no bytes make a mechanism panic.
    #[test]
    fn arbitrary_tokens_never_panic(token in proptest::collection::vec(any::<u8>(), 0..200), text in "[ -~]{0,80}") {
        for token in [&token[..], text.as_bytes(), format!("n,,n={text}").as_bytes()] {
            prop_assert!(plain::parse(token).is_none_or(|claim| token.len() > claim.user.len()));
            prop_assert!(oauth::parse(token).is_none_or(|bearer| token.len() > bearer.len()));
            if let Some(first) = First::parse(token) {
                let nobody = Credential::of_nobody(Hash::Sha256, vec![0; 16]);
                prop_assert_eq!(Challenge::new(Hash::Sha256, first, nobody, "n").finish(token), None);
            }
        }
    }
}
