//! People, and fate: what is asked for, and what goes wrong. Only what the API server's own rules let through.

use super::world::{World, below};
use crate::health::Health;
use control::ObjectName;
use runtime::clock;
use serde_json::{Value, json};
use std::time::Duration;

/// Namespaces in which people work; the first has no shared Broker, the last has.
pub(super) const NAMESPACES: [&str; 3] = ["shop", "finance", "infra"];
const SHARED: &str = "shared";
const RETENTIONS: [&str; 3] = ["1d", "7d", "30d"];

fn pick<'a>(from: &[&'a str]) -> &'a str {
    let index = usize::try_from(below(u64::try_from(from.len()).unwrap_or(1))).unwrap_or(0);
    from.get(index).copied().unwrap_or_default()
}

fn one_of(many: u64) -> bool {
    below(many) == 0
}

/// Objects that are there from the start.
pub(super) fn prepare(world: &World) {
    NAMESPACES.iter().for_each(|name| make_namespace(world, name));
    make_broker(world, "infra", SHARED);
}

fn make_namespace(world: &World, name: &str) {
    world.api.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": name}}}));
}

/// Makes an object, unless there is one or its namespace is going.
fn make(world: &World, object: Value) {
    let there = world.all(object["kind"].as_str().unwrap_or_default()).into_iter().any(|present| {
        present["metadata"]["name"] == object["metadata"]["name"]
            && present["metadata"]["namespace"] == object["metadata"]["namespace"]
    });
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    if !there && world.api.takes_objects(namespace) {
        world.log(&format!("a person makes {object}"));
        world.api.put(object);
    }
}

fn object(kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
    // Every object is younger than those before it.
    let seconds = clock::unix_seconds();
    let created = jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string();
    json!({
        "apiVersion": "pinnace.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": created}, "spec": spec,
    })
}

fn make_broker(world: &World, namespace: &str, name: &str) {
    let from = pick(&["All", "Same"]);
    make(world, object("Broker", namespace, name, json!({"allowedNamespaces": {"from": from}})));
}

fn topic_spec(namespace: &str) -> Value {
    let mut spec = json!({"partitions": 1 + below(3), "deletionPolicy": pick(&["Retain", "Delete"])});
    if namespace != "shop" || one_of(3) {
        spec["broker"] = json!({"name": SHARED, "namespace": "infra"});
    }
    if one_of(4) {
        spec["topicName"] = json!(pick(&["t0", "t1"]));
    }
    if one_of(2) {
        spec["retention"] = json!({"time": pick(&RETENTIONS)});
    }
    if one_of(10) {
        spec["managementPolicy"] = json!("Observe");
    }
    change_access(&mut spec);
    spec
}

fn change_access(spec: &mut Value) {
    if one_of(3) {
        let account = |name: &str| json!([{"serviceAccount": name}]);
        spec["access"] =
            json!({"publish": account(pick(&["a", "b"])), "subscribe": account(pick(&["c", "d"]))});
    } else if let Some(spec) = spec.as_object_mut() {
        spec.remove("access");
    }
}

fn edit_topic(world: &World) {
    let (namespace, name) = (pick(&NAMESPACES), pick(&["t0", "t1", "t2"]));
    let change = below(4);
    world.log(&format!("a person edits Topic {namespace}/{name}: {change}"));
    if change == 2 {
        world.reconsider((namespace.to_owned(), name.to_owned()));
    }
    world.api.edit_in(namespace, "Topic", name, |topic| {
        let spec = &mut topic["spec"];
        match change {
            0 => spec["partitions"] = json!(spec["partitions"].as_u64().unwrap_or(1) + 1),
            1 => spec["retention"] = json!({"time": pick(&RETENTIONS)}),
            2 => spec["deletionPolicy"] = json!(pick(&["Retain", "Delete"])),
            _ => change_access(spec),
        }
    });
}

fn delete(world: &World, kind: &str, namespace: &str, name: &str) {
    world.log(&format!("a person deletes {kind} {namespace}/{name}"));
    world.api.delete_in(namespace, kind, name);
}

/// Somebody else changes what the operator made.
fn meddle(world: &World) {
    let kind = pick(&["StatefulSet", "ConfigMap", "Service", "Secret"]);
    let all: Vec<Value> = world.all(kind);
    let Some(victim) = all.get(usize::try_from(below(4)).unwrap_or(0)) else { return };
    let (namespace, name) = (&victim["metadata"]["namespace"], &victim["metadata"]["name"]);
    let (namespace, name) = (namespace.as_str().unwrap_or_default(), name.as_str().unwrap_or_default());
    if one_of(2) {
        delete(world, kind, namespace, name);
    } else {
        world.log(&format!("somebody meddles with {kind} {namespace}/{name}"));
        world
            .api
            .edit_in(namespace, kind, name, |object| object["metadata"]["labels"] = json!({"their": "own"}));
    }
}

/// Messages come and go, disks fill and fail, somebody mends them.
fn change_disk(world: &World) {
    let (namespace, name) = if one_of(2) { ("infra", SHARED) } else { ("shop", "default") };
    let address = crate::controllers::broker::address(&ObjectName::new(namespace, name));
    let health = Health {
        capacity_bytes: 10 << 30,
        used_bytes: below(10 << 30),
        disk_nearly_full: one_of(3),
        read_only_partitions: below(3),
    };
    world.log(&format!("the disk of {namespace}/{name}: {health:?}"));
    world.brokers.edit(&address, |node| node.health = health);
}

async fn delete_namespace(world: &World) {
    let name = pick(&NAMESPACES);
    world.log(&format!("a person deletes namespace {name}"));
    world.api.terminate(name);
    tokio::time::sleep(Duration::from_millis(below(60_000))).await;
}

/// Namespaces that went took their volumes with them; somebody makes them anew.
pub(super) fn restore(world: &World) {
    let there = world.all("Namespace");
    for name in NAMESPACES {
        if there.iter().any(|namespace| namespace["metadata"]["name"] == name) {
            continue;
        }
        for broker in ["default", SHARED] {
            let address = crate::controllers::broker::address(&ObjectName::new(name, broker));
            world.brokers.edit(&address, |node| *node = crate::testing::Node::default());
        }
        make_namespace(world, name);
    }
}

/// One thing happens. Returns whether the operator is killed.
pub(super) async fn act(world: &World) -> bool {
    restore(world);
    let (namespace, name) = (pick(&NAMESPACES), pick(&["t0", "t1", "t2"]));
    match below(26) {
        0..=6 => make(world, object("Topic", namespace, name, topic_spec(namespace))),
        7..=9 => edit_topic(world),
        10..=12 => delete(world, "Topic", namespace, name),
        13 => {
            let spec = json!({"pattern": "PubSub", "record": {"topic": name}});
            make(world, object("Channel", namespace, pick(&["c0", "c1"]), spec));
        }
        14 => delete(world, "Channel", namespace, pick(&["c0", "c1"])),
        15 => make_broker(world, "infra", SHARED),
        16 if one_of(2) => {
            let broker = pick(&["default", SHARED]);
            delete(world, "Broker", if broker == SHARED { "infra" } else { "shop" }, broker);
        }
        17 => world.api.edit_in("infra", "Broker", SHARED, |broker| {
            broker["spec"]["allowedNamespaces"] = json!({"from": pick(&["All", "Same"])});
        }),
        18 => meddle(world),
        19 => {
            let broker = match pick(&["default", SHARED]) {
                SHARED => ObjectName::new("infra", SHARED),
                name => ObjectName::new("shop", name),
            };
            let down = one_of(2);
            world.log(&format!("{broker} is off the network: {down}"));
            world.set_down(&broker, down);
        }
        20 => world.set_lag(pick(&["0", "100", "2000", "20000"]).parse().unwrap_or(0)),
        21 => world.line.delay(Duration::from_millis(below(400))),
        22 if one_of(4) => delete_namespace(world).await,
        23 | 24 => change_disk(world),
        _ => return one_of(2),
    }
    false
}
