//! What is found in which text, and how it is shown.

use super::*;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use control_plane::authority::{Authority, ServerNames};
use std::time::Duration;

const NOW: i64 = 1_800_000_000;

/// A root, and a Broker's certificate with its key.
fn made() -> (String, control_plane::IssuedKey) {
    let authority = Authority::create("cluster.local", NOW).unwrap();
    let names = ServerNames { dns: vec!["default-broker.shop.svc".into()], ..ServerNames::default() };
    let issued = authority.issue_server(&names, Duration::from_secs(86_400), NOW).unwrap();
    (authority.bundle_pem(), issued)
}

/// Goal: PEM files, Secrets in lists and webhook configurations are read alike, keys are passed over, and what is in
/// several places is one certificate.
#[test]
fn every_input_is_read() {
    let (root, broker) = made();
    let pem =
        read::certificates("chain.pem", &format!("{}{}{root}", broker.key_pem, broker.chain_pem)).unwrap();
    assert_eq!(pem.len(), 2);
    assert_eq!((pem[0].kind.as_str(), pem[0].name.as_str()), ("leaf", "default-broker.shop.svc"));
    assert_eq!((pem[0].not_after, pem[1].kind.as_str()), (NOW + 86_400, "root"));

    let encode = |text: &str| BASE64_STANDARD.encode(text);
    let secret = |namespace: &str| {
        serde_json::json!({"kind": "Secret", "metadata": {"namespace": namespace, "name": "default-broker-tls"}, "data": {
            "tls.crt": encode(&broker.chain_pem), "tls.key": encode(&broker.key_pem), "ca.crt": encode(&root), "note": "%"}})
    };
    let webhooks = serde_json::json!({"kind": "ValidatingWebhookConfiguration", "metadata": {"name": "pinnace-operator"},
        "webhooks": [{"name": "validate.pinnace.dev", "clientConfig": {"caBundle": encode(&root)}}]});
    let list = serde_json::json!({"kind": "List", "items": [secret("shop"), secret("finance"), webhooks]})
        .to_string();
    let found = merged(read::certificates("-", &list).unwrap());
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(
        found[0].places,
        ["Secret shop/default-broker-tls tls.crt", "Secret finance/default-broker-tls tls.crt"]
    );
    assert_eq!(found[1].places.len(), 3);
    let yaml = serde_yaml::to_string(&secret("shop")).unwrap();
    assert_eq!(read::certificates("-", &format!("{yaml}---\n{yaml}")).unwrap().len(), 4);
    let shown = format!("{}{}", table(&found, NOW), json(&found, NOW, NOW).unwrap());
    assert!(!shown.contains("PRIVATE"), "{shown}");
}

/// Goal: what holds no certificate, or a damaged one, is an error and no empty table that looks well.
#[test]
fn nothing_is_not_well() {
    let (root, broker) = made();
    for text in [
        "",
        "kind: Secret\nmetadata: {name: a}\ndata: {}\n",
        "{\"kind\": \"List\", \"items\": []}",
        &broker.key_pem,
    ] {
        let problem = read::certificates("x", text).unwrap_err().to_string();
        assert!(problem.contains("x holds no certificate"), "{problem}");
    }
    assert!(read::certificates("x", &root.replace('M', "!")).is_err());
    let secret = serde_json::json!({"kind": "Secret", "data": {"ca.crt": BASE64_STANDARD.encode(&root)}});
    let whole = serde_yaml::to_string(&secret).unwrap();
    let problem = read::certificates("x", &format!("{whole}---\nkind: [\n")).unwrap_err().to_string();
    assert!(problem.contains("damaged behind its first object"), "{problem}");
    assert_eq!(in_metrics("a", "pinnace_other 1\n"), []);
}

/// Goal: what programs say of themselves is taken as it is; one that was never made is not shown.
#[test]
fn metrics_are_read() {
    let text = format!("{METRIC}{{certificate=\"webhook\"}} {NOW}\n{METRIC}{{certificate=\"root\"}} 0\n");
    let found = in_metrics("127.0.0.1:7402", &text);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].kind.as_str(), found[0].not_after), ("webhook", NOW));
    assert_eq!(in_metrics("a", &format!("{METRIC} {NOW}\n"))[0].kind, "sidecar");
}

/// Goal: the table and the JSON tell the soonest first, in words and in numbers.
#[test]
fn the_soonest_comes_first() {
    let text = format!(
        "{METRIC}{{certificate=\"root\"}} {}\n{METRIC}{{certificate=\"webhook\"}} {}\n",
        NOW + 10 * DAY_S,
        NOW + 5400
    );
    let found = merged(in_metrics("a", &text));
    let table = table(&found, NOW);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[1].starts_with("1h30m  2027-01-15T09:30:00Z  webhook"), "{table}");
    assert!(lines[2].starts_with("10d"), "{table}");
    let json: serde_json::Value = serde_json::from_str(&json(&found, NOW, NOW + DAY_S).unwrap()).unwrap();
    assert_eq!((&json[0]["endsSoon"], &json[1]["endsSoon"]), (&true.into(), &false.into()));
    assert_eq!(json[0]["secondsLeft"], 5400);
    assert_eq!(left(-1), "ended");
}

/// Goal: the exit code says whether something ends within the time, and nothing to read is an error with the way.
#[tokio::test]
async fn the_exit_code_tells() {
    let authority = Authority::create("cluster.local", runtime::clock::unix_seconds()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crt");
    std::fs::write(&file, authority.bundle_pem()).unwrap();
    let run = async |days: u64| {
        let within = Duration::from_secs(days * 86_400);
        let args = CertificatesArgs { files: vec![file.clone()], address: vec![], within, json: true };
        certificates(&args).await.unwrap()
    };
    assert_eq!(format!("{:?}", run(7).await), format!("{:?}", ExitCode::SUCCESS));
    assert_eq!(format!("{:?}", run(4000).await), format!("{:?}", ExitCode::from(ENDS_SOON)));
    let nothing = CertificatesArgs { files: vec![], address: vec![], within: Duration::ZERO, json: false };
    assert!(certificates(&nothing).await.unwrap_err().to_string().contains("kubectl get secrets"));
}
