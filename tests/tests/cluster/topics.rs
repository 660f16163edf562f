//! Topics: from `kubectl apply` to a broker with a disk, and what is refused before that.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::install::installed;
use crate::kube::{self, now, object, refused, wait_ready};
use crate::namespace::Namespace;

/// Promised from `kubectl apply` of the first Topic of a namespace until it is Ready.
const READY_LIMIT: Duration = Duration::from_secs(30);

fn topic(name: &str, spec: &str) -> String {
    format!("apiVersion: pinnace.dev/v1alpha1\nkind: Topic\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

/// Promise: a Topic in a namespace without a Broker brings the Broker `default`, as a StatefulSet
/// with a disk of its own, and is Ready within 30 s.
#[test]
fn a_topic_brings_its_broker_and_is_ready_within_30_s() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("topic-to-broker")?;
    let start = now();
    namespace.apply(&topic("orders", "{partitions: 3}"))?;
    let ready = wait_ready(&namespace.name, "topic/orders", READY_LIMIT)?;
    ensure!(start.elapsed() <= READY_LIMIT, "Ready only after {:?}", start.elapsed());
    ensure!(ready["status"]["partitions"] == 3, "status: {}", ready["status"]);
    ensure!(ready["status"]["topicName"] == "orders", "status: {}", ready["status"]);

    let set = object(&namespace.name, "statefulset/default-broker")?.context("no StatefulSet")?;
    ensure!(set["status"]["readyReplicas"] == 1, "status: {}", set["status"]);
    let claim = object(&namespace.name, "persistentvolumeclaim/data-default-broker-0")?
        .context("the broker has no disk of its own")?;
    ensure!(claim["status"]["phase"] == "Bound", "status: {}", claim["status"]);
    wait_ready(&namespace.name, "broker/default", READY_LIMIT)?;
    Ok(())
}

/// Promise: partitions grow on a living Topic and never shrink.
#[test]
fn partitions_grow_and_never_shrink() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("topic-partitions")?;
    namespace.apply(&topic("orders", "{partitions: 2}"))?;
    wait_ready(&namespace.name, "topic/orders", kube::LIMIT)?;
    namespace.apply(&topic("orders", "{partitions: 5}"))?;
    kube::until("the Topic to have 5 partitions", kube::LIMIT, || {
        let topic = object(&namespace.name, "topic/orders")?.unwrap_or_default();
        Ok((topic["status"]["partitions"] == 5).then_some(()))
    })?;
    let refusal = namespace.refused(&topic("orders", "{partitions: 4}"))?;
    ensure!(refusal.contains("partitions"), "the refusal does not name the field: {refusal}");
    Ok(())
}

/// Promise: what cannot work is refused when it is applied, by the name of the field.
#[test]
fn what_cannot_work_is_refused_with_its_field() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("topic-refused")?;
    namespace.apply(&topic("first", "{}"))?;
    wait_ready(&namespace.name, "topic/first", kube::LIMIT)?;
    for (spec, field) in [("{replicas: 2}", "replicas"), ("{partitons: 2}", "partitons")] {
        let refusal = namespace.refused(&topic("second", spec))?;
        ensure!(refusal.contains(field), "the refusal of {spec} does not name it: {refusal}");
    }
    let elsewhere = refused(
        "apiVersion: pinnace.dev/v1alpha1\n\
         kind: Channel\n\
         metadata: {name: prices, namespace: topic-refused}\n\
         spec: {pattern: Broadcast}\n",
    )?;
    ensure!(elsewhere.contains("pattern"), "the refusal does not name the field: {elsewhere}");
    Ok(())
}

/// Promise: two Topics that claim one name on the broker do not fight: the older one has it, the
/// other says why it has not.
#[test]
fn of_two_topics_with_one_name_the_older_wins() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("topic-conflict")?;
    namespace.apply(&topic("older", "{topicName: shared}"))?;
    wait_ready(&namespace.name, "topic/older", kube::LIMIT)?;
    // Where the webhook sees the conflict it refuses; where it came too late the condition tells.
    let output = namespace.attempt(&topic("younger", "{topicName: shared}"))?;
    if !output.status.success() {
        let refusal = kube::said(&output);
        ensure!(refusal.contains("older"), "the refusal does not name the older: {refusal}");
        return Ok(());
    }
    kube::until("the younger Topic to say why it is not Ready", kube::LIMIT, || {
        let younger = object(&namespace.name, "topic/younger")?.unwrap_or_default();
        let ready = kube::condition(&younger, "Ready").cloned().unwrap_or_default();
        let message = ready["message"].as_str().unwrap_or_default();
        Ok((ready["status"] == "False" && message.contains("older")).then_some(()))
    })?;
    let older = object(&namespace.name, "topic/older")?.unwrap_or_default();
    ensure!(kube::is_ready(&older), "the older Topic suffers: {}", older["status"]);
    Ok(())
}
