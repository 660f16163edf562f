//! All controllers, over objects of all kinds.

mod health;
mod steady;

use super::*;
use crate::{
    kafka::FencedBrokers,
    leadership::Leadership,
    testing::{FakeApi, FakeBrokers, context, writer},
};

/// Objects of all kinds that ask for every sort of write.
const OBJECTS: &str = "
{apiVersion: pinnace.dev/v1alpha1, kind: Broker, metadata: {name: default, namespace: shop, uid: b1}, spec: {},
 status: {conditions: [{type: Serving, status: 'True', reason: Serving, message: x, lastTransitionTime: '2026-01-01T00:00:00Z'}]}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Topic, metadata: {name: orders, namespace: shop, uid: t1}, spec: {}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Topic, metadata: {name: leaves, namespace: shop, uid: t2, finalizers: [pinnace.dev/topic],
 deletionTimestamp: '2026-01-01T00:00:00Z'}, spec: {deletionPolicy: Delete}, status: {topicId: x}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Topic, metadata: {name: first, namespace: other, uid: t3}, spec: {}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Topic, metadata: {name: wrong, namespace: shop, uid: t4}, spec: {retention: {time: soon}}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Channel, metadata: {name: prices, namespace: shop, uid: c1}, spec: {pattern: PubSub}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Subscription, metadata: {name: hook, namespace: shop, uid: s1},
 spec: {source: {topic: orders}, deliver: {url: 'https://example.com'}}}
";

async fn reconcile_all(context: &Arc<Context>) -> Vec<Result<Action, ReconcileError>> {
    let cluster = &context.cluster;
    let mut outcomes = Vec::new();
    for object in cluster.brokers.all() {
        outcomes.push(broker::reconcile(object, Arc::clone(context)).await);
    }
    for object in cluster.topics.all() {
        outcomes.push(topic::reconcile(object, Arc::clone(context)).await);
    }
    for object in cluster.channels.all() {
        outcomes.push(channel::reconcile(object, Arc::clone(context)).await);
    }
    for object in cluster.subscriptions.all() {
        outcomes.push(subscription::reconcile(object, Arc::clone(context)).await);
    }
    outcomes
}

/// Goal: without the Lease no controller changes anything, in Kubernetes or on a broker; with it each of them does.
#[tokio::test]
async fn without_the_lease_nothing_is_written() {
    let (api, brokers) = (FakeApi::with_yaml(OBJECTS), FakeBrokers::default());
    let mut waiting = context(&api, &brokers);
    waiting.writer = writer(&api, Leadership::new());
    waiting.brokers = FencedBrokers::new(Arc::new(brokers.clone()), Leadership::new());
    let outcomes = reconcile_all(&Arc::new(waiting)).await;
    assert_eq!(outcomes.len(), 7);
    for outcome in outcomes {
        assert_eq!(outcome.unwrap_err().label(), NOT_LEADER);
    }
    assert_eq!(api.take_writes(), Vec::<String>::new());
    assert_eq!(brokers.take_changes(), []);

    // A finalizer goes first, so that the way to the broker is only walked with half a Lease.
    let mut half = context(&api, &brokers);
    half.brokers = FencedBrokers::new(Arc::new(brokers.clone()), Leadership::new());
    drop(reconcile_all(&Arc::new(half)).await);
    assert_eq!(brokers.take_changes(), []);

    let (api, brokers) = (FakeApi::with_yaml(OBJECTS), FakeBrokers::default());
    drop(reconcile_all(&Arc::new(context(&api, &brokers))).await);
    let writes = api.take_writes();
    for word in [
        "statefulsets",
        "secrets",
        "/topics/orders",
        "/topics/orders/status",
        "/topics/wrong/status",
        "/brokers",
        "/channels/prices/status",
        "/subscriptions/hook/status",
    ] {
        assert!(
            writes.iter().any(|write| write.ends_with(word) || write.contains(&format!("{word}/"))),
            "{word}: {writes:?}"
        );
    }
    assert!(!brokers.take_changes().is_empty());
}
