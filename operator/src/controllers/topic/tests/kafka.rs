//! Topics on a Broker with engine Kafka.

use super::*;
use control::topics::Acl;
use std::collections::BTreeSet;

fn account(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace, "uid": name}})
}

/// One Topic on a Kafka cluster that serves.
fn one(spec: &str) -> FakeApi {
    let broker = BROKER.replace("spec: {}", "spec: {engine: Kafka}");
    FakeApi::with_yaml(&format!("{broker}{}", topic_yaml("orders", "2026-01-01T00:00:00Z", spec)))
}

fn principals(brokers: &FakeBrokers) -> BTreeSet<String> {
    let address = crate::controllers::broker::address(&ObjectName::new("shop", "default"));
    brokers.node(&address).acls.into_iter().map(|acl: Acl| acl.principal).collect()
}

/// Goal: each service account of the namespace has its rule, one that comes gets one, and one that goes keeps none on the topic.
#[tokio::test]
async fn each_service_account_has_its_rule() {
    let (api, brokers) = (one("{replicas: 3}"), FakeBrokers::default());
    api.put(account("shop", "checkout"));
    api.put(account("lab", "stranger"));
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!(ready(&api, "orders").0, "True", "{:?}", ready(&api, "orders"));
    assert_eq!(principals(&brokers), BTreeSet::from(["User:shop/checkout".to_owned()]));
    api.put(account("shop", "billing"));
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!(
        principals(&brokers),
        BTreeSet::from(["User:shop/billing".to_owned(), "User:shop/checkout".to_owned()])
    );
    brokers.take_changes();
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!(brokers.take_changes(), Vec::new(), "a steady Topic changes nothing");
    api.delete_in("shop", "ServiceAccount", "checkout");
    run(&api, &brokers, "orders").await.unwrap();
    let of_topic = |change: &Change| matches!(change, Change::Revoke(acls) if acls.iter().all(|acl| acl.principal == "User:shop/checkout"));
    assert!(brokers.take_changes().iter().any(of_topic));
}

/// Goal: a node that has not heard of a change yet is asked again until it has, and one that is far behind later; that the topic
/// was made by us is not forgotten over it.
#[tokio::test(start_paused = true)]
async fn what_a_node_has_not_heard_of_is_looked_for_again() {
    let (api, brokers) = (one("{partitions: 2}"), FakeBrokers::default());
    brokers.lag(3);
    assert_eq!(run(&api, &brokers, "orders").await.unwrap(), Action::await_change());
    assert_eq!(ready(&api, "orders").0, "True");
    change_topic(&api, "orders", |topic| topic["spec"]["partitions"] = json!(4));
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!(api.find("Topic", "orders").unwrap()["status"]["partitions"], 4);

    let (api, brokers) = (one("{}"), FakeBrokers::default());
    brokers.lag(100);
    let action = run(&api, &brokers, "orders").await.unwrap();
    assert!(action.pause().is_some(), "nobody tells us when it is to be seen");
    assert_eq!(ready(&api, "orders").1, "TopicNotFound");
    brokers.lag(0);
    api.take_events();
    assert_eq!(run(&api, &brokers, "orders").await.unwrap(), Action::await_change());
    assert_eq!(ready(&api, "orders").0, "True");
    let told: Vec<String> = api.take_events().into_iter().map(|(reason, _)| reason).collect();
    assert!(!told.contains(&"Adopted".to_owned()), "{told:?}");
}
