//! A Broker's life beside its messages: other settings, another size, a node that is drained.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::durability::{BROKER, PAUSE_S, acknowledged, all_printed, check, publisher};
use crate::install::installed;
use crate::kube::{self, condition, is_ready, kubectl, object, until, wait_ready};
use crate::namespace::Namespace;
use crate::pods;

/// The volume claim of the Broker `default`.
const CLAIM: &str = "persistentvolumeclaim/data-default-broker-0";

fn broker(spec: &Value) -> String {
    let object = json!({
        "apiVersion": "pinnace.dev/v1alpha1", "kind": "Broker", "metadata": {"name": "default"}, "spec": spec,
    });
    object.to_string()
}

fn uid(namespace: &Namespace) -> Result<String> {
    let pod = object(&namespace.name, BROKER)?.unwrap_or_default();
    Ok(pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
}

/// Promise: settings and resources of a Broker that change together restart it once, and it says when it is well again;
/// a setting that cannot be is refused before anything restarts.
#[test]
fn settings_and_resources_change_with_one_restart() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("broker-settings")?;
    namespace.apply(&broker(&json!({"storage": {"size": "1Gi"}})))?;
    wait_ready(&namespace.name, "broker/default", kube::LIMIT)?;
    let before = uid(&namespace)?;
    let refused = namespace.refused(&broker(&json!({
        "storage": {"size": "1Gi"}, "config": {"num.partitons": "3"},
    })))?;
    ensure!(refused.contains("num.partitons"), "the refusal does not name the setting: {refused}");
    namespace.apply(&broker(&json!({
        "storage": {"size": "1Gi"},
        "config": {"num.partitions": "3"},
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
    })))?;
    let after = until("the broker to run with other resources", kube::LIMIT, || {
        let pod = object(&namespace.name, BROKER)?.unwrap_or_default();
        let changed = pod["spec"]["containers"][0]["resources"]["requests"]["memory"] == "32Mi";
        Ok((changed && is_ready(&pod)).then_some(pod["metadata"]["uid"].clone()))
    })?;
    ensure!(after.as_str() != Some(&before), "the Pod is the one from before");
    wait_ready(&namespace.name, "broker/default", kube::LIMIT)?;
    let revisions = namespace.kubectl(&[
        "get",
        "controllerrevisions",
        "--selector=pinnace.dev/broker=default",
        "--output=name",
    ])?;
    ensure!(revisions.lines().count() == 2, "there was more than one change: {revisions}");
    Ok(())
}

/// Promise: a volume grows when the Broker asks for more, while the broker runs; until the storage has done it, the
/// Broker says what it waits for. It never shrinks.
#[test]
fn a_volume_grows_while_the_broker_runs() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("broker-growth")?;
    namespace.apply(&broker(&json!({"storage": {"size": "1Gi"}})))?;
    wait_ready(&namespace.name, "broker/default", kube::LIMIT)?;
    let before = uid(&namespace)?;
    // More than the volume that the claim happened to get.
    namespace.apply(&broker(&json!({"storage": {"size": "150Gi"}})))?;
    let waiting = until("the Broker to wait for its storage", kube::LIMIT, || {
        let broker = object(&namespace.name, "broker/default")?.unwrap_or_default();
        let storage = condition(&broker, "StorageReady").cloned().unwrap_or_default();
        Ok((storage["reason"] == "Resizing").then_some(storage))
    })?;
    let message = waiting["message"].as_str().unwrap_or_default();
    let says = ["data-default-broker-0 is growing", "150Gi"];
    ensure!(says.iter().all(|word| message.contains(word)), "it says {message:?}");
    let claim = object(&namespace.name, CLAIM)?.context("there is no claim")?;
    ensure!(
        claim["spec"]["resources"]["requests"]["storage"] == "150Gi",
        "the claim asks for {}",
        claim["spec"]
    );
    // What a storage driver does when it has grown a volume; this cluster has none.
    let volume = claim["spec"]["volumeName"].as_str().context("the claim is not bound")?;
    let grown = json!({"spec": {"capacity": {"storage": "150Gi"}}}).to_string();
    kubectl(&["patch", "persistentvolume", volume, "--patch", &grown])?;
    let grown = json!({"status": {"capacity": {"storage": "150Gi"}}}).to_string();
    namespace.kubectl(&["patch", CLAIM, "--subresource=status", "--type=merge", "--patch", &grown])?;
    let broker_now = wait_ready(&namespace.name, "broker/default", kube::LIMIT)?;
    ensure!(
        broker_now["status"]["storage"]["capacity"] == "150Gi",
        "it has {}",
        broker_now["status"]["storage"]
    );
    ensure!(uid(&namespace)? == before, "the broker was restarted");
    let refused = namespace.refused(&broker(&json!({"storage": {"size": "1Gi"}})))?;
    ensure!(refused.contains("storage"), "the refusal does not name the field: {refused}");
    Ok(())
}

/// Puts the node back into service whatever happens.
struct Cordoned<'a>(&'a str);

impl Drop for Cordoned<'_> {
    fn drop(&mut self) {
        drop(kubectl(&["uncordon", self.0]));
    }
}

/// Promise: a drain takes the broker from its node without being held up; publishers wait, and every acknowledged
/// message is there when it runs again.
#[test]
fn a_drained_node_loses_nothing() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("broker-drain")?;
    let app = publisher(&namespace, PAUSE_S)?;
    until("the first messages", kube::LIMIT, || Ok((acknowledged(&app)? > 0).then_some(())))?;
    let before = uid(&namespace)?;
    let pod = object(&namespace.name, BROKER)?.context("the broker has no pod")?;
    let node = pod["spec"]["nodeName"].as_str().context("the broker runs nowhere")?;
    // Only the Pods of this scenario: the node is all that the others have.
    let label = json!({"spec": {"template": {"labels": {"drained": "here"}}}}).to_string();
    namespace.kubectl(&["patch", "broker/default", "--type=merge", "--patch", &label])?;
    until("the broker to run with its label", kube::LIMIT, || {
        let pod = object(&namespace.name, BROKER)?.unwrap_or_default();
        Ok((pod["metadata"]["uid"] != before.as_str() && is_ready(&pod)).then_some(()))
    })?;
    let labelled = uid(&namespace)?;
    let cordoned = Cordoned(node);
    kubectl(&["drain", node, "--pod-selector=drained=here", "--timeout=60s"])?;
    let count = acknowledged(&app)?;
    until("the broker to wait for a node", kube::LIMIT, || {
        let pod = object(&namespace.name, BROKER)?.unwrap_or_default();
        Ok((pod["metadata"]["uid"] != labelled.as_str() && pod["status"]["phase"] == "Pending").then_some(()))
    })?;
    drop(cordoned);
    until("more messages than before the drain", kube::LIMIT * 2, || {
        Ok((acknowledged(&app)? > count).then_some(()))
    })?;
    let printed = all_printed(&app)?;
    let broker = object(&namespace.name, BROKER)?.unwrap_or_default();
    let restarts = pods::container(&broker, "broker").map(|status| status["restartCount"].clone());
    ensure!(restarts.as_ref().is_some_and(|count| *count == 0), "it ended otherwise: {restarts:?}");
    check(&printed, &app)
}
