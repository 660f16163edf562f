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

/// A Broker that is open to all, with this quota for each namespace.
fn bounded(limits: &str) -> String {
    format!(
        "apiVersion: pinnace.dev/v1alpha1\nkind: Broker\nmetadata: {{name: default}}\nspec: {{allowedNamespaces: {{from: All}}, quota: {{perNamespace: {limits}}}}}\n"
    )
}

/// A Topic on that Broker.
fn shared(name: &str, partitions: i32, rest: &str) -> String {
    let broker = "broker: {name: default, namespace: quota-owner}";
    topic(name, &format!("{{{broker}, partitions: {partitions}{rest}}}"))
}

/// Asks until a Topic is refused, or with no words until it is let in; nothing is made by it.
fn judged(namespace: &Namespace, topic: &str, words: &[&str]) -> Result<()> {
    let arguments = ["--namespace", &namespace.name, "apply", "--dry-run=server", "-f", "-"];
    let mut last = String::new();
    // A replica hears of the others' Topics a moment later.
    let found = kube::until("a Topic to be judged", kube::LIMIT, || {
        let output = kube::attempt("kubectl", &arguments, topic)?;
        last = kube::said(&output);
        let is_right = words.iter().all(|word| last.contains(word));
        Ok((output.status.success() == words.is_empty() && is_right).then_some(()))
    });
    found.with_context(|| format!("expected {words:?}, was told: {last}"))
}

/// Promise: a namespace takes no more of a shared Broker than its quota: one Topic more, one partition more, and one that does
/// not say what it keeps are refused with the numbers; each namespace has room of its own; a lower quota takes nothing away;
/// a Topic that goes makes room.
#[test]
fn a_namespace_takes_no_more_of_a_shared_broker_than_its_quota() -> Result<()> {
    installed()?;
    let owner = Namespace::new("quota-owner")?;
    let guest = Namespace::new("quota-guest")?;
    let limits = "{topics: 2, partitions: 4, size: 4Gi}";
    owner.apply(&bounded(limits))?;
    for name in ["orders", "bills"] {
        guest.apply(&shared(name, 1, ", retention: {size: 1Gi}"))?;
        wait_ready(&guest.name, &format!("topic/{name}"), kube::LIMIT)?;
    }
    let third = shared("third", 1, ", retention: {size: 1Mi}");
    let whom = "ask the owner of Broker quota-owner/default, or delete a Topic";
    judged(&guest, &third, &["spec.broker", "used 2, asked 1, quota 2", whom])?;
    let grown = shared("orders", 4, ", retention: {size: 1Gi}");
    judged(
        &guest,
        &grown,
        &[
            "spec.partitions",
            "used 1, asked 4, quota 4",
            "spec.retention.size",
            "used 1Gi, asked 4Gi, quota 4Gi",
        ],
    )?;
    judged(&guest, &shared("orders", 2, ""), &["spec.retention.size", "quota of 4Gi", "3Gi"])?;
    judged(&guest, &shared("orders", 3, ", retention: {size: 1Gi}"), &[])?;

    // The Broker's own namespace is bound, and has room of its own.
    judged(&owner, &topic("big", "{partitions: 5, retention: {size: 1Mi}}"), &["used 0, asked 5, quota 4"])?;
    owner.apply(&topic("own", "{partitions: 4, retention: {size: 1Gi}}"))?;
    wait_ready(&owner.name, "topic/own", kube::LIMIT)?;

    let lowered = owner.attempt(&bounded("{topics: 1, partitions: 4, size: 4Gi}"))?;
    let told = kube::said(&lowered);
    ensure!(lowered.status.success(), "a quota cannot be lowered: {told}");
    ensure!(told.contains("above it: quota-guest;"), "nobody is told who is above it: {told}");
    judged(&guest, &third, &["used 2, asked 1, quota 1"])?;
    let spec =
        "{access: {publish: []}, retention: {size: 1Gi}, broker: {name: default, namespace: quota-owner}}";
    guest.apply(&topic("orders", spec))?;
    kube::until("a Topic above the quota to be changed and Ready", kube::LIMIT, || {
        let found = object(&guest.name, "topic/orders")?.unwrap_or_default();
        let is_seen = found["status"]["observedGeneration"] == found["metadata"]["generation"];
        Ok((is_seen && kube::is_ready(&found)).then_some(()))
    })?;

    owner.apply(&bounded(limits))?;
    guest.kubectl(&["delete", "topic", "bills", "--timeout=60s"])?;
    judged(&guest, &third, &[])?;
    guest.apply(&third)?;
    wait_ready(&guest.name, "topic/third", kube::LIMIT)?;
    Ok(())
}
