//! Metrics, as a real Prometheus sees them.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::apps::http_publisher;
use crate::install::{NAMESPACE, installed};
use crate::kube::{self, kubectl, object, until, wait_ready};
use crate::namespace::Namespace;
use crate::pods::{App, address};
use crate::scrape;

const TOPIC: &str = "
apiVersion: pinnace.dev/v1alpha1
kind: Topic
metadata: {name: orders}
spec: {}
";
const PROMETHEUS_PORT: u16 = 9090;
/// A query for each program; each must have a value, and where it counts what happened here, one above zero.
const QUERIES: &[(&str, &str)] = &[
    ("operator", "sum(pinnace_reconcile_duration_seconds_count) > 0"),
    ("sidecar", "sum(pinnace_published_messages_total) > 0"),
    ("broker", "sum(pinnace_log_sync_duration_seconds_count) > 0"),
];

fn prometheus(targets: &[(&str, String)]) -> String {
    let jobs: Vec<Value> = targets
        .iter()
        .map(|(job, host)| {
            let target = format!("{host}:{}", scrape::ADMIN_PORT);
            json!({ "job_name": job, "scrape_interval": "1s", "static_configs": [{ "targets": [target] }] })
        })
        .collect();
    let config = json!({ "scrape_configs": jobs }).to_string();
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "prometheus" },
        "data": { "prometheus.yml": config },
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "prometheus" },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "prometheus",
                "image": "pinnace.dev/test/prometheus:0.0.0",
                "args": ["--config.file=/config/prometheus.yml", "--storage.tsdb.path=/data"],
                "readinessProbe": {
                    "httpGet": { "path": "/-/ready", "port": PROMETHEUS_PORT }, "periodSeconds": 1,
                },
                "volumeMounts": [
                    { "name": "config", "mountPath": "/config" },
                    { "name": "data", "mountPath": "/data" },
                ],
                "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
                },
            }],
            "volumes": [
                { "name": "config", "configMap": { "name": "prometheus" } },
                { "name": "data", "emptyDir": {} },
            ],
        },
    });
    format!("{map}\n---\n{pod}\n")
}

/// Promise: a real Prometheus scrapes operator, sidecar and broker, and a query for each of them
/// has a value.
#[test]
fn prometheus_scrapes_operator_sidecar_and_broker() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("prometheus")?;
    namespace.apply(TOPIC)?;
    wait_ready(&namespace.name, "topic/orders", kube::LIMIT)?;
    let app = App::new(&namespace, "checkout").start()?;
    app.python(&http_publisher("/v1/topics/orders", 10, 0.0))?;

    let operator = kubectl(&[
        "--namespace",
        NAMESPACE,
        "get",
        "pods",
        "--selector=app.kubernetes.io/component=operator",
        "--output=jsonpath={.items[0].status.podIP}",
    ])?;
    let broker = object(&namespace.name, "pod/default-broker-0")?.context("no broker")?;
    let targets = [
        ("operator", operator),
        ("sidecar", address(&app.pod()?).to_owned()),
        ("broker", address(&broker).to_owned()),
    ];
    namespace.apply(&prometheus(&targets))?;
    let pod = wait_ready(&namespace.name, "pod/prometheus", kube::LIMIT)?;
    for (program, query) in QUERIES {
        let path = format!("/api/v1/query?query={}", query.replace(' ', "%20").replace('>', "%3E"));
        until(&format!("Prometheus to know {query}"), kube::LIMIT, || {
            let answer = scrape::get(address(&pod), PROMETHEUS_PORT, &path)?;
            let answer: Value = serde_json::from_str(&answer)?;
            Ok(answer["data"]["result"][0]["value"][1].is_string().then_some(()))
        })
        .with_context(|| format!("{program} is not seen"))?;
    }
    let up = scrape::get(address(&pod), PROMETHEUS_PORT, "/api/v1/query?query=sum(up)")?;
    ensure!(up.contains("\"3\""), "not all three are up: {up}");
    Ok(())
}
