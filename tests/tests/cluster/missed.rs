//! Pods that run without the sidecar that they ask for.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::install::{NAMESPACE, OPERATOR, installed, operator_metrics};
use crate::kube::{self, kubectl, until};
use crate::namespace::Namespace;
use crate::pods::spec;
use crate::scrape;

/// The pods that the scenario labels.
const NAME: &str = "late";
const METRIC: &str = "pinnace_uninjected_pods";

fn deployment(labelled: bool) -> Value {
    let mut labels = json!({ "app": NAME });
    if labelled {
        labels["pinnace.dev/inject"] = json!("true");
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": NAME },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": NAME } },
            "template": {
                "metadata": { "labels": labels },
                "spec": spec(),
            },
        },
    })
}

/// How many pods of a namespace the operator counts, for any reason.
fn counted(namespace: &str, reason: &str) -> Result<f64> {
    let labels = [format!("namespace=\"{namespace}\""), format!("reason=\"{reason}")];
    Ok(scrape::sum(&operator_metrics()?, METRIC, &[&labels[0], &labels[1]]))
}

/// The events that tell of pods without a sidecar: kind and name of who is told, and the text.
fn told(namespace: &Namespace) -> Result<Vec<(String, String, String)>> {
    let events = ["get", "events", "--field-selector=reason=SidecarMissing", "--output=json"];
    let events: Value = serde_json::from_str(&namespace.kubectl(&events)?)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = events["items"].as_array().context("kubectl lists no events")?;
    let told = events.iter().map(|event| {
        let object = &event["involvedObject"];
        (text(&object["kind"]), text(&object["name"]), text(&event["message"]))
    });
    Ok(told.collect())
}

/// Promise: a pod that runs without the sidecar that its label asks for is counted, and its Deployment is told why and what
/// to do: once, also when another operator begins to lead; with its sidecar it is counted no more.
#[test]
fn a_pod_without_its_sidecar_is_found_and_told_once() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("missed")?;
    namespace.apply(&deployment(false).to_string())?;
    let rollout = ["rollout", "status", "deployment/late", "--timeout=120s"];
    namespace.kubectl(&rollout)?;
    ensure!(counted(&namespace.name, "")? == 0.0, "who did not ask is counted");
    namespace.kubectl(&["label", "pods", "--selector=app=late", "pinnace.dev/inject=true"])?;
    let first = until("the Deployment to be told", kube::LIMIT, || Ok(told(&namespace)?.pop()))?;
    ensure!(first.0 == "Deployment" && first.1 == NAME, "told is {} {}", first.0, first.1);
    ensure!(first.2.contains("rollout restart"), "it is not told what to do: {}", first.2);
    ensure!(counted(&namespace.name, "not_seen")? == 2.0, "not both pods are counted");

    kubectl(&["--namespace", NAMESPACE, "rollout", "restart", OPERATOR])?;
    kubectl(&["--namespace", NAMESPACE, "rollout", "status", OPERATOR, "--timeout=120s"])?;
    until("the next operator to count", kube::LIMIT, || {
        Ok((counted(&namespace.name, "not_seen").unwrap_or(0.0) == 2.0).then_some(()))
    })?;
    // Another pod of the same Deployment: the new leader looks at all of them again.
    namespace.kubectl(&["scale", "deployment/late", "--replicas=3"])?;
    namespace.kubectl(&rollout)?;
    namespace.kubectl(&["label", "pods", "--selector=app=late", "pinnace.dev/inject=true", "--overwrite"])?;
    until("the third pod to be counted", kube::LIMIT, || {
        Ok((counted(&namespace.name, "not_seen")? == 3.0).then_some(()))
    })?;
    kube::pause(std::time::Duration::from_secs(5));
    let again = told(&namespace)?;
    ensure!(again.len() == 1, "it is told again: {again:?}");

    namespace.apply(&deployment(true).to_string())?;
    namespace.kubectl(&rollout)?;
    until("nobody to be counted", kube::LIMIT, || Ok((counted(&namespace.name, "")? == 0.0).then_some(())))?;
    Ok(())
}
