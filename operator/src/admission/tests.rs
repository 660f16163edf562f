//! Whole requests over HTTPS, as the API server sends them.

use std::net::SocketAddr;

use base64::Engine as _;
use control_plane::authority::ServerNames;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prometheus::Registry;
use runtime::shutdown::Shutdown;
use runtime::tls::{Expect, Material, anonymous_client_config, install_provider};
use serde_json::{Value, json};

use super::*;

const NAME: &str = "pinnace-operator.pinnace-system.svc";

/// A cluster without any object of ours, in which some namespaces say which users they may have.
struct Empty;

impl Surroundings for Empty {
    fn broker(&self, _: &str, _: &str) -> Option<Arc<api::Broker>> {
        None
    }

    fn topics_on(&self, _: (&str, &str)) -> Vec<Arc<api::Topic>> {
        Vec::new()
    }

    fn claimants(&self, _: (&str, &str), _: &str) -> Vec<Arc<api::Topic>> {
        Vec::new()
    }

    fn used_by_others(&self, _: (&str, &str), _: (&str, &str)) -> api::quota::Used {
        api::quota::Used::default()
    }

    fn used(&self, _: (&str, &str)) -> std::collections::BTreeMap<String, api::quota::Used> {
        std::collections::BTreeMap::new()
    }

    fn namespace_labels(&self, _: &str) -> Option<std::collections::BTreeMap<String, String>> {
        None
    }

    fn uid_range(&self, namespace: &str) -> Option<String> {
        match namespace {
            "ranged" => Some("1000650000/10000".to_owned()),
            "odd" => Some("many".to_owned()),
            _ => None,
        }
    }

    fn outside(&self, _: &str) -> Option<String> {
        None
    }

    fn namespace_is_going(&self, _: &str) -> bool {
        false
    }
}

struct Server {
    address: SocketAddr,
    bundle: String,
    registry: Registry,
    tasks: Tasks,
}

fn settings() -> Settings {
    Settings {
        image: "sidecar:1".into(),
        image_pull_policy: "IfNotPresent".into(),
        control_address: "control:7410".into(),
        control_server_name: "control".into(),
        trust_bundle_pem: String::new(),
        audience: "pinnace".into(),
        resources: serde_json::Map::new(),
        log_level: "info".into(),
        user_id: inject::USER_ID,
    }
}

async fn server() -> Server {
    install_provider();
    let now = runtime::clock::unix_seconds();
    let authority = Authority::create("cluster.local", now).expect("an authority");
    let names = ServerNames { dns: vec![NAME.into()], ..ServerNames::default() };
    let issued = authority.issue_server(&names, Duration::from_secs(3600), now).expect("a certificate");
    let bundle = authority.bundle_pem();
    let material = Material::from_pem(&issued.chain_pem, &issued.key_pem, &bundle).expect("PEM");
    let registry = Registry::new();
    let webhooks = Webhooks {
        settings: settings(),
        roots: watch::Sender::new(Arc::new(authority)).subscribe(),
        surroundings: Arc::new(Empty),
        metrics: AdmissionMetrics::register(&registry).expect("a fresh registry"),
    };
    let tasks = Tasks::new(Shutdown::new());
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = serve(any, Credentials::new(material), webhooks, &tasks).await.expect("a free port");
    Server { address, bundle, registry, tasks }
}

impl Server {
    async fn post(&self, path: &str, body: Vec<u8>) -> (StatusCode, Value) {
        let config =
            anonymous_client_config(&self.bundle, Expect::Names(vec![NAME.into()]), &[b"h2"]).expect("roots");
        let socket = tokio::net::TcpStream::connect(self.address).await.expect("a connection");
        let name = NAME.to_owned().try_into().expect("a DNS name");
        let stream =
            tokio_rustls::TlsConnector::from(config).connect(name, socket).await.expect("a handshake");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("HTTP/2");
        let _connection = self.tasks.spawn_guarded("test connection", async move { drop(connection.await) });
        let request = http::Request::post(format!("https://{NAME}{path}"))
            .body(Full::<Bytes>::from(body))
            .expect("a request");
        let response = sender.send_request(request).await.expect("a response");
        let status = response.status();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn review(&self, path: &str, request: Value) -> Value {
        let review =
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        let (status, answer) = self.post(path, review.to_string().into_bytes()).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(answer["response"]["uid"], request["uid"]);
        answer["response"].clone()
    }

    fn count(&self, webhook: &str, result: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == "pinnace_admission_requests_total");
        let wanted = |metric: &&prometheus::proto::Metric| {
            let has = |value: &str| metric.get_label().iter().any(|label| label.value() == value);
            has(webhook) && has(result)
        };
        family
            .and_then(|family| family.get_metric().iter().find(wanted))
            .map_or(-1.0, |metric| metric.get_counter().get_value())
    }
}

fn pod_request(pod: Value) -> Value {
    json!({
        "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
        "namespace": "shop", "object": pod, "oldObject": null, "dryRun": true,
    })
}

fn pod(annotations: Value) -> Value {
    json!({
        "metadata": {"generateName": "a-", "labels": {"pinnace.dev/inject": "true"}, "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
    })
}

/// The sidecar that an answer puts into the Pod of [`pod_request`].
fn sidecar(response: &Value) -> Value {
    let patch = response["patch"].as_str().expect("a patch");
    let patch = base64::prelude::BASE64_STANDARD.decode(patch).expect("base64");
    let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a JSON patch");
    let mut after = pod(json!({}));
    json_patch::patch(&mut after, &patch).expect("the patch applies");
    after["spec"]["initContainers"][0].clone()
}

/// Goal: where a namespace says which users its Pods may run as, the sidecar is one of them; a range that cannot be read
/// is told to who makes the Pod.
#[tokio::test]
async fn the_sidecar_is_a_user_of_its_namespace() {
    let server = server().await;
    for (namespace, user, warnings) in [("shop", 65_532, 0), ("ranged", 1_000_659_999, 0), ("odd", 65_532, 1)]
    {
        let mut request = pod_request(pod(json!({})));
        request["namespace"] = json!(namespace);
        let response = server.review("/inject", request).await;
        assert_eq!(sidecar(&response)["securityContext"]["runAsUser"], user, "{namespace}");
        assert_eq!(response["warnings"].as_array().map_or(0, Vec::len), warnings, "{namespace}: {response}");
    }
}

/// Goal: a labelled Pod comes back with a patch that puts the sidecar in, with the roots of the moment.
#[tokio::test]
async fn inject_answers_with_a_patch() {
    let server = server().await;
    let response = server.review("/inject", pod_request(pod(json!({})))).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(response["patchType"], "JSONPatch");
    let sidecar = sidecar(&response);
    assert_eq!(sidecar["name"], "pinnace-sidecar");
    let environment = sidecar["env"].as_array().expect("an environment");
    assert!(environment.contains(&json!({"name": "PINNACE_TRUST_BUNDLE", "value": server.bundle})));
    for (name, path) in [
        ("PINNACE_NODE", "spec.nodeName"),
        ("PINNACE_ZONE", "metadata.labels['topology.kubernetes.io/zone']"),
    ] {
        let field = json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
        assert!(environment.contains(&field), "{name}");
    }
    assert!((server.count("inject", "injected") - 1.0).abs() < f64::EPSILON);
}

/// Goal: refusals carry the reason in the status, and are counted.
#[tokio::test]
async fn refusals_say_why() {
    let server = server().await;
    let response = server.review("/inject", pod_request(pod(json!({"pinnace.dev/push": "8080"})))).await;
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().expect("a message");
    assert!(message.contains("annotation pinnace.dev/push: \"8080\": there is no `=`"), "{message}");
    let topic = json!({
        "apiVersion": "pinnace.dev/v1alpha1", "kind": "Topic",
        "metadata": {"name": "orders", "namespace": "shop"}, "spec": {"partitions": 0},
    });
    let request = json!({
        "uid": "u-2", "kind": {"group": "pinnace.dev", "version": "v1alpha1", "kind": "Topic"},
        "operation": "CREATE", "namespace": "shop", "name": "orders", "object": topic, "oldObject": null,
    });
    let response = server.review("/validate", request).await;
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().expect("a message");
    assert!(message.starts_with("Topic shop/orders: spec.partitions"), "{message}");
    assert!((server.count("inject", "refused") - 1.0).abs() < f64::EPSILON);
    assert!((server.count("validate", "refused") - 1.0).abs() < f64::EPSILON);
}

/// Goal: what is no review gets a client error, and the server goes on.
#[tokio::test]
async fn nonsense_is_answered_with_an_error() {
    let server = server().await;
    let (status, _) = server.post("/inject", b"{".to_vec()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let old = json!({"apiVersion": "admission.k8s.io/v1beta1", "request": {"uid": "1"}});
    let (status, _) = server.post("/validate", old.to_string().into_bytes()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = server.post("/inject", vec![b' '; BODY_BYTES_MAX + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, _) = server.post("/elsewhere", Vec::new()).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let response = server.review("/inject", pod_request(pod(json!({})))).await;
    assert_eq!(response["allowed"], true);
}
