//! Metrics, as a real Prometheus sees them.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::metrics::{TARGET_LABELS, documented};

use crate::apps::http_publisher;
use crate::install::{NAMESPACE, chart_objects, installed};
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

fn prometheus(targets: &[(&str, String)], rules: &Value) -> String {
    let jobs: Vec<Value> = targets
        .iter()
        .map(|(job, host)| {
            let target = format!("{host}:{}", scrape::ADMIN_PORT);
            json!({ "job_name": job, "scrape_interval": "1s", "static_configs": [{ "targets": [target] }] })
        })
        .collect();
    let config = json!({
        "global": { "evaluation_interval": "1s" },
        "rule_files": ["/config/rules.yml"],
        "scrape_configs": jobs,
    })
    .to_string();
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "prometheus" },
        "data": { "prometheus.yml": config, "rules.yml": rules.to_string() },
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

/// The alerts as the chart brings them.
fn rules() -> Result<Value> {
    let objects = chart_objects(&["monitoring.rules.enabled=true"])?;
    let rule = objects.into_iter().find(|object| object["kind"] == "PrometheusRule");
    Ok(rule.context("the chart brings no PrometheusRule")?["spec"].take())
}

fn asked(pod: &Value, query: &str) -> Result<Value> {
    Ok(serde_json::from_str(&scrape::get(address(pod), PROMETHEUS_PORT, query)?)?)
}

/// Every series has the labels that the reference says, and no other: what alerts and dashboards are checked against.
fn labels_are_the_documented(pod: &Value) -> Result<()> {
    let table = documented();
    let query = "/api/v1/query?query=%7B__name__%3D~%22pinnace_.%2B%22%7D";
    let answer = asked(pod, query)?;
    let series = answer["data"]["result"].as_array().context("no result")?;
    ensure!(series.len() > 50, "only {} series", series.len());
    for one in series {
        let labels = one["metric"].as_object().context("a series without labels")?;
        let name = labels["__name__"].as_str().unwrap_or_default();
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|part| name.strip_suffix(part));
        let known = table.get(name).or_else(|| table.get(base?));
        let known = known.with_context(|| format!("{name} is not in docs/reference/metrics.md"))?;
        for label in labels.keys().filter(|label| *label != "__name__" && *label != "le") {
            let there = known.contains(label) || TARGET_LABELS.contains(&label.as_str());
            ensure!(there, "{name} has the label {label}, which docs/reference/metrics.md does not know");
        }
    }
    Ok(())
}

/// All rules can be evaluated on what the programs serve, and none fires while all is well.
fn no_alert_fires(pod: &Value) -> Result<()> {
    until("Prometheus to evaluate all rules", kube::LIMIT, || {
        let groups = asked(pod, "/api/v1/rules")?;
        let groups = groups["data"]["groups"].as_array().cloned().unwrap_or_default();
        let rules: Vec<&Value> =
            groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect();
        if let Some(bad) = rules.iter().find(|rule| rule["health"] == "err") {
            anyhow::bail!("a rule cannot be evaluated: {bad}");
        }
        let well = rules.len() > 30 && rules.iter().all(|rule| rule["health"] == "ok");
        Ok(well.then_some(()))
    })?;
    let firing = asked(pod, "/api/v1/query?query=ALERTS%7Balertstate%3D%22firing%22%7D")?;
    ensure!(firing["data"]["result"] == json!([]), "alerts fire while all is well: {firing}");
    Ok(())
}

/// Promise: a real Prometheus scrapes operator, sidecar and broker, a query for each of them has a value, all
/// series have the labels of the reference, and of the chart's alerts all are evaluated and none fires.
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
    namespace.apply(&prometheus(&targets, &rules()?))?;
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
    labels_are_the_documented(&pod)?;
    no_alert_fires(&pod)
}
