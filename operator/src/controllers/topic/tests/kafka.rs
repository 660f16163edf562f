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

fn address() -> Address {
    crate::controllers::broker::address(&ObjectName::new("shop", "default"))
}

/// A Topic with partitions of one copy each, on three nodes, that is to have `copies`.
async fn with_one_copy(partitions: i32, copies: i32) -> (FakeApi, FakeBrokers) {
    use control::placement::{Node, Partition};
    let spec = format!("{{partitions: {partitions}, replicas: 1}}");
    let (api, brokers) = (one(&spec), FakeBrokers::default());
    run(&api, &brokers, "orders").await.unwrap();
    brokers.edit(&address(), |node| {
        node.layout.nodes = (0..3).map(|id| Node { id, rack: None }).collect();
        let partition = |index| Partition {
            topic: "orders".into(),
            index,
            replicas: vec![index % 3],
            in_sync: vec![index % 3],
        };
        node.layout.partitions = (0..partitions).map(partition).collect();
    });
    change_topic(&api, "orders", |topic| topic["spec"]["replicas"] = json!(copies));
    (api, brokers)
}

fn copies(brokers: &FakeBrokers) -> Vec<usize> {
    brokers.node(&address()).layout.partitions.iter().map(|partition| partition.replicas.len()).collect()
}

/// Goal: another number of copies is brought about batch by batch, the status says how far it is, the Topic is Ready all the
/// while, and when all is done nobody looks any more.
#[tokio::test]
async fn copies_come_and_go_in_batches() {
    let (api, brokers) = with_one_copy(45, 3).await;
    for moved in [20, 40, 45] {
        assert!(run(&api, &brokers, "orders").await.unwrap().pause().is_some());
        assert_eq!(copies(&brokers).iter().filter(|copies| **copies == 3).count(), moved);
        let (status, reason, message) = condition_of(&api, "orders", "CopiesPlaced");
        assert_eq!((status.as_str(), reason.as_str()), ("False", "Moving"), "{message}");
        assert_eq!(ready(&api, "orders").0, "True");
    }
    // All have as many, and the last ones are not complete yet.
    brokers.edit(&address(), |node| {
        node.layout.partitions[44].in_sync.truncate(1);
        node.layout.ongoing = 5;
    });
    assert!(run(&api, &brokers, "orders").await.unwrap().pause().is_some());
    assert_eq!(condition_of(&api, "orders", "CopiesPlaced").1, "Moving");
    brokers.edit(&address(), |node| node.layout.ongoing = 0);
    assert_eq!(run(&api, &brokers, "orders").await.unwrap(), Action::await_change());
    assert_eq!(condition_of(&api, "orders", "CopiesPlaced").0, "True");
    assert_eq!(api.find("Topic", "orders").unwrap()["status"]["replicas"], 3);
    api.take_writes();
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!(api.take_writes(), Vec::<String>::new());
    change_topic(&api, "orders", |topic| topic["spec"]["replicas"] = json!(2));
    for _ in 0..4 {
        run(&api, &brokers, "orders").await.unwrap();
    }
    assert_eq!(copies(&brokers), vec![2; 45]);
}

/// Goal: copies that somebody else moves are waited for, more copies than nodes are refused with the way out, and one who only
/// looks moves nothing and says what differs.
#[tokio::test]
async fn copies_stay_when_they_must() {
    let (api, brokers) = with_one_copy(2, 3).await;
    brokers.edit(&address(), |node| node.layout.ongoing = 1);
    assert!(run(&api, &brokers, "orders").await.unwrap().pause().is_some());
    assert!(condition_of(&api, "orders", "CopiesPlaced").2.contains("on their way: 1"));
    brokers.edit(&address(), |node| node.layout.ongoing = 0);
    change_topic(&api, "orders", |topic| topic["spec"]["replicas"] = json!(5));
    assert_eq!(run(&api, &brokers, "orders").await.unwrap(), Action::await_change(), "nobody asks in vain");
    assert_eq!(condition_of(&api, "orders", "CopiesPlaced").1, "TooFewNodes");
    let (_, reason, message) = ready(&api, "orders");
    assert_eq!(reason, "Differs", "{message}");
    assert!(message.contains("set spec.replicas to 3 at most"), "{message}");
    for (policy, wrong) in [("Observe", "Differs"), ("Adopt", "NotSupported")] {
        change_topic(&api, "orders", |topic| {
            topic["spec"]["replicas"] = json!(3);
            topic["spec"]["managementPolicy"] = json!(policy);
        });
        assert_eq!(run(&api, &brokers, "orders").await.unwrap(), Action::await_change());
        let (_, reason, message) = ready(&api, "orders");
        assert_eq!(reason, wrong, "{policy}: {message}");
    }
    assert_eq!(copies(&brokers), [1, 1], "nothing moved");
}
