//! Topics as YAML in; changes on the broker, status and writes out. No cluster.

mod kafka;
mod lifecycle;
mod quota;

use super::*;
use crate::{
    kafka::{Address, KafkaError},
    testing::{FakeApi, FakeBrokers, context},
};
use control::topics::Change;
use serde_json::{Value, json};

const BROKER: &str = "
apiVersion: pinnace.dev/v1alpha1
kind: Broker
metadata: {name: default, namespace: shop, uid: b1}
spec: {}
status: {conditions: [{type: Serving, status: 'True', reason: Serving, message: x, lastTransitionTime: '2026-01-01T00:00:00Z'}]}
---
";

fn topic_yaml(name: &str, created: &str, spec: &str) -> String {
    format!(
        "apiVersion: pinnace.dev/v1alpha1\nkind: Topic\nmetadata: {{name: {name}, namespace: shop, uid: u-{name}, generation: 1, creationTimestamp: '{created}'}}\nspec: {spec}\n---\n"
    )
}

/// One Topic beside a Broker that serves.
fn one(spec: &str) -> FakeApi {
    FakeApi::with_yaml(&format!("{BROKER}{}", topic_yaml("orders", "2026-01-01T00:00:00Z", spec)))
}

async fn run(api: &FakeApi, brokers: &FakeBrokers, name: &str) -> Result<Action, ReconcileError> {
    let context = Arc::new(context(api, brokers));
    let topic = context.cluster.topics.get(&ObjectName::new("shop", name)).unwrap();
    reconcile(topic, context).await
}

fn condition_of(api: &FakeApi, name: &str, kind: &str) -> (String, String, String) {
    let topic = api.find("Topic", name).unwrap();
    let conditions = topic["status"]["conditions"].as_array().unwrap().clone();
    let found = conditions.into_iter().find(|condition| condition["type"] == kind).unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"), text("message"))
}

fn ready(api: &FakeApi, name: &str) -> (String, String, String) {
    condition_of(api, name, "Ready")
}

fn change_topic(api: &FakeApi, name: &str, change: impl FnOnce(&mut Value)) {
    let mut topic = api.find("Topic", name).unwrap();
    change(&mut topic);
    topic["metadata"]["generation"] = json!(topic["metadata"]["generation"].as_i64().unwrap() + 1);
    api.put(topic);
}

/// Goal: a Topic becomes a topic that is open to its apps, and once that is so nothing is written any more.
#[tokio::test]
async fn a_topic_is_made_and_then_left_alone() {
    let (api, brokers) = (one("{partitions: 3}"), FakeBrokers::default());
    run(&api, &brokers, "orders").await.unwrap();
    let changes = brokers.take_changes();
    assert!(matches!(&changes[..], [Change::Create { partitions: 3, .. }, Change::Allow(_)]), "{changes:?}");
    assert_eq!(ready(&api, "orders").0, "True");
    let topic = api.find("Topic", "orders").unwrap();
    assert_eq!(topic["status"]["partitions"], 3);
    assert_eq!(topic["status"]["topicId"], "id-of-orders");
    assert_eq!(topic["metadata"]["finalizers"], json!(["pinnace.dev/topic"]));
    assert!(!api.take_writes().is_empty());
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!(api.take_writes(), Vec::<String>::new(), "a steady Topic writes nothing");
    assert_eq!(brokers.take_changes(), []);
}

/// Goal: a changed spec reaches the broker.
#[tokio::test]
async fn a_change_reaches_the_broker() {
    let (api, brokers) = (one("{}"), FakeBrokers::default());
    run(&api, &brokers, "orders").await.unwrap();
    change_topic(&api, "orders", |topic| {
        topic["spec"] =
            json!({"partitions": 2, "retention": {"time": "1d"}, "cleanup": ["Compact", "Delete"]})
    });
    run(&api, &brokers, "orders").await.unwrap();
    let topic = brokers.topic("orders").unwrap();
    assert_eq!((topic.partitions, topic.config["retention.ms"].as_str()), (2, "86400000"));
    assert_eq!(topic.config["cleanup.policy"], "compact,delete");
    assert_eq!(api.find("Topic", "orders").unwrap()["status"]["observedGeneration"], 2);
}

/// Goal: the first Topic of a namespace makes the Broker `default`, and says so.
#[tokio::test]
async fn the_first_topic_makes_a_broker() {
    let api = FakeApi::with_yaml(&topic_yaml("orders", "2026-01-01T00:00:00Z", "{}"));
    let brokers = FakeBrokers::default();
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!(api.find("Broker", "default").unwrap()["spec"]["engine"], "Embedded");
    let (status, reason, message) = ready(&api, "orders");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "BrokerNotReady"));
    assert!(message.contains("made Broker shop/default"), "{message}");
}

/// Goal: whatever stands in the way is told with its reason and the field to change, and the broker is left alone.
#[tokio::test]
async fn obstacles_are_told() {
    for (spec, reason, words) in [
        ("{replicas: 2}", "NotSupported", "spec.replicas"),
        ("{cleanup: []}", "Invalid", "spec.cleanup"),
        ("{partitions: 0}", "Invalid", "spec.partitions"),
        ("{retention: {time: soon}}", "Invalid", "spec.retention.time"),
        ("{broker: {name: other}}", "BrokerNotFound", "spec.broker"),
        ("{managementPolicy: Observe}", "TopicNotFound", "managementPolicy"),
    ] {
        let (api, brokers) = (one(spec), FakeBrokers::default());
        run(&api, &brokers, "orders").await.unwrap();
        let (status, found, message) = ready(&api, "orders");
        assert_eq!((status.as_str(), found.as_str()), ("False", reason), "{spec}: {message}");
        assert!(message.contains(words), "{spec}: {message}");
        assert_eq!(brokers.take_changes(), [], "{spec}");
    }
}

/// Goal: a Broker of another namespace takes Topics only of namespaces that it allows.
#[tokio::test]
async fn foreign_namespaces_need_to_be_allowed() {
    let foreign = |allowed: &str| {
        let broker = BROKER
            .replace("namespace: shop", "namespace: infra")
            .replace("spec: {}", &format!("spec: {allowed}"));
        let topic = topic_yaml("orders", "2026-01-01T00:00:00Z", "{broker: {namespace: infra}}");
        FakeApi::with_yaml(&format!("{broker}{topic}"))
    };
    let (api, brokers) = (foreign("{}"), FakeBrokers::default());
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!(ready(&api, "orders").1, "NamespaceNotAllowed");
    let api = foreign("{allowedNamespaces: {from: All}}");
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!(ready(&api, "orders").0, "True");
    assert!(brokers.topic("shop.orders").is_some());
}

/// Goal: an operator of one namespace says of a Broker elsewhere that it is not its own, touches nothing there, and holds no
/// Topic that an operator of the whole cluster had taken on.
#[tokio::test]
async fn brokers_of_other_namespaces_are_not_served() {
    let broker = BROKER
        .replace("namespace: shop", "namespace: infra")
        .replace("spec: {}", "spec: {allowedNamespaces: {from: All}}");
    let topic = topic_yaml("orders", "2026-01-01T00:00:00Z", "{broker: {namespace: infra}, replicas: 2}");
    let (api, brokers) = (FakeApi::with_yaml(&format!("{broker}{topic}")), FakeBrokers::default());
    let run_alone = async || {
        let mut context = context(&api, &brokers);
        context.cluster.scope = crate::scope::Scope::of("shop");
        let topic = context.cluster.topics.get(&ObjectName::new("shop", "orders")).unwrap();
        reconcile(topic, Arc::new(context)).await.unwrap()
    };
    assert_eq!(run_alone().await, Action::await_change());
    let (status, reason, message) = ready(&api, "orders");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "BrokerNotServed"));
    assert!(
        message.contains("serves namespace shop alone") && message.contains("remove spec.broker.namespace"),
        "{message}"
    );
    change_topic(&api, "orders", |topic| {
        topic["metadata"]["finalizers"] = json!(["pinnace.dev/topic"]);
        topic["status"]["topicId"] = json!("id-of-orders");
    });
    leave(&api);
    api.take_requests();
    run_alone().await;
    assert_eq!(api.find("Topic", "orders"), None);
    let requests = api.take_requests();
    assert!(!requests.iter().any(|request| request.contains("/infra/")), "{requests:?}");
    assert_eq!(brokers.take_changes(), []);
}

/// Goal: of two Topics that claim one name the older has it; the other says who, and its deletion changes nothing.
#[tokio::test]
async fn the_older_topic_wins() {
    let api = FakeApi::with_yaml(&format!(
        "{BROKER}{}{}",
        topic_yaml("orders", "2026-01-01T00:00:00Z", "{}"),
        topic_yaml(
            "copy",
            "2026-01-02T00:00:00Z",
            "{topicName: orders, partitions: 7, deletionPolicy: Delete}"
        ),
    ));
    let brokers = FakeBrokers::default();
    run(&api, &brokers, "copy").await.unwrap();
    let (_, reason, message) = ready(&api, "copy");
    assert_eq!(reason, "TopicNameConflict");
    assert!(message.contains("shop/orders") && message.contains("spec.topicName"), "{message}");
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!(brokers.topic("orders").unwrap().partitions, 1);
    brokers.take_changes();
    change_topic(&api, "copy", |topic| {
        topic["metadata"]["deletionTimestamp"] = json!("2026-01-03T00:00:00Z");
        topic["metadata"]["finalizers"] = json!(["pinnace.dev/topic"]);
        topic["status"]["topicId"] = json!("id-of-orders");
    });
    run(&api, &brokers, "copy").await.unwrap();
    assert_eq!(brokers.take_changes(), []);
    assert_eq!(api.find("Topic", "copy"), None);
}

fn leave(api: &FakeApi) {
    change_topic(api, "orders", |topic| {
        topic["metadata"]["deletionTimestamp"] = json!("2026-01-03T00:00:00Z")
    });
}

/// Goal: a deleted Topic closes its topic; only `deletionPolicy: Delete` takes the messages with it.
#[tokio::test]
async fn deletion_follows_the_policy() {
    for (spec, kept) in [("{}", true), ("{deletionPolicy: Delete}", false)] {
        let (api, brokers) = (one(spec), FakeBrokers::default());
        run(&api, &brokers, "orders").await.unwrap();
        leave(&api);
        brokers.take_changes();
        run(&api, &brokers, "orders").await.unwrap();
        assert_eq!(brokers.topic("orders").is_some(), kept, "{spec}");
        assert!(brokers.take_changes().iter().any(|change| matches!(change, Change::Revoke(_))));
        assert_eq!(api.find("Topic", "orders"), None);
    }
}

fn away(address: &Address) -> KafkaError {
    KafkaError::Unreachable { bootstrap: address.bootstrap.clone(), reason: "connection refused".into() }
}

/// Goal: a short outage of the Broker holds a Topic that is being deleted, with the reason; a Broker that is gone does not.
#[tokio::test]
async fn the_finalizer_is_freed_when_the_broker_is_gone() {
    let (api, brokers) = (one("{deletionPolicy: Delete}"), FakeBrokers::default());
    run(&api, &brokers, "orders").await.unwrap();
    leave(&api);
    brokers.fail(Some(away));
    assert!(run(&api, &brokers, "orders").await.is_err());
    assert_eq!(api.find("Topic", "orders").unwrap()["metadata"]["finalizers"], json!(["pinnace.dev/topic"]));
    assert!(ready(&api, "orders").2.contains("cannot be deleted yet"));
    api.edit("Broker", "default", |broker| {
        broker["metadata"]["deletionTimestamp"] = json!("2026-01-03T00:00:00Z");
        // Deleted in the foreground: it waits for its children.
        broker["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
    });
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!(api.find("Topic", "orders"), None);
}

/// Goal: a broker that does not answer makes the Topic not ready and is tried again; what it refuses is told.
#[tokio::test]
async fn failures_are_told() {
    let (api, brokers) = (one("{}"), FakeBrokers::default());
    brokers.fail(Some(away));
    assert!(run(&api, &brokers, "orders").await.is_err());
    assert_eq!(ready(&api, "orders").1, "BrokerNotReady");
    brokers.fail(Some(|address| KafkaError::Refused {
        bootstrap: address.bootstrap.clone(),
        action: "create topic orders".into(),
        reason: "POLICY_VIOLATION: too many".into(),
    }));
    run(&api, &brokers, "orders").await.unwrap();
    let (_, reason, message) = ready(&api, "orders");
    assert_eq!(reason, "RefusedByBroker");
    assert!(message.contains("too many"), "{message}");
}

/// Goal: a paused Broker's topics are left alone.
#[tokio::test]
async fn a_paused_broker_is_left_alone() {
    let broker = BROKER.replace("spec: {}", "spec: {maintenance: {paused: true}}");
    let topic = topic_yaml("orders", "2026-01-01T00:00:00Z", "{}");
    let (api, brokers) = (FakeApi::with_yaml(&format!("{broker}{topic}")), FakeBrokers::default());
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!(ready(&api, "orders").1, "Paused");
    assert_eq!(brokers.take_changes(), []);
}
