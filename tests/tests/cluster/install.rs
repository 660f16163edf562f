//! The one installation that the scenarios share, made with helm as a person would.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde::Deserialize as _;
use serde_json::Value;

use crate::{kube, pods, scrape};

/// The namespace of the operator.
pub(crate) const NAMESPACE: &str = "pinnace-system";
/// The name of the release, and so of what it brings.
pub(crate) const RELEASE: &str = "pinnace";
/// The operator's Deployment.
pub(crate) const OPERATOR: &str = "deployment/pinnace-operator";
/// Apache Kafka, as this machine makes its image.
const KAFKA: &str = "pinnace.dev/test/kafka:4.4.0";
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/pinnace");

/// Installs the chart, once for all scenarios of a run.
pub(crate) fn installed() -> Result<()> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    DONE.get_or_init(|| install().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(|error| anyhow!("the chart could not be installed: {error}"))
}

/// Installs the chart into its namespace, which asks for `restricted` pods, or brings what an
/// earlier run installed to the images of this one.
pub(crate) fn install() -> Result<()> {
    install_with(&[])
}

/// The same, with more flags of helm.
pub(crate) fn install_with(flags: &[&str]) -> Result<()> {
    let kafka = format!("kafka.image={KAFKA}");
    let mut words = vec!["--set", &kafka];
    words.extend(flags);
    install_chart(Path::new(CHART), &words)
}

/// The same, with another chart.
pub(crate) fn install_chart(chart: &Path, flags: &[&str]) -> Result<()> {
    let chart = chart.to_str().context("the chart's place is no text")?;
    kube::apply(&format!(
        "apiVersion: v1\n\
         kind: Namespace\n\
         metadata:\n\
         \x20 name: {NAMESPACE}\n\
         \x20 labels: {{pod-security.kubernetes.io/enforce: restricted}}\n"
    ))?;
    let run = format!("operator.podAnnotations.run={}", std::process::id());
    let mut words = vec![
        "upgrade",
        "--install",
        RELEASE,
        chart,
        "--namespace",
        NAMESPACE,
        // Scenarios change it by hand too.
        "--force-conflicts",
        "--set-string",
        &run,
        // Scenarios look into the one Pod; the README's commands install as many as the chart says.
        "--set",
        "operator.replicas=1",
        "--wait",
        "--timeout",
        "180s",
    ];
    words.extend(flags);
    kube::run("helm", &words)?;
    Ok(())
}

/// What the operator that is ready counts.
pub(crate) fn operator_metrics() -> Result<String> {
    let selector = "--selector=app.kubernetes.io/component=operator";
    let pods = kube::kubectl(&["--namespace", NAMESPACE, "get", "pods", selector, "--output=json"])?;
    let pods: Value = serde_json::from_str(&pods).context("kubectl printed no JSON")?;
    let pods = pods["items"].as_array().context("kubectl lists no pods")?;
    let pod = pods.iter().find(|pod| kube::is_ready(pod)).context("no operator is ready")?;
    scrape::get(pods::address(pod), scrape::ADMIN_PORT, "/metrics")
}

/// The objects that the chart renders with these values, for those that a scenario does not install.
pub(crate) fn chart_objects(values: &[&str]) -> Result<Vec<Value>> {
    let mut arguments = vec!["template", RELEASE, CHART, "--namespace", NAMESPACE];
    arguments.extend(values.iter().flat_map(|value| ["--set", value]));
    let text = kube::run("helm", &arguments)?;
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).context("helm rendered what is no YAML"))
        .collect()
}

/// Promise: the chart installs into a namespace that asks for `restricted` pods, its CRDs are
/// served, and `helm test` sends a message through it.
#[test]
fn helm_installs_into_a_restricted_namespace() -> Result<()> {
    installed()?;
    let label = "--output=jsonpath={.metadata.labels.pod-security\\.kubernetes\\.io/enforce}";
    ensure!(kube::kubectl(&["get", "namespace", NAMESPACE, label])? == "restricted");
    kube::kubectl(&[
        "--namespace",
        NAMESPACE,
        "wait",
        OPERATOR,
        "--for=condition=Available",
        "--timeout=60s",
    ])?;
    for kind in ["brokers", "channels", "subscriptions", "topics"] {
        let crd = format!("customresourcedefinition/{kind}.pinnace.dev");
        kube::kubectl(&["wait", &crd, "--for=condition=Established", "--timeout=30s"])?;
    }
    kube::run("helm", &["test", RELEASE, "--namespace", NAMESPACE, "--timeout", "120s"])?;
    Ok(())
}
