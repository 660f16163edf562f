//! The examples, as they are checked in.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_yaml::Value;

use crate::install::installed;
use crate::kube::{self, kubectl, until, wait_ready};
use crate::scrape;

const ORDERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/orders");

/// Kind, namespace and name of every object in a folder of manifests.
fn objects(folder: &str) -> Result<Vec<(String, String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {folder}"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        for document in serde_yaml::Deserializer::from_str(&text) {
            let object = <Value as serde::Deserialize>::deserialize(document)?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let metadata = &object["metadata"];
            found.push((text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"])));
        }
    }
    Ok(found)
}

/// Which pods count, and what they call it.
struct Counter {
    selector: &'static str,
    name: &'static str,
    labels: Vec<String>,
}

impl Counter {
    /// What the sidecars of the namespace count for an object.
    fn of_sidecars(name: &'static str, kind: &str, object: &str) -> Self {
        let labels = vec![format!("kind=\"{kind}\""), format!("name=\"{object}\"")];
        Self { selector: "pinnace.dev/injected=true", name, labels }
    }

    /// What was published to an object, and what came out of it. Kafka clients read a Topic through
    /// a door that carries their bytes as they are, so for a Topic the broker counts.
    fn published_and_delivered(kind: &str, object: &str) -> [Self; 2] {
        let published = Self::of_sidecars("pinnace_published_messages_total", kind, object);
        let delivered = if kind == "topic" {
            Self {
                selector: "pinnace.dev/broker",
                name: "pinnace_broker_fetched_messages_total",
                labels: vec![format!("topic=\"{object}\"")],
            }
        } else {
            Self::of_sidecars("pinnace_delivered_messages_total", kind, object)
        };
        [published, delivered]
    }

    /// The sum over the pods of a namespace.
    fn total(&self, namespace: &str) -> Result<f64> {
        let selector = format!("--selector={}", self.selector);
        let output = "--output=jsonpath={.items[*].status.podIP}";
        let addresses = kubectl(&["--namespace", namespace, "get", "pods", &selector, output])?;
        let labels: Vec<&str> = self.labels.iter().map(String::as_str).collect();
        let mut sum = 0.0;
        for address in addresses.split_whitespace() {
            let metrics = scrape::get(address, scrape::ADMIN_PORT, "/metrics")?;
            sum += scrape::sum(&metrics, self.name, &labels);
        }
        Ok(sum)
    }
}

/// Promise: the folder `examples/orders`, which local mode runs, is applied to a cluster as it is
/// and works there: every Deployment comes up, every Topic and Channel is Ready, and messages are
/// published to each of them and delivered.
#[test]
fn examples_orders_runs_unchanged() -> Result<()> {
    installed()?;
    let objects = objects(ORDERS)?;
    let of = |kind: &'static str| objects.iter().filter(move |(its, _, _)| its == kind);
    for (_, _, namespace) in of("Namespace") {
        kubectl(&["delete", "namespace", namespace, "--ignore-not-found", "--timeout=120s"])?;
    }
    kubectl(&["apply", "--recursive", "-f", ORDERS])?;
    for (kind, namespace, name) in of("Topic").chain(of("Channel")) {
        let object = format!("{}/{name}", kind.to_lowercase());
        wait_ready(namespace, &object, kube::LIMIT)?;
    }
    ensure!(of("Deployment").count() >= 4, "the example has lost its apps");
    for (_, namespace, name) in of("Deployment") {
        let deployment = format!("deployment/{name}");
        kubectl(&["--namespace", namespace, "rollout", "status", &deployment, "--timeout=120s"])?;
    }
    for (kind, namespace, name) in of("Topic").chain(of("Channel")) {
        let kind = kind.to_lowercase();
        for counter in Counter::published_and_delivered(&kind, name) {
            until(&format!("{} of {kind} {name}", counter.name), kube::LIMIT, || {
                Ok((counter.total(namespace)? > 0.0).then_some(()))
            })?;
        }
        let lost = Counter::of_sidecars("pinnace_gap_messages_total", &kind, name).total(namespace)?;
        ensure!(lost == 0.0, "{kind} {name} lost {lost} messages");
    }
    for (_, _, namespace) in of("Namespace") {
        kubectl(&["delete", "namespace", namespace, "--wait=false"])?;
    }
    Ok(())
}
