//! Tokens in, identities or reasons out, over an API server that shows its keys and counts who asks. No cluster.

mod rsa;

use super::*;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use jsonwebtoken::{EncodingKey, Header};
use kube::client::Body;
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A key pair of an API server.
struct Pair {
    id: &'static str,
    algorithm: Algorithm,
    pair: KeyPair,
}

impl Pair {
    fn new(id: &'static str, algorithm: Algorithm) -> Self {
        let kind = match algorithm {
            Algorithm::ES384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            _ => &rcgen::PKCS_ECDSA_P256_SHA256,
        };
        Self { id, algorithm, pair: KeyPair::generate_for(kind).unwrap() }
    }

    fn point(&self) -> &[u8] {
        self.pair.der_bytes()
    }

    fn public(&self) -> Value {
        let (x, y) = self.point()[1..].split_at(self.point().len() / 2);
        let curve = if self.algorithm == Algorithm::ES384 { "P-384" } else { "P-256" };
        json!({
            "use": "sig", "kty": "EC", "kid": self.id, "crv": curve, "alg": format!("{:?}", self.algorithm),
            "x": BASE64_URL_SAFE_NO_PAD.encode(x), "y": BASE64_URL_SAFE_NO_PAD.encode(y),
        })
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(&self.pair.serialize_der())).unwrap()
    }
}

/// What the API server shows.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Shown>>);

#[derive(Default)]
struct Shown {
    keys: Vec<Value>,
    is_away: bool,
    padding: usize,
    requests: usize,
}

impl Server {
    fn with(keys: &[&Pair]) -> Self {
        let server = Self::default();
        server.show(keys);
        server
    }

    fn show(&self, keys: &[&Pair]) {
        self.0.lock().unwrap().keys = keys.iter().map(|key| key.public()).collect();
    }

    fn requests(&self) -> usize {
        self.0.lock().unwrap().requests
    }

    fn answer(&self, path: &str) -> (u16, Value) {
        let mut shown = self.0.lock().unwrap();
        shown.requests += 1;
        match path {
            _ if shown.is_away => (503, Value::Null),
            "/.well-known/openid-configuration" => {
                (200, json!({"issuer": ISSUER, "jwks_uri": "https://elsewhere"}))
            }
            "/openid/v1/jwks" => (200, json!({"keys": shown.keys, "padding": "x".repeat(shown.padding)})),
            _ => (404, Value::Null),
        }
    }

    fn reviewer(&self, pods: &[Value]) -> OfflineReviewer {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (code, body) = server.answer(request.uri().path());
            let body = Full::new(Bytes::from(body.to_string()));
            std::future::ready(Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap()))
        });
        let pods = pods.iter().map(|pod| serde_json::from_value(pod.clone()).unwrap()).collect();
        OfflineReviewer::new(Client::new(service, "default"), Kind::fixed(pods))
    }
}

fn pod() -> Value {
    json!({
        "metadata": {"name": "checkout-1", "namespace": "shop", "uid": "u-1", "labels": {"pinnace.dev/inject": "true"}},
        "spec": {"serviceAccountName": "checkout", "containers": []},
    })
}

fn claims() -> Value {
    let now = clock::unix_seconds();
    json!({
        "aud": ["pinnace"], "iss": ISSUER, "sub": "system:serviceaccount:shop:checkout",
        "iat": now, "nbf": now, "exp": now + 600,
        "kubernetes.io": {
            "namespace": "shop", "node": {"name": "node-1", "uid": "u-node"},
            "pod": {"name": "checkout-1", "uid": "u-1"}, "serviceaccount": {"name": "checkout", "uid": "u-account"},
        },
    })
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims();
    change(&mut claims);
    claims
}

fn refusal(outcome: Result<Identity, ReviewError>) -> String {
    match outcome {
        Err(ReviewError::Refused(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

fn checkout() -> Identity {
    Identity::new("shop", "checkout")
}

/// Goal: a Pod's token proves its service account, whatever an API server signs with, and the keys are read once.
#[tokio::test]
async fn a_pods_token_proves_its_service_account() {
    let (small, large) = (Pair::new("small", Algorithm::ES256), Pair::new("large", Algorithm::ES384));
    let server = Server::with(&[&small, &large]);
    // What real API servers show; beside it, what nobody here can read.
    let rsa = json!({"use": "sig", "kty": "RSA", "kid": "rsa", "n": rsa::MODULUS, "e": "AQAB"});
    server.0.lock().unwrap().keys.extend([rsa, json!({"kty": "from-the-future", "kid": "new"})]);
    let reviewer = server.reviewer(&[pod()]);
    let tokens = [small.sign(&claims()), large.sign(&claims()), rsa::RS256.to_owned(), rsa::PS256.to_owned()];
    for token in &tokens {
        assert_eq!(reviewer.review(token).await.unwrap(), checkout(), "{token}");
    }
    assert_eq!(server.requests(), 2);
    let (signed, signature) = rsa::RS256.rsplit_once('.').unwrap();
    let other = format!("{signed}.{}", rsa::PS256.rsplit_once('.').unwrap().1);
    assert!(refusal(reviewer.review(&other).await).contains("signature"), "{signature}");
}

/// Goal: anything less proves nothing, and the reason says what is missing.
#[tokio::test]
async fn anything_less_is_refused_with_the_reason() {
    let key = Pair::new("a", Algorithm::ES256);
    let reviewer = Server::with(&[&key]).reviewer(&[pod()]);
    let now = clock::unix_seconds();
    type Change = Box<dyn Fn(&mut Value)>;
    let cases: Vec<(Change, &str)> = vec![
        (Box::new(|claims| claims["aud"] = json!(["https://kubernetes.default.svc"])), "audience pinnace"),
        (Box::new(|claims| claims["aud"] = Value::Null), "cannot be read"),
        (Box::new(|claims| claims["iss"] = json!("https://elsewhere")), "did not issue it"),
        (Box::new(|claims| claims["iss"] = Value::Null), "cannot be read"),
        (Box::new(move |claims| claims["exp"] = json!(now - 60)), "has expired"),
        (Box::new(|claims| claims["exp"] = Value::Null), "cannot be read"),
        (Box::new(|claims| claims["exp"] = json!("4102444800")), "cannot be read"),
        (Box::new(move |claims| claims["nbf"] = json!(now + 960)), "not valid yet"),
        (Box::new(|claims| claims["nbf"] = json!("soon")), "cannot be read"),
        (
            Box::new(|claims| claims["sub"] = json!("system:serviceaccount:shop:admin")),
            "is not the service account",
        ),
        (Box::new(|claims| claims["kubernetes.io"] = Value::Null), "cannot be read"),
        (Box::new(|claims| claims["kubernetes.io"]["pod"] = Value::Null), "bound to no Pod"),
        (
            Box::new(|claims| claims["kubernetes.io"]["pod"]["name"] = json!("checkout-2")),
            "no Pod shop/checkout-2",
        ),
        (Box::new(|claims| claims["kubernetes.io"]["pod"]["uid"] = json!("u-2")), "another one by now"),
        (
            Box::new(|claims| {
                claims["kubernetes.io"]["namespace"] = json!("infra");
                claims["sub"] = json!("system:serviceaccount:infra:checkout");
            }),
            "no Pod infra/checkout-1",
        ),
        (
            Box::new(|claims| {
                claims["kubernetes.io"]["serviceaccount"]["name"] = json!("admin");
                claims["sub"] = json!("system:serviceaccount:shop:admin");
            }),
            "runs as checkout",
        ),
    ];
    for (change, part) in cases {
        let reason = refusal(reviewer.review(&key.sign(&changed(change))).await);
        assert!(reason.contains(part), "{part} not in {reason}");
    }
    assert_eq!(reviewer.review(&key.sign(&claims())).await.unwrap(), checkout());
}

/// Goal: clocks may differ by a little.
#[tokio::test]
async fn clocks_may_differ_by_a_little() {
    let key = Pair::new("a", Algorithm::ES256);
    let reviewer = Server::with(&[&key]).reviewer(&[pod()]);
    let now = clock::unix_seconds();
    for (field, time) in [("exp", now - 10), ("nbf", now + 600)] {
        let token = key.sign(&changed(|claims| claims[field] = json!(time)));
        assert_eq!(reviewer.review(&token).await.unwrap(), checkout(), "{field}");
    }
}

/// Goal: a Pod that is gone, or is over since a while, proves nothing; one that is about to end still does.
#[tokio::test]
async fn the_pod_must_be_there() {
    let key = Pair::new("a", Algorithm::ES256);
    let server = Server::with(&[&key]);
    let token = key.sign(&claims());
    assert!(refusal(server.reviewer(&[]).review(&token).await).contains("no Pod shop/checkout-1"));
    let deleted = |seconds: i64| {
        let time = jiff::Timestamp::from_second(clock::unix_seconds() - seconds).unwrap();
        let mut pod = pod();
        pod["metadata"]["deletionTimestamp"] = json!(time.to_string());
        server.reviewer(&[pod])
    };
    assert_eq!(deleted(-20).review(&token).await.unwrap(), checkout());
    assert!(refusal(deleted(120).review(&token).await).contains("is deleted"));
}

/// Goal: who can read the public key makes no token with it, nor one without a signature; and what is no token is
/// refused before anybody is asked.
#[tokio::test]
async fn forgeries_are_refused() {
    let (key, other) = (Pair::new("a", Algorithm::ES256), Pair::new("a", Algorithm::ES256));
    let server = Server::with(&[&key]);
    let reviewer = server.reviewer(&[pod()]);
    let public = key.public();
    let secrets = [
        key.point().to_vec(),
        public.to_string().into_bytes(),
        public["x"].as_str().unwrap().as_bytes().to_vec(),
        key.pair.public_key_pem().into_bytes(),
    ];
    for secret in secrets {
        let header = Header { kid: Some("a".to_owned()), ..Header::new(Algorithm::HS256) };
        let token = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(&secret)).unwrap();
        assert!(refusal(reviewer.review(&token).await).contains("HS256"));
    }
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    for algorithm in ["none", "None", "NONE", ""] {
        let unsigned = format!("{}.{}.", part(json!({"alg": algorithm, "kid": "a"})), part(claims()));
        assert!(refusal(reviewer.review(&unsigned).await).contains("no signed token"), "{algorithm}");
    }
    for garbage in ["", ".", "..", "a.b.c", &"x".repeat(TOKEN_BYTES_MAX + 1)] {
        refusal(reviewer.review(garbage).await);
    }
    let nameless = format!("{}.{}.AAAA", part(json!({"alg": "ES256"})), part(claims()));
    assert!(refusal(reviewer.review(&nameless).await).contains("which key"));
    assert_eq!(server.requests(), 0, "nobody has to be asked about those");
    assert!(refusal(reviewer.review(&other.sign(&claims())).await).contains("signature"));
    let confused = Pair { algorithm: Algorithm::ES384, ..Pair::new("a", Algorithm::ES384) };
    assert!(refusal(reviewer.review(&confused.sign(&claims())).await).contains("does not sign with ES384"));
}

/// Goal: new keys are found when the first token of theirs comes, those that were taken away are forgotten, and tokens
/// with made-up keys cause no storm.
#[tokio::test(start_paused = true)]
async fn keys_come_and_go() {
    let (old, new) = (Pair::new("old", Algorithm::ES256), Pair::new("new", Algorithm::ES256));
    let server = Server::with(&[&old]);
    let reviewer = server.reviewer(&[pod()]);
    let long = |claims: &mut Value| claims["exp"] = json!(4_102_444_800_i64);
    let (by_old, by_new) = (old.sign(&changed(long)), new.sign(&changed(long)));
    assert_eq!(reviewer.review(&by_old).await.unwrap(), checkout());
    for _ in 0..100 {
        assert!(refusal(reviewer.review(&by_new).await).contains("no key of this API server"));
    }
    assert_eq!(server.requests(), 2);
    server.show(&[&old, &new]);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(reviewer.review(&by_new).await.unwrap(), checkout());
    assert_eq!(reviewer.review(&by_old).await.unwrap(), checkout());
    assert_eq!(server.requests(), 4);
    server.show(&[&new]);
    tokio::time::sleep(Duration::from_secs(301)).await;
    assert!(refusal(reviewer.review(&by_old).await).contains("no key of this API server"));
    let all = (0..100).map(|_| reviewer.review(&by_old));
    futures::future::join_all(all).await.into_iter().for_each(|outcome| drop(refusal(outcome)));
    assert_eq!(server.requests(), 6);
}

/// Goal: while the API server is away known keys are believed for an hour, and nobody is told that a token is bad which
/// could not be checked; it is not asked more often either.
#[tokio::test(start_paused = true)]
async fn an_outage_refuses_nobody() {
    let (key, other) = (Pair::new("a", Algorithm::ES256), Pair::new("b", Algorithm::ES256));
    let server = Server::with(&[&key]);
    let reviewer = server.reviewer(&[pod()]);
    server.0.lock().unwrap().is_away = true;
    let long = |claims: &mut Value| claims["exp"] = json!(4_102_444_800_i64);
    let token = key.sign(&changed(long));
    for _ in 0..10 {
        assert!(matches!(reviewer.review(&token).await, Err(ReviewError::Unavailable(_))));
    }
    assert_eq!(server.requests(), 1);
    server.0.lock().unwrap().is_away = false;
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(reviewer.review(&token).await.unwrap(), checkout());
    server.0.lock().unwrap().is_away = true;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(reviewer.review(&token).await.unwrap(), checkout());
    let unknown = reviewer.review(&other.sign(&changed(long))).await;
    assert!(matches!(unknown, Err(ReviewError::Unavailable(_))), "{unknown:?}");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(matches!(reviewer.review(&token).await, Err(ReviewError::Unavailable(_))));
}

/// Goal: what the API server shows is bounded: nobody who stands in for it fills the memory.
#[tokio::test]
async fn what_is_shown_is_bounded() {
    let key = Pair::new("a", Algorithm::ES256);
    let server = Server::with(&[&key]);
    server.0.lock().unwrap().padding = 512 * 1024;
    let outcome = server.reviewer(&[pod()]).review(&key.sign(&claims())).await;
    assert!(
        matches!(&outcome, Err(ReviewError::Unavailable(reason)) if reason.contains("limit")),
        "{outcome:?}"
    );
    let many = Server::default();
    let keys = (0..65).map(|number| json!({"kid": number.to_string()}));
    many.0.lock().unwrap().keys = keys.collect();
    let outcome = many.reviewer(&[pod()]).review(&key.sign(&claims())).await;
    assert!(
        matches!(&outcome, Err(ReviewError::Unavailable(reason)) if reason.contains("65 keys")),
        "{outcome:?}"
    );
}
