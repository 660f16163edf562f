//! What is written, and what is not because it is there already.

use super::*;
use crate::testing::{FakeApi, leader, writer};
use api::{Topic, condition};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

fn config_map(value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": "a", "namespace": "shop"}, "data": {"key": value}}))
        .unwrap()
}

fn topic() -> Topic {
    serde_yaml::from_str("metadata: {name: orders, namespace: shop, uid: u1}\nspec: {}").unwrap()
}

/// Goal: applying twice writes once; a change by us, and one by somebody else, are written again.
#[tokio::test]
async fn equal_objects_are_not_written() {
    let api = FakeApi::default();
    let writer = writer(&api, leader());
    assert_eq!(writer.apply("test", &config_map("1")).await.unwrap(), Applied::Written);
    assert_eq!(api.take_writes(), ["PATCH /api/v1/namespaces/shop/configmaps/a"]);
    assert_eq!(writer.apply("test", &config_map("1")).await.unwrap(), Applied::Unchanged);
    assert_eq!(api.take_writes(), Vec::<String>::new());
    assert_eq!(writer.apply("test", &config_map("2")).await.unwrap(), Applied::Written);
    let mut theirs = api.find("ConfigMap", "a").unwrap();
    theirs["data"]["key"] = json!("3");
    api.put(theirs);
    assert_eq!(writer.apply("test", &config_map("2")).await.unwrap(), Applied::Written);
    assert_eq!(api.find("ConfigMap", "a").unwrap()["data"]["key"], "2");
}

/// Goal: the Pod that was meant goes, one that took its place does not, and one that is gone is gone.
#[tokio::test]
async fn no_other_pod_is_evicted() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop, uid: u2}}";
    let (api, name) = (FakeApi::with_yaml(pod), ObjectName::new("shop", "a"));
    let writer = writer(&api, leader());
    assert_eq!(writer.evict(&name, "u1").await.unwrap(), Evicted::Gone);
    assert!(api.find("Pod", "a").is_some());
    assert_eq!(writer.evict(&name, "u2").await.unwrap(), Evicted::Going);
    assert!(api.find("Pod", "a").is_none());
    assert_eq!(writer.evict(&name, "u2").await.unwrap(), Evicted::Gone);
}

/// Goal: who does not hold the Lease writes nothing at all.
#[tokio::test]
async fn only_the_leader_writes() {
    let api = FakeApi::default();
    let writer = writer(&api, Leadership::new());
    let status = json!({"partitions": 1});
    assert!(matches!(writer.apply("test", &config_map("1")).await, Err(ApplyError::NotLeader(_))));
    assert!(matches!(writer.create(&config_map("1")).await, Err(ApplyError::NotLeader(_))));
    assert!(writer.status("test", &topic(), (&Value::Null, &status)).await.is_err());
    assert!(writer.finalizer(&topic(), "x/y", true).await.is_err());
    assert!(writer.evict(&ObjectName::new("shop", "a"), "u1").await.is_err());
    assert_eq!(api.take_writes(), Vec::<String>::new());
}

/// Goal: a status is written when it differs from what is there, or from what we wrote after the store was read.
#[tokio::test]
async fn equal_status_is_not_written() {
    let api = FakeApi::with_yaml(
        "{apiVersion: pinnace.dev/v1alpha1, kind: Topic, metadata: {name: orders, namespace: shop, uid: u1}, spec: {}}",
    );
    let writer = writer(&api, leader());
    let (old, new) = (json!({"partitions": 1}), json!({"partitions": 2}));
    assert_eq!(writer.status("test", &topic(), (&old, &old)).await.unwrap(), Applied::Unchanged);
    assert_eq!(writer.status("test", &topic(), (&old, &new)).await.unwrap(), Applied::Written);
    // The store still shows the old status, which is wanted again.
    assert_eq!(writer.status("test", &topic(), (&old, &old)).await.unwrap(), Applied::Written);
    assert_eq!(api.take_writes().len(), 2);
}

/// Goal: with a CRD that is older than the operator all else of a status is written, once, and with a newer one all of it.
#[tokio::test]
async fn an_older_crd_costs_its_missing_fields_alone() {
    let api = FakeApi::with_yaml(
        "{apiVersion: pinnace.dev/v1alpha1, kind: Topic, metadata: {name: orders, namespace: shop, uid: u1}, spec: {}}",
    );
    let there = || api.find("Topic", "orders").unwrap()["status"].clone();
    let writer = writer(&api, leader());
    api.undeclare(Some("size"));
    let wanted = |partitions: i32| json!({"partitions": partitions, "size": "1Gi"});
    assert_eq!(writer.status("test", &topic(), (&there(), &wanted(1))).await.unwrap(), Applied::Written);
    assert_eq!(there(), json!({"partitions": 1}));
    api.take_writes();
    assert_eq!(writer.status("test", &topic(), (&there(), &wanted(1))).await.unwrap(), Applied::Unchanged);
    assert_eq!(api.take_writes(), Vec::<String>::new());
    api.undeclare(None);
    assert_eq!(writer.status("test", &topic(), (&there(), &wanted(2))).await.unwrap(), Applied::Written);
    assert_eq!(there(), wanted(2));
    assert_eq!(writer.status("test", &topic(), (&there(), &wanted(2))).await.unwrap(), Applied::Unchanged);
}

/// Goal: creating what is there leaves it as it is.
#[tokio::test]
async fn creating_twice_is_harmless() {
    let api = FakeApi::default();
    let writer = writer(&api, leader());
    assert_eq!(writer.create(&config_map("1")).await.unwrap(), Applied::Written);
    assert_eq!(writer.create(&config_map("2")).await.unwrap(), Applied::Unchanged);
    assert_eq!(api.find("ConfigMap", "a").unwrap()["data"]["key"], "1");
}

/// Goal: pruning deletes what this owner owned and no longer wants, and nothing of anybody else.
#[tokio::test]
async fn pruning_spares_others() {
    let api = FakeApi::with_yaml(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: kept, namespace: shop, uid: a, labels: {a: b}, ownerReferences: [{apiVersion: v1, kind: X, name: x, uid: me}]}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: stale, namespace: shop, uid: b, labels: {a: b}, ownerReferences: [{apiVersion: v1, kind: X, name: x, uid: me}]}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: theirs, namespace: shop, uid: c, labels: {a: b}, ownerReferences: [{apiVersion: v1, kind: X, name: x, uid: other}]}}
",
    );
    let keep = BTreeSet::from(["kept".to_owned()]);
    writer(&api, leader()).prune::<ConfigMap>(("shop", "a=b"), "me", &keep).await.unwrap();
    assert_eq!(api.take_writes(), ["DELETE /api/v1/namespaces/shop/configmaps/stale"]);
}

fn ready(status: &str, reason: &str) -> Vec<Condition> {
    let part = match status {
        "True" => condition::Part::good("Accepted", "x", ""),
        _ => condition::Part {
            kind: "Accepted",
            state: condition::State::False,
            reason: "y",
            message: "z".repeat(2000),
        },
    };
    let time = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    let mut made = condition::conditions(&[], &[part], None, &time);
    made[0].reason = reason.to_owned();
    made
}

/// Goal: one Event per change of Ready or its reason, none for the same again, with a note that the API takes.
#[test]
fn events_are_not_repeated() {
    let (bad, good) = (ready("False", "Starting"), ready("True", "Ready"));
    assert!(events::events_for(&bad, &bad).is_empty());
    let event = events::events_for(&good, &bad).remove(0);
    assert_eq!(event.reason, "Starting");
    assert!(event.note.unwrap().len() <= 1024);
    assert_eq!(events::events_for(&bad, &ready("False", "Other")).len(), 1);
    assert_eq!(events::events_for(&bad, &good).len(), 1, "that it is well again is told");
    assert!(events::events_for(&[], &good).is_empty(), "that it is well from the beginning is not");
    assert_eq!(events::events_for(&[], &bad).len(), 1);
}

/// Goal: a disk that is nearly full is told once, by Ready or, when that is false for another reason, by itself; that it has
/// room again is told by both; that nobody knows is not told.
#[test]
fn a_condition_beside_ready_is_told() {
    use api::{broker::conditions::DISK_HAS_ROOM, condition::Part};
    let time = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    let with = |others: &[Part], disk: Part| {
        let parts = [others, &[disk]].concat();
        condition::conditions(&[], &parts, Some(1), &time)
    };
    let told = |before: &[Condition], after: &[Condition]| -> Vec<String> {
        events::events_for(before, after).into_iter().map(|event| event.reason).collect()
    };
    let full = || Part::bad(DISK_HAS_ROOM, "DiskNearlyFull", "make room");
    let room = || Part::good(DISK_HAS_ROOM, "HasRoom", "there is room");
    let unknown = || Part::unknown(DISK_HAS_ROOM, "NotTold", "nobody knows");
    let starting = [Part::bad("Serving", "Starting", "")];
    assert_eq!(told(&with(&[], room()), &with(&[], full())), ["DiskNearlyFull"]);
    assert_eq!(told(&with(&[], full()), &with(&[], full())), [""; 0]);
    assert_eq!(told(&with(&[], full()), &with(&[], room())), ["Ready", "HasRoom"]);
    assert_eq!(told(&with(&starting, room()), &with(&starting, full())), ["DiskNearlyFull"]);
    assert_eq!(told(&with(&starting, full()), &with(&starting, unknown())), [""; 0]);
    assert_eq!(told(&with(&starting, unknown()), &with(&starting, room())), [""; 0]);
    assert_eq!(told(&[], &with(&[], room())), [""; 0], "that it is well from the beginning is not told");
}
