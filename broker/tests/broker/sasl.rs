//! Callers prove who they are: with passwords, with SCRAM, with somebody else's token; and only then are served.

use std::{
    io::{Read as _, Write as _},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use kafka_wire::{
    ErrorCode,
    messages::{
        AlterUserScramCredentialsRequest, ApiVersionsRequest, DescribeConfigsRequest,
        DescribeUserScramCredentialsRequest, MetadataRequest, SaslAuthenticateRequest,
        SaslAuthenticateResponse, SaslHandshakeRequest,
        alter_user_scram_credentials::{ScramCredentialDeletion, ScramCredentialUpsertion},
        describe_configs::DescribeConfigsResource,
    },
};
use ring::{
    pbkdf2,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use runtime::clock;
use testkit::certificates::TestAuthority;

use crate::support::{Broker, Wire, command, kcat, wait_for};

const AUTHORIZER: &str = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n";

/// A broker whose plain listener asks for SASL, with the users root (who may do everything) and alice (nothing).
fn start(folder: &Path, more: &str) -> Broker {
    std::fs::write(folder.join("users"), "# NAME=PASSWORD\nroot=root=secret\nalice=wonder land\n").unwrap();
    let text = format!(
        "listener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT\nsasl.users.file={}\n{AUTHORIZER}\
         super.users=User:root\nconnection.failed.authentication.delay.ms=20\n{more}",
        folder.join("users").display()
    );
    std::fs::write(folder.join("settings"), text).unwrap();
    let mut command = command(folder);
    command
        .args(["--listen", "127.0.0.1:0", "--auto-create-topics"])
        .arg("--config")
        .arg(folder.join("settings"));
    Broker::run(command, folder)
}

const ALL: &str = "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n";

/// kcat as a user; whether it worked, and its words.
fn as_user(
    broker: &Broker,
    mechanism: &str,
    user: (&str, &str),
    arguments: &[&str],
    more: &[String],
) -> (bool, String) {
    let mut all: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
    let settings = [
        "security.protocol=sasl_plaintext".to_owned(),
        format!("sasl.mechanism={mechanism}"),
        format!("sasl.username={}", user.0),
        format!("sasl.password={}", user.1),
        "message.timeout.ms=10000".to_owned(),
    ];
    for setting in settings.iter().chain(more) {
        all.extend(["-X".to_owned(), setting.clone()]);
    }
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let output = kcat(broker.kafka, &all, "one\n");
    let words =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), words)
}

fn handshake(wire: &mut Wire, mechanism: &str) {
    let answer = wire.call(&SaslHandshakeRequest { mechanism: mechanism.to_owned() }, 1);
    assert_eq!(answer.error_code, 0, "{answer:?}");
}

fn token(wire: &mut Wire, token: impl AsRef<[u8]>) -> SaslAuthenticateResponse {
    wire.call(&SaslAuthenticateRequest { auth_bytes: Bytes::copy_from_slice(token.as_ref()) }, 1)
}

/// A connection of root.
fn root(broker: &Broker) -> Wire {
    let mut wire = broker.connect();
    handshake(&mut wire, "PLAIN");
    assert_eq!(token(&mut wire, "\0root\0root=secret").error_code, 0);
    wire
}

/// Goal: kcat comes in with PLAIN and both SCRAMs under its own name, not with a wrong password or name, and may
/// then do what rules allow it.
#[test]
fn kcat_comes_in_with_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path(), ALL);
    let produce = ["-P", "-t", "orders"];
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let (worked, words) = as_user(&broker, mechanism, ("root", "root=secret"), &produce, &[]);
        assert!(worked, "{mechanism}: {words}");
        let (worked, words) = as_user(&broker, mechanism, ("alice", "wonder land"), &produce, &[]);
        assert!(!worked && words.contains("Topic authorization failed"), "{mechanism}: {words}");
        for wrong in [("root", "wrong"), ("ghost", "root=secret")] {
            let (worked, words) = as_user(&broker, mechanism, wrong, &["-L", "-m", "3"], &[]);
            assert!(!worked && words.contains("credentials"), "{mechanism} {wrong:?}: {words}");
            assert!(!words.contains("root=secret"), "{words}");
        }
    }
    broker.stop();
}

/// Goal: with TLS a caller without a certificate has to authenticate, one with a certificate has not.
#[test]
fn sasl_or_a_certificate_over_tls() {
    runtime::tls::install_provider();
    let folder = tempfile::tempdir().unwrap();
    let authority = TestAuthority::new();
    let at = |name: &str| folder.path().join(name);
    for (name, pem) in
        [("server", authority.server(&["127.0.0.1"])), ("client", authority.account("shop", "checkout"))]
    {
        std::fs::create_dir(at(name)).unwrap();
        pem.write_to(&at(name)).unwrap();
    }
    std::fs::write(at("users"), "root=secret\n").unwrap();
    let text = format!("{ALL}sasl.users.file={}\nsuper.users=User:root\n", at("users").display());
    std::fs::write(at("settings"), text).unwrap();
    let mut command = command(folder.path());
    command.args([
        "--tls-listen",
        "127.0.0.1:0",
        "--auto-create-topics",
        "--super-user",
        "shop/checkout",
        "--tls-dir",
    ]);
    command.arg(at("server")).arg("--config").arg(at("settings"));
    let broker = Broker::run(command, folder.path());
    let ca = format!("ssl.ca.location={}", at("server").join("ca.crt").display());
    let more = ["security.protocol=sasl_ssl".to_owned(), ca.clone()];
    let produce = ["-P", "-t", "orders"];
    let (worked, words) = as_user(&broker, "SCRAM-SHA-512", ("root", "secret"), &produce, &more);
    assert!(worked, "{words}");
    let (worked, _) = as_user(&broker, "SCRAM-SHA-512", ("root", "wrong"), &["-L", "-m", "3"], &more);
    assert!(!worked);
    let without = ["security.protocol=ssl".to_owned(), ca];
    let (worked, _) = as_user(&broker, "PLAIN", ("root", "secret"), &["-L", "-m", "3"], &without);
    assert!(!worked, "nobody comes in with neither");
    let file = |name: &str| at("client").join(name).display().to_string();
    let with = without.into_iter().chain([
        format!("ssl.certificate.location={}", file("tls.crt")),
        format!("ssl.key.location={}", file("tls.key")),
    ]);
    let with: Vec<String> = with.collect();
    let (worked, words) = as_user(&broker, "PLAIN", ("root", "secret"), &produce, &with);
    assert!(worked, "{words}");
    broker.stop();
}

/// Goal: before authentication nothing but versions and authentication is answered, large frames are not held, and
/// each wrong turn ends the connection with its own error.
#[test]
fn nothing_is_served_before() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path(), ALL);
    let mut wire = broker.connect();
    let versions = wire.call(&ApiVersionsRequest::default(), 0);
    assert!(versions.api_keys.iter().any(|it| it.api_key == 36), "authentication is offered");
    let sent = kafka_wire::frame::request(&MetadataRequest::default(), 9, 1, None).unwrap();
    wire.stream.write_all(&sent.into_bytes()).unwrap();
    assert!(wire.is_closed(), "metadata before authentication");
    let mut wire = broker.connect();
    wire.stream.write_all(&(70 * 1024_i32).to_be_bytes()).unwrap();
    assert!(wire.is_closed(), "a frame of 70 KiB from somebody unknown");
    let mut wire = broker.connect();
    let answer = wire.call(&SaslHandshakeRequest { mechanism: "GSSAPI".to_owned() }, 1);
    assert_eq!(answer.error_code, ErrorCode::UnsupportedSaslMechanism.code());
    assert_eq!(answer.mechanisms, ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]);
    assert!(wire.is_closed());
    let mut wire = broker.connect();
    assert_eq!(token(&mut wire, "\0root\0root=secret").error_code, ErrorCode::IllegalSaslState.code());
    assert!(wire.is_closed(), "a token without a handshake");
    for wrong in [&b"\0root\0wrong"[..], b"\0root", b"", b"\xff\xff", &[b'x'; 5_000]] {
        let mut wire = broker.connect();
        handshake(&mut wire, "PLAIN");
        let answer = token(&mut wire, wrong);
        assert_eq!(answer.error_code, ErrorCode::SaslAuthenticationFailed.code(), "{wrong:?}");
        assert!(answer.error_message.is_some_and(|text| !text.contains("root")), "{wrong:?}");
        assert!(wire.is_closed());
    }
    root(&broker);
    broker.stop();
}

/// Goal: old clients, whose tokens come without requests around them, are served as well.
#[test]
fn bare_tokens_of_old_clients() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path(), ALL);
    let mut wire = broker.connect();
    assert_eq!(wire.call(&SaslHandshakeRequest { mechanism: "PLAIN".to_owned() }, 0).error_code, 0);
    let token = b"\0root\0root=secret";
    wire.stream.write_all(&i32::try_from(token.len()).unwrap().to_be_bytes()).unwrap();
    wire.stream.write_all(token).unwrap();
    assert!(wire.read_frame().is_empty());
    assert!(wire.call(&MetadataRequest::default(), 9).cluster_id.is_some());
    let mut wire = broker.connect();
    assert_eq!(wire.call(&SaslHandshakeRequest { mechanism: "PLAIN".to_owned() }, 0).error_code, 0);
    wire.stream.write_all(&[0, 0, 0, 3, 0, b'x', 0]).unwrap();
    assert!(wire.is_closed());
    broker.stop();
}

/// Goal: a session ends when its time is up; who authenticates again in time goes on, and cannot become another.
#[test]
fn sessions_are_authenticated_again() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path(), &format!("{ALL}connections.max.reauth.ms=2000\n"));
    let mut wire = broker.connect();
    handshake(&mut wire, "PLAIN");
    let lifetime = token(&mut wire, "\0root\0root=secret").session_lifetime_ms;
    assert!((1..=2_000).contains(&lifetime), "{lifetime}");
    handshake(&mut wire, "PLAIN");
    assert_eq!(token(&mut wire, "\0root\0root=secret").error_code, 0);
    assert!(wire.call(&MetadataRequest::default(), 9).cluster_id.is_some());
    let mut other = root(&broker);
    handshake(&mut other, "PLAIN");
    let answer = token(&mut other, "\0alice\0wonder land");
    assert_eq!(answer.error_code, ErrorCode::SaslAuthenticationFailed.code(), "the user may not change");
    let mut serves = || {
        let sent = kafka_wire::frame::request(&MetadataRequest::default(), 9, 1, None).unwrap();
        wire.stream.write_all(&sent.into_bytes())?;
        let mut length = [0; 4];
        wire.stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        wire.stream.read_exact(&mut answer)
    };
    wait_for("the end of the session", || serves().err());
    broker.stop();
}

/// Goal: a listener is described as it is: one without TLS that asks for SASL is SASL_PLAINTEXT, whoever asks.
#[test]
fn listeners_are_described_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path(), ALL);
    let resource = DescribeConfigsResource {
        resource_type: 4,
        resource_name: "0".to_owned(),
        configuration_keys: Some(vec!["advertised.listeners".to_owned()]),
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let configs = root(&broker).call(&request, 4).results.remove(0).configs;
    let expected = format!("SASL_PLAINTEXT://{}", broker.kafka);
    assert_eq!(configs[0].value.as_deref(), Some(expected.as_str()));
}

/// Goal: users of the table are made, described, survive a restart, log in and go; what cannot be is refused by name.
#[test]
fn users_are_administered() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path(), ALL);
    let mut salted = vec![0; 32];
    let iterations = std::num::NonZeroU32::new(8_192).unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, b"salt", b"builder", &mut salted);
    let bob = ScramCredentialUpsertion {
        name: "bob".to_owned(),
        mechanism: 1,
        iterations: 8_192,
        salt: Bytes::from_static(b"salt"),
        salted_password: Bytes::from(salted),
    };
    let upsert = |credential: ScramCredentialUpsertion| AlterUserScramCredentialsRequest {
        upsertions: vec![credential],
        ..Default::default()
    };
    let mut wire = root(&broker);
    let mut code =
        |credential: ScramCredentialUpsertion| wire.call(&upsert(credential), 0).results[0].error_code;
    let unacceptable = ErrorCode::UnacceptableCredential.code();
    assert_eq!(code(ScramCredentialUpsertion { iterations: 4_095, ..bob.clone() }), unacceptable);
    assert_eq!(code(ScramCredentialUpsertion { iterations: 16_385, ..bob.clone() }), unacceptable);
    assert_eq!(
        code(ScramCredentialUpsertion { name: "root".to_owned(), ..bob.clone() }),
        unacceptable,
        "in the file"
    );
    let unknown = ErrorCode::UnsupportedSaslMechanism.code();
    assert_eq!(code(ScramCredentialUpsertion { mechanism: 3, ..bob.clone() }), unknown);
    assert_eq!(code(bob), 0);
    let list = ["-L", "-m", "5"];
    let log_in =
        |broker: &Broker, password: &str| as_user(broker, "SCRAM-SHA-256", ("bob", password), &list, &[]).0;
    assert!(log_in(&broker, "builder") && !log_in(&broker, "wrong"));
    broker.stop();
    let broker = start(folder.path(), ALL);
    assert!(log_in(&broker, "builder"));
    let mut wire = root(&broker);
    let known = wire.call(&DescribeUserScramCredentialsRequest { users: None }, 0).results;
    let info = &known[0].credential_infos[0];
    assert_eq!((known.len(), known[0].user.as_str(), info.mechanism, info.iterations), (1, "bob", 1, 8_192));
    let gone = ScramCredentialDeletion { name: "bob".to_owned(), mechanism: 1 };
    let delete = AlterUserScramCredentialsRequest { deletions: vec![gone], ..Default::default() };
    assert_eq!(wire.call(&delete, 0).results[0].error_code, 0);
    assert_eq!(wire.call(&delete, 0).results[0].error_code, ErrorCode::ResourceNotFound.code());
    assert!(!log_in(&broker, "builder"));
    broker.stop();
}

/// Goal: the users file is read again when it changes; a wrong one leaves the users as they were.
#[test]
fn the_users_file_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path(), ALL);
    let carol = |password: &str| {
        let mut wire = broker.connect();
        handshake(&mut wire, "PLAIN");
        (token(&mut wire, format!("\0carol\0{password}")).error_code == 0).then_some(())
    };
    assert!(carol("one").is_none());
    std::fs::write(folder.path().join("users"), "root=root=secret\ncarol=one\n").unwrap();
    wait_for("the new user", || carol("one"));
    std::fs::write(folder.path().join("users"), "carol\n").unwrap();
    std::fs::write(folder.path().join("users"), "root=root=secret\ncarol=two\n").unwrap();
    wait_for("the new password", || carol("two"));
    assert!(carol("one").is_none());
    broker.stop();
}

/// Goal: a token signed by a key of the file, for us and not yet over, names the user for as long as it is valid;
/// others are told so in the form of RFC 7628.
#[test]
fn bearer_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let random = SystemRandom::new();
    let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private.as_ref(), &random).unwrap();
    let point = pair.public_key().as_ref();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
    let keys = serde_json::json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k1", "x": x, "y": y}]});
    std::fs::write(folder.path().join("keys.json"), keys.to_string()).unwrap();
    let broker = start(
        folder.path(),
        &format!(
            "sasl.enabled.mechanisms=OAUTHBEARER\nsasl.oauthbearer.jwks.endpoint.url=file://{}\n\
             sasl.oauthbearer.expected.audience=kafka\nsasl.oauthbearer.expected.issuer=us\n\
             sasl.oauthbearer.clock.skew.seconds=0\n",
            folder.path().join("keys.json").display()
        ),
    );
    let now = clock::unix_seconds();
    let sign = |kid: &str, claims: serde_json::Value| {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::ES256) };
        let key = EncodingKey::from_ec_der(private.as_ref());
        format!("n,,\x01auth=Bearer {}\x01\x01", jsonwebtoken::encode(&header, &claims, &key).unwrap())
    };
    let good = serde_json::json!({"sub": "root", "aud": "kafka", "iss": "us", "exp": now + 600});
    let mut wire = broker.connect();
    handshake(&mut wire, "OAUTHBEARER");
    let answer = token(&mut wire, sign("k1", good.clone()));
    assert_eq!(answer.error_code, 0, "{answer:?}");
    assert!((1..=600_000).contains(&answer.session_lifetime_ms), "{answer:?}");
    assert!(wire.call(&MetadataRequest::default(), 9).cluster_id.is_some());
    let with = |key: &str, value: serde_json::Value| {
        let mut claims = good.clone();
        claims[key] = value;
        sign("k1", claims)
    };
    let secret = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) };
    let shared = jsonwebtoken::encode(&secret, &good, &EncodingKey::from_secret(x.as_bytes())).unwrap();
    for (what, wrong) in [
        ("over", with("exp", (now - 10).into())),
        ("for another", with("aud", "other".into())),
        ("by another", with("iss", "them".into())),
        ("of nobody", with("sub", serde_json::Value::Null)),
        ("an unknown key", sign("k2", good.clone())),
        ("a shared secret", format!("n,,\x01auth=Bearer {shared}\x01\x01")),
    ] {
        let mut wire = broker.connect();
        handshake(&mut wire, "OAUTHBEARER");
        let answer = token(&mut wire, wrong);
        assert_eq!(
            (answer.error_code, &answer.auth_bytes[..]),
            (0, &br#"{"status":"invalid_token"}"#[..]),
            "{what}"
        );
        assert_eq!(token(&mut wire, "\x01").error_code, ErrorCode::SaslAuthenticationFailed.code(), "{what}");
        assert!(wire.is_closed(), "{what}");
    }
    broker.stop();
}
