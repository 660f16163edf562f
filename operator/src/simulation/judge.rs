//! Compares what is there with what was asked for. Knows the objects and the promises, and nothing of how the operator
//! keeps them: names, rules and settings are computed here anew.

use super::world::World;
use crate::{kafka::Address, testing::Node};
use control::topics::{Acl, Operation, Resource};
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn name_of(object: &Value) -> (String, String) {
    let metadata = &object["metadata"];
    (text(&metadata["namespace"]).to_owned(), text(&metadata["name"]).to_owned())
}

/// Namespace and name of the Broker of a Topic.
pub(super) fn broker_of(topic: &Value) -> (String, String) {
    let (namespace, _) = name_of(topic);
    let broker = &topic["spec"]["broker"];
    let or = |value: &Value, other: &str| value.as_str().unwrap_or(other).to_owned();
    (or(&broker["namespace"], &namespace), or(&broker["name"], "default"))
}

pub(super) fn address_of((namespace, name): &(String, String)) -> Address {
    let server_name = format!("{name}-broker.{namespace}.svc");
    Address { bootstrap: format!("{server_name}:9093"), server_name }
}

/// The name of a Topic's topic.
pub(super) fn log_name(topic: &Value) -> String {
    let (namespace, name) = name_of(topic);
    match topic["spec"]["topicName"].as_str() {
        Some(given) => given.to_owned(),
        None if broker_of(topic).0 == namespace => name,
        None => format!("{namespace}.{name}"),
    }
}

/// Who of several that claim a name has it comes first.
pub(super) fn age(topic: &Value) -> (String, (String, String)) {
    (text(&topic["metadata"]["creationTimestamp"]).to_owned(), name_of(topic))
}

pub(super) fn is_going(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

fn ready(object: &Value) -> (String, String) {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready").unwrap_or_default();
    (text(&ready["status"]).to_owned(), text(&ready["reason"]).to_owned())
}

fn expect(object: &Value, status: &str, reason: &str) -> Result<(), String> {
    let (found, why) = ready(object);
    let (generation, seen) = (&object["metadata"]["generation"], &object["status"]["observedGeneration"]);
    if found == status && (reason.is_empty() || why == reason) && generation == seen {
        return Ok(());
    }
    Err(format!("{:?} should be {status} {reason}: {object}", name_of(object)))
}

/// What is asked for, against what is there.
pub(super) fn judge(world: &World) -> Result<(), String> {
    for kind in ["Topic", "Channel", "Broker", "Namespace"] {
        if let Some(stuck) = world.all(kind).iter().find(|object| is_going(object)) {
            return Err(format!("{kind} {:?} does not go: {stuck}", name_of(stuck)));
        }
    }
    for namespace in world.all("Namespace") {
        if !world.api.takes_objects(text(&namespace["metadata"]["name"])) {
            return Err(format!("namespace {namespace} does not go"));
        }
    }
    for broker in world.all("Broker") {
        judge_broker(world, &broker)?;
    }
    for topic in world.all("Topic") {
        judge_topic(world, &topic)?;
    }
    for channel in world.all("Channel") {
        let (namespace, _) = name_of(&channel);
        let named = (namespace, text(&channel["spec"]["record"]["topic"]).to_owned());
        let topic = world.all("Topic").into_iter().find(|topic| name_of(topic) == named);
        let status = if topic.is_some_and(|topic| ready(&topic).0 == "True") { "True" } else { "False" };
        expect(&channel, status, "")?;
    }
    no_orphans(world)
}

/// The first thing that is not well, as a Broker's Ready should say it, and what is used.
fn judge_disk(world: &World, broker: &Value) -> Result<(), String> {
    let health = world.brokers.node(&address_of(&name_of(broker))).health;
    match (health.disk_nearly_full, health.read_only_partitions) {
        (true, _) => expect(broker, "False", "DiskNearlyFull")?,
        (false, 1..) => expect(broker, "False", "PartitionsReadOnly")?,
        (false, 0) => expect(broker, "True", "")?,
    }
    let told = &broker["status"]["storage"];
    let used = api::quantity::Quantity::rounded(health.used_bytes).to_string();
    if told["used"] != used.as_str() {
        return Err(format!("{used} are used on {broker}"));
    }
    Ok(())
}

fn judge_broker(world: &World, broker: &Value) -> Result<(), String> {
    judge_disk(world, broker)?;
    let (namespace, name) = name_of(broker);
    let topics = world.all("Topic").iter().filter(|topic| broker_of(topic) == name_of(broker)).count();
    if broker["status"]["topics"].as_u64() != u64::try_from(topics).ok() {
        return Err(format!("{topics} Topics live on {broker}"));
    }
    for (kind, child) in [
        ("StatefulSet", format!("{name}-broker")),
        ("Service", format!("{name}-broker")),
        ("ConfigMap", format!("{name}-broker-config")),
        ("Secret", format!("{name}-broker-tls")),
    ] {
        let all = world.all(kind);
        let found = all.iter().find(|object| name_of(object) == (namespace.clone(), child.clone()));
        let label = found.map(|object| object["metadata"]["labels"]["pinnace.dev/broker"].clone());
        // Those that are not watched have ten minutes.
        if kind == "StatefulSet" && label.as_ref().and_then(Value::as_str) != Some(name.as_str()) {
            return Err(format!("{kind} {child} is not as it should be: {found:?}"));
        }
    }
    Ok(())
}

fn judge_topic(world: &World, topic: &Value) -> Result<(), String> {
    let (namespace, _) = name_of(topic);
    let home = broker_of(topic);
    let all = world.all("Topic");
    let rivals = all.iter().filter(|other| broker_of(other) == home && log_name(other) == log_name(topic));
    if rivals.map(age).min() != Some(age(topic)) {
        return expect(topic, "False", "TopicNameConflict");
    }
    let Some(broker) = world.all("Broker").into_iter().find(|broker| name_of(broker) == home) else {
        return expect(topic, "False", "BrokerNotFound");
    };
    if home.0 != namespace && broker["spec"]["allowedNamespaces"]["from"] != "All" {
        return expect(topic, "False", "NamespaceNotAllowed");
    }
    let node = world.brokers.node(&address_of(&home));
    let found = node.topics.get(&log_name(topic));
    if topic["spec"]["managementPolicy"] == "Observe" {
        return if found.is_none() { expect(topic, "False", "TopicNotFound") } else { Ok(()) };
    }
    let Some(found) = found else { return Err(format!("nobody made {topic}")) };
    let wanted = topic["spec"]["partitions"].as_i64().unwrap_or(1);
    match i64::from(found.partitions) {
        partitions if partitions > wanted => expect(topic, "False", "Differs")?,
        partitions if partitions < wanted => return Err(format!("{partitions} partitions: {topic}")),
        _ => expect(topic, "True", "")?,
    }
    judge_settings(topic, found)?;
    judge_rules(topic, &node)
}

fn judge_settings(topic: &Value, found: &control::topics::Observed) -> Result<(), String> {
    let days = topic["spec"]["retention"]["time"].as_str().and_then(|time| time.strip_suffix('d'));
    let milliseconds =
        days.and_then(|days| days.parse::<u64>().ok()).map(|days| (days * 86_400_000).to_string());
    let right = found.config.get("cleanup.policy").map(String::as_str) == Some("delete")
        && found.config.get("retention.ms") == milliseconds.as_ref()
        && found.config.len() == 1 + usize::from(milliseconds.is_some());
    if right { Ok(()) } else { Err(format!("settings {:?} of {topic}", found.config)) }
}

/// The rules of a topic, and those for groups and transactional ids that it needs.
fn rules(topic: &Value) -> (BTreeSet<Acl>, BTreeSet<Acl>) {
    let (namespace, _) = name_of(topic);
    let principals = |list: &str| -> Vec<String> {
        match topic["spec"]["access"][list].as_array() {
            None => vec![format!("User:{namespace}/*")],
            Some(list) => {
                list.iter().map(|one| format!("User:{namespace}/{}", text(&one["serviceAccount"]))).collect()
            }
        }
    };
    let of_topic = |principal: &String, operation| Acl {
        resource: Resource::Topic(log_name(topic)),
        principal: principal.clone(),
        operation,
    };
    let (mut own, mut shared) = (BTreeSet::new(), BTreeSet::new());
    for principal in principals("publish") {
        own.extend([of_topic(&principal, Operation::Write), of_topic(&principal, Operation::Describe)]);
        let resource = Resource::TransactionalId("*".into());
        shared.insert(Acl { resource, principal, operation: Operation::Write });
    }
    for principal in principals("subscribe") {
        own.extend([of_topic(&principal, Operation::Read), of_topic(&principal, Operation::Describe)]);
        shared.insert(Acl { resource: Resource::Group("*".into()), principal, operation: Operation::Read });
    }
    (own, shared)
}

/// The rules that a broker has for a topic.
pub(super) fn rules_for(node: &Node, name: &str) -> BTreeSet<Acl> {
    let of_topic = |acl: &&Acl| matches!(&acl.resource, Resource::Topic(topic) if topic == name);
    node.acls.iter().filter(of_topic).cloned().collect()
}

fn judge_rules(topic: &Value, node: &Node) -> Result<(), String> {
    let (own, shared) = rules(topic);
    let found = rules_for(node, &log_name(topic));
    if found != own {
        return Err(format!("rules {found:?} of {topic}"));
    }
    if !shared.is_subset(&node.acls) {
        return Err(format!("rules for groups or transactional ids are missing of {topic}: {:?}", node.acls));
    }
    Ok(())
}

/// What belonged to somebody who is gone.
fn no_orphans(world: &World) -> Result<(), String> {
    let brokers: Vec<Value> =
        world.all("Broker").iter().map(|broker| broker["metadata"]["uid"].clone()).collect();
    for kind in ["StatefulSet", "Service", "ConfigMap", "Secret"] {
        for child in world.all(kind) {
            let owner = &child["metadata"]["ownerReferences"][0]["uid"];
            if !brokers.contains(owner) {
                return Err(format!("{kind} {:?} belongs to nobody: {child}", name_of(&child)));
            }
        }
    }
    Ok(())
}
