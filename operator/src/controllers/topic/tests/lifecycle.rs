//! What comes before a Topic and after it: Brokers that may not be made, pauses, narrower access, a second life.

use super::*;
use crate::testing::{Fault, Line, leader, writer};
use control::topics::{Acl, Operation, Resource};

/// Goal: a quota or a policy that refuses the Broker of first use is told on the Topic with its words and the next step,
/// is no failure that anybody is woken for, and is tried again.
#[tokio::test]
async fn a_broker_that_may_not_be_made_is_told() {
    let api = FakeApi::with_yaml(&topic_yaml("orders", "2026-01-01T00:00:00Z", "{}"));
    let brokers = FakeBrokers::default();
    let line = Line::default();
    for code in [403, 422] {
        line.disturb(Some(Arc::new(move |request: &str| {
            (request.starts_with("POST") && request.ends_with("/brokers")).then_some(Fault::Refused(code))
        })));
        let mut context = context(&api, &brokers);
        context.writer = crate::apply::Writer::new(
            api.client_over(&line),
            leader(),
            context.metrics.reconciles.clone(),
            "test",
        );
        let topic = context.cluster.topics.get(&ObjectName::new("shop", "orders")).unwrap();
        let action = reconcile(topic, Arc::new(context)).await.unwrap();
        assert!(action.pause().is_some(), "nobody tells us when the quota grows");
        let (status, reason, message) = ready(&api, "orders");
        assert_eq!((status.as_str(), reason.as_str()), ("False", "BrokerRefused"));
        assert!(message.contains("Simulated") && message.contains("spec.broker"), "{message}");
    }
    run(&api, &brokers, "orders").await.unwrap();
    assert!(api.find("Broker", "default").is_some(), "it is made once it may be");
}

/// Goal: a Topic that is deleted while its Broker is paused changes nothing there until the pause ends.
#[tokio::test]
async fn a_pause_holds_a_topic_that_is_deleted() {
    let (api, brokers) = (one("{deletionPolicy: Delete}"), FakeBrokers::default());
    run(&api, &brokers, "orders").await.unwrap();
    brokers.take_changes();
    let pause = |paused: bool| {
        api.edit("Broker", "default", |broker| broker["spec"]["maintenance"] = json!({ "paused": paused }));
    };
    pause(true);
    leave(&api);
    assert_eq!(run(&api, &brokers, "orders").await.unwrap(), Action::await_change());
    assert_eq!(brokers.take_changes(), []);
    let (_, reason, message) = ready(&api, "orders");
    assert_eq!(reason, "Paused");
    assert!(message.contains("spec.maintenance.paused"), "{message}");
    assert_eq!(api.find("Topic", "orders").unwrap()["metadata"]["finalizers"], json!(["pinnace.dev/topic"]));
    pause(false);
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!((api.find("Topic", "orders"), brokers.topic("orders")), (None, None));
}

fn may_join(brokers: &FakeBrokers, account: &str) -> bool {
    may(brokers, account, Resource::Group("*".into()), Operation::Read)
}

fn may_begin(brokers: &FakeBrokers, account: &str) -> bool {
    may(brokers, account, Resource::TransactionalId("*".into()), Operation::Write)
}

fn may(brokers: &FakeBrokers, account: &str, resource: Resource, operation: Operation) -> bool {
    let rule = Acl { resource, principal: format!("User:shop/{account}"), operation };
    let address = crate::controllers::broker::address(&ObjectName::new("shop", "default"));
    brokers.node(&address).acls.contains(&rule)
}

/// Goal: who may subscribe no longer may join no group any more, unless another Topic lets it.
#[tokio::test]
async fn narrower_access_closes_groups() {
    let access = "{access: {subscribe: [{serviceAccount: billing}, {serviceAccount: audit}]}}";
    let other =
        topic_yaml("other", "2026-01-01T00:00:00Z", "{access: {subscribe: [{serviceAccount: audit}]}}");
    let own = topic_yaml("orders", "2026-01-01T00:00:00Z", access);
    let (api, brokers) = (FakeApi::with_yaml(&format!("{BROKER}{own}{other}")), FakeBrokers::default());
    run(&api, &brokers, "orders").await.unwrap();
    run(&api, &brokers, "other").await.unwrap();
    assert!(may_join(&brokers, "billing") && may_join(&brokers, "audit"));
    change_topic(&api, "orders", |topic| topic["spec"] = json!({"access": {"subscribe": []}}));
    run(&api, &brokers, "orders").await.unwrap();
    assert!(!may_join(&brokers, "billing"), "nobody needs it");
    assert!(may_join(&brokers, "audit"), "another Topic needs it");
}

/// Goal: who may publish nowhere any more begins no transactions any more, be it that a Topic names others or goes; who may
/// elsewhere still does.
#[tokio::test]
async fn the_last_topic_takes_transactions_away() {
    let access = |publish: &str| format!("{{access: {{subscribe: [], publish: [{publish}]}}}}");
    let both = access("{serviceAccount: checkout}, {serviceAccount: audit}");
    let own = topic_yaml("orders", "2026-01-01T00:00:00Z", &both);
    let other = topic_yaml("other", "2026-01-01T00:00:00Z", &access("{serviceAccount: audit}"));
    let (api, brokers) = (FakeApi::with_yaml(&format!("{BROKER}{own}{other}")), FakeBrokers::default());
    run(&api, &brokers, "orders").await.unwrap();
    run(&api, &brokers, "other").await.unwrap();
    assert!(may_begin(&brokers, "checkout") && may_begin(&brokers, "audit"));
    change_topic(&api, "orders", |topic| {
        topic["spec"] = json!({"access": {"subscribe": [], "publish": [{"serviceAccount": "audit"}]}});
    });
    run(&api, &brokers, "orders").await.unwrap();
    assert!(!may_begin(&brokers, "checkout"), "no Topic lets it publish");
    for (name, still) in [("orders", true), ("other", false)] {
        api.delete("Topic", name);
        run(&api, &brokers, name).await.unwrap();
        assert_eq!(may_begin(&brokers, "audit"), still, "after {name}");
    }
}

/// Goal: a change that the broker did not take is made by the next try, after the status said that it was seen.
#[tokio::test]
async fn narrower_access_survives_an_outage() {
    let (api, brokers) = (one("{access: {subscribe: [{serviceAccount: billing}]}}"), FakeBrokers::default());
    run(&api, &brokers, "orders").await.unwrap();
    change_topic(&api, "orders", |topic| topic["spec"] = json!({"access": {"subscribe": []}}));
    brokers.fail(Some(away));
    assert!(run(&api, &brokers, "orders").await.is_err());
    brokers.fail(None);
    run(&api, &brokers, "orders").await.unwrap();
    assert!(!may_join(&brokers, "billing"));
}

/// Goal: of two Topics that are deleted at once the last one closes the groups, whichever it is.
#[tokio::test]
async fn topics_that_go_together_leave_no_rule() {
    let access = "{access: {subscribe: [{serviceAccount: billing}]}}";
    let both = ["orders", "other"].map(|name| topic_yaml(name, "2026-01-01T00:00:00Z", access));
    let (api, brokers) = (FakeApi::with_yaml(&format!("{BROKER}{}", both.concat())), FakeBrokers::default());
    for name in ["orders", "other"] {
        run(&api, &brokers, name).await.unwrap();
        api.delete("Topic", name);
    }
    // Both still see the other one in their store.
    let context = Arc::new(context(&api, &brokers));
    for name in ["orders", "other"] {
        let topic = context.cluster.topics.get(&ObjectName::new("shop", name)).unwrap();
        reconcile(topic, Arc::clone(&context)).await.unwrap();
    }
    assert!(!may_join(&brokers, "billing"));
}

/// Goal: a Topic that was deleted and is applied again has its messages back, open to its apps, and says so once.
#[tokio::test]
async fn a_retained_topic_comes_back() {
    let (api, brokers) = (one("{partitions: 3}"), FakeBrokers::default());
    run(&api, &brokers, "orders").await.unwrap();
    assert!(!api.take_events().iter().any(|(reason, _)| reason == "Adopted"), "it was made, not found");
    api.delete("Topic", "orders");
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!(api.find("Topic", "orders"), None);
    brokers.take_changes();
    for object in
        crate::testing::Objects::from_yaml(&topic_yaml("orders", "2026-02-01T00:00:00Z", "{partitions: 3}"))
            .into_values()
    {
        api.put(object);
    }
    run(&api, &brokers, "orders").await.unwrap();
    let changes = brokers.take_changes();
    assert!(matches!(&changes[..], [Change::Allow(_)]), "opened and nothing else: {changes:?}");
    assert_eq!(ready(&api, "orders").0, "True");
    let events = api.take_events();
    let adopted: Vec<_> = events.iter().filter(|(reason, _)| reason == "Adopted").collect();
    assert!(matches!(&adopted[..], [(_, note)] if note.contains("with 3 partitions")), "{events:?}");
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!(api.take_events(), [], "said once");
}

/// Goal: an object that fails a hundred times, or is well and not well in turn, has one Event for each reason; the API
/// server counts the rest as a series.
#[tokio::test]
async fn events_are_not_repeated() {
    let (api, brokers) = (one("{}"), FakeBrokers::default());
    let writer = writer(&api, leader());
    let again = async |fail: bool| {
        brokers.fail(fail.then_some(away as fn(&Address) -> KafkaError));
        let mut context = context(&api, &brokers);
        context.writer = writer.clone();
        let topic = context.cluster.topics.get(&ObjectName::new("shop", "orders")).unwrap();
        drop(reconcile(topic, Arc::new(context)).await);
    };
    for _ in 0..100 {
        again(true).await;
    }
    let events = api.take_writes().into_iter().filter(|write| write.contains("/events")).count();
    assert_eq!(events, 1, "a failure that stays is told once");
    for turn in 0..100 {
        again(turn % 2 == 1).await;
    }
    let reasons: Vec<String> = api.take_events().into_iter().map(|(reason, _)| reason).collect();
    assert_eq!(reasons, ["BrokerNotReady", "Ready"], "one Event for each reason, then a series");
}

/// Goal: an object that cannot be decoded is told of once, however often it is looked at.
#[tokio::test]
async fn an_invalid_object_is_told_once() {
    let (api, brokers) = (one("{retention: {time: soon}}"), FakeBrokers::default());
    let writer = writer(&api, leader());
    for _ in 0..100 {
        let mut context = context(&api, &brokers);
        context.writer = writer.clone();
        let topic = context.cluster.topics.get(&ObjectName::new("shop", "orders")).unwrap();
        reconcile(topic, Arc::new(context)).await.unwrap();
    }
    let events = api.take_writes().into_iter().filter(|write| write.contains("/events")).count();
    assert_eq!(events, 1);
}

/// Goal: whoever thinks better of a deletion while the topic is being closed keeps the messages.
#[tokio::test]
async fn a_topic_is_kept_by_who_thinks_better_of_it() {
    for (policy, stays) in [("Retain", true), ("Delete", false)] {
        let (api, brokers) = (one("{deletionPolicy: Delete}"), FakeBrokers::default());
        run(&api, &brokers, "orders").await.unwrap();
        leave(&api);
        let other = api.clone();
        brokers.witness(Arc::new(move |_, change| {
            if matches!(change, Change::Revoke(_)) {
                other.edit("Topic", "orders", |topic| topic["spec"]["deletionPolicy"] = json!(policy));
            }
        }));
        // That it was changed meanwhile ends this run; the next one sees it.
        drop(run(&api, &brokers, "orders").await);
        if api.find("Topic", "orders").is_some() {
            run(&api, &brokers, "orders").await.unwrap();
        }
        assert_eq!(api.find("Topic", "orders"), None);
        assert_eq!(brokers.topic("orders").is_some(), stays, "{policy}");
    }
}
