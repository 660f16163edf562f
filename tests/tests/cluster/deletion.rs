//! Brokers and Topics that are deleted, held, and applied again.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::install::installed;
use crate::kube::{self, attempt, kubectl, object, said, until, wait_ready};
use crate::namespace::Namespace;
use crate::pods::App;

const TOPIC: &str = "
apiVersion: pinnace.dev/v1alpha1
kind: Topic
metadata: {name: orders}
spec: {partitions: 2}
";
const BROKER: &str = "
---
apiVersion: pinnace.dev/v1alpha1
kind: Broker
metadata: {name: default}
spec: {}
";

fn ready_reason(namespace: &Namespace, name: &str) -> Result<(String, String)> {
    let found = object(&namespace.name, name)?.unwrap_or_default();
    let ready = kube::condition(&found, "Ready").cloned().unwrap_or_default();
    let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
    Ok((text("reason"), text("message")))
}

fn gone(namespace: &Namespace, name: &str) -> Result<()> {
    until(&format!("{name} to be gone"), kube::LIMIT, || {
        Ok(object(&namespace.name, name)?.is_none().then_some(()))
    })
}

/// Promise: a Broker is not deleted under its Topics, which are named with the way out; a file that holds Topics before
/// their Broker is deleted in one go, and a namespace with both goes.
#[test]
fn a_broker_is_not_deleted_under_its_topics() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("broker-held")?;
    namespace.apply(TOPIC)?;
    wait_ready(&namespace.name, "topic/orders", kube::LIMIT)?;
    let words = ["--namespace", &namespace.name, "delete", "broker", "default", "--timeout=60s"];
    let refused = attempt("kubectl", &words, "")?;
    let told = said(&refused);
    ensure!(!refused.status.success(), "the Broker was deleted under its Topic: {told}");
    ensure!(told.contains("broker-held/orders") && told.contains("delete them first"), "told: {told}");

    let file = format!("{TOPIC}{BROKER}");
    let words = ["--namespace", &namespace.name, "delete", "-f", "-", "--timeout=60s"];
    let deleted = attempt("kubectl", &words, &file)?;
    ensure!(deleted.status.success(), "Topic and Broker together: {}", said(&deleted));

    namespace.apply(TOPIC)?;
    wait_ready(&namespace.name, "topic/orders", kube::LIMIT)?;
    kubectl(&["delete", "namespace", &namespace.name, "--timeout=120s"])?;
    Ok(())
}

/// What a retained Topic and its Broker must have again.
fn identity(namespace: &Namespace) -> Result<(Value, Value)> {
    let broker = wait_ready(&namespace.name, "broker/default", kube::LIMIT)?;
    let topic = wait_ready(&namespace.name, "topic/orders", kube::LIMIT)?;
    let ids = (broker["status"]["clusterId"].clone(), topic["status"]["topicId"].clone());
    ensure!(ids.0.is_string() && ids.1.is_string(), "no ids: {ids:?}");
    Ok(ids)
}

/// Promise: with the default policies, Topic and Broker that were deleted and are applied again come back with their
/// messages and ids, and an Event says that they were found.
#[test]
fn deleted_and_applied_again_messages_are_back() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("second-life")?;
    namespace.apply(TOPIC)?;
    let before = identity(&namespace)?;
    let app = App::new(&namespace, "checkout").start()?;
    app.run("echo hello | timeout 60 kcat -b $KAFKA_BOOTSTRAP_SERVERS -P -t orders -X acks=all")?;
    namespace.kubectl(&["delete", "topic", "orders", "--timeout=60s"])?;
    namespace.kubectl(&["delete", "broker", "default", "--timeout=60s"])?;
    gone(&namespace, "pod/default-broker-0")?;
    ensure!(
        object(&namespace.name, "persistentvolumeclaim/data-default-broker-0")?.is_some(),
        "the volume went with the Broker"
    );

    namespace.apply(TOPIC)?;
    let after = identity(&namespace)?;
    ensure!(before == after, "cluster and topic were {before:?} and are {after:?}");
    let read = "timeout 20 kcat -b $KAFKA_BOOTSTRAP_SERVERS -C -t orders -o beginning -e -q";
    until("the message to be read again", kube::LIMIT, || {
        // The sidecar may still look for the broker.
        Ok(app.run(read).is_ok_and(|found| found.contains("hello")).then_some(()))
    })?;
    let events = namespace.kubectl(&["get", "events.events.k8s.io", "--output=json"])?;
    let events: Value = serde_json::from_str(&events).context("kubectl printed no JSON")?;
    for kind in ["Topic", "Broker"] {
        let found = events["items"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|event| event["reason"] == "Adopted" && event["regarding"]["kind"] == kind);
        ensure!(found, "no Event says that the {kind} was there already: {events}");
    }
    Ok(())
}

/// Promise: a quota that forbids the Broker of first use is told on the Topic, and once it is lifted the Topic is made.
#[test]
fn a_quota_that_forbids_the_broker_is_told() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("no-brokers")?;
    namespace.apply(
        "apiVersion: v1\n\
         kind: ResourceQuota\n\
         metadata: {name: messaging}\n\
         spec: {hard: {count/brokers.pinnace.dev: '0'}}\n",
    )?;
    until("the quota to be counted", kube::LIMIT, || {
        let quota = object(&namespace.name, "resourcequota/messaging")?.unwrap_or_default();
        Ok(quota["status"]["used"]["count/brokers.pinnace.dev"].is_string().then_some(()))
    })?;
    namespace.apply(TOPIC)?;
    let message = until("the Topic to say that its Broker is refused", kube::LIMIT, || {
        let (reason, message) = ready_reason(&namespace, "topic/orders")?;
        Ok((reason == "BrokerRefused").then_some(message))
    })?;
    ensure!(message.contains("quota") && message.contains("spec.broker"), "told: {message}");
    namespace.kubectl(&["delete", "resourcequota", "messaging"])?;
    wait_ready(&namespace.name, "topic/orders", kube::LIMIT)?;
    Ok(())
}

/// Promise: a Topic that is deleted while its Broker is paused waits, says so, and goes when the pause ends.
#[test]
fn a_paused_broker_holds_a_topic_that_is_deleted() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("held-topic")?;
    namespace.apply(TOPIC)?;
    wait_ready(&namespace.name, "topic/orders", kube::LIMIT)?;
    let pause = |paused: bool| {
        let patch = format!("{{\"spec\":{{\"maintenance\":{{\"paused\":{paused}}}}}}}");
        namespace.kubectl(&["patch", "broker", "default", "--type=merge", "--patch", &patch])
    };
    pause(true)?;
    namespace.kubectl(&["delete", "topic", "orders", "--wait=false"])?;
    let message = until("the Topic to say that it waits", kube::LIMIT, || {
        let (reason, message) = ready_reason(&namespace, "topic/orders")?;
        Ok((reason == "Paused" && message.contains("cannot be deleted yet")).then_some(message))
    })?;
    ensure!(message.contains("spec.maintenance.paused"), "told: {message}");
    pause(false)?;
    gone(&namespace, "topic/orders")
}
