//! The real watches and controllers over an API server in memory, for hours of a clock that the test holds.

use super::*;
use crate::{
    cluster::Cluster,
    controllers::broker::address,
    kafka::Address,
    scope::Scope,
    testing::{context_over, run_kubelet},
};
use serde_json::{Value, json};
use tokio::sync::watch;

/// Objects of all kinds: ready ones, wrong ones, ones that wait for somebody, ones that cannot be decoded.
const WORLD: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: a}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: infra}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: finance}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Broker, metadata: {name: shared, namespace: infra},
 spec: {allowedNamespaces: {from: Selector, selector: {matchLabels: {team: a}}}, config: {log.retention.ms: '86400000'}}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Broker, metadata: {name: refused, namespace: infra}, spec: {engine: Kafka, replicas: 3}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Topic, metadata: {name: orders, namespace: shop}, spec: {partitions: 3, retention: {time: 7d}}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Topic, metadata: {name: shared, namespace: shop}, spec: {broker: {name: shared, namespace: infra}}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Topic, metadata: {name: stranger, namespace: finance}, spec: {broker: {name: shared, namespace: infra}}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Topic, metadata: {name: lost, namespace: shop}, spec: {broker: {name: none}}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Topic, metadata: {name: twin, namespace: shop}, spec: {topicName: orders}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Topic, metadata: {name: looker, namespace: shop}, spec: {managementPolicy: Observe}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Topic, metadata: {name: wrong, namespace: shop}, spec: {partitions: 0}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Topic, metadata: {name: undecodable, namespace: shop}, spec: {retention: {time: soon}}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Channel, metadata: {name: prices, namespace: shop},
 spec: {pattern: PubSub, record: {topic: orders}}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Channel, metadata: {name: waits, namespace: shop},
 spec: {pattern: PubSub, record: {topic: missing}}}
---
{apiVersion: pinnace.dev/v1alpha1, kind: Subscription, metadata: {name: hook, namespace: shop},
 spec: {source: {topic: orders}, deliver: {url: 'https://example.com'}}}
";

/// Time in which everything has come to rest.
pub(super) const REST: Duration = Duration::from_secs(60);
const HOURS: u64 = 3;

pub(super) struct World {
    pub(super) api: FakeApi,
    pub(super) brokers: FakeBrokers,
    pub(super) tasks: Tasks,
    authority: watch::Sender<Arc<control_plane::Authority>>,
}

impl World {
    pub(super) async fn start() -> Self {
        let (api, brokers) = (FakeApi::with_yaml(WORLD), FakeBrokers::default());
        let now = runtime::clock::unix_seconds();
        let authority = control_plane::Authority::create("cluster.local", now).unwrap();
        let (authority, tasks) = (watch::Sender::new(Arc::new(authority)), Tasks::new(Shutdown::new()));
        let world = Self { api, brokers, tasks, authority }.led_anew().await;
        world.forget();
        world
    }

    /// The same world under a leader that has just begun.
    pub(super) async fn led_anew(&self) -> Self {
        let (api, brokers) = (self.api.clone(), self.brokers.clone());
        let tasks = Tasks::new(Shutdown::new());
        drop(tasks.spawn_until_shutdown("kubelet", run_kubelet(api.clone())));
        let cluster = Cluster::watch(&api.client(), &Scope::Cluster, &tasks);
        cluster.ready().await.unwrap();
        let mut context = context_over(cluster, api.client(), &brokers);
        context.authority = self.authority.subscribe();
        start(&Arc::new(context), &tasks);
        let world = Self { api, brokers, tasks, authority: self.authority.clone() };
        tokio::time::sleep(REST).await;
        world
    }

    pub(super) fn forget(&self) {
        self.api.take_writes();
        self.api.take_events();
        self.brokers.take_requests();
        self.brokers.take_changes();
    }

    pub(super) fn ready(&self, kind: &str, name: &str) -> Value {
        let object = self.api.find(kind, name).unwrap();
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready");
        ready.map(|ready| ready["status"].clone()).unwrap_or_default()
    }
}

pub(super) fn shop() -> Address {
    address(&ObjectName::new("shop", "default"))
}

/// Goal: when nothing changes, nothing is written and no broker is asked, however long it lasts, also when watches end,
/// expire and list again.
#[tokio::test(start_paused = true)]
async fn a_steady_cluster_is_left_alone() {
    let world = World::start().await;
    for (kind, name, ready) in [
        ("Broker", "default", "True"),
        ("Broker", "shared", "True"),
        ("Broker", "refused", "False"),
        ("Topic", "orders", "True"),
        ("Topic", "shared", "True"),
        ("Topic", "stranger", "False"),
        ("Topic", "lost", "False"),
        ("Topic", "twin", "False"),
        ("Topic", "looker", "False"),
        ("Topic", "wrong", "False"),
        ("Topic", "undecodable", "False"),
        ("Channel", "prices", "True"),
        ("Channel", "waits", "False"),
        ("Subscription", "hook", "False"),
    ] {
        assert_eq!(world.ready(kind, name), ready, "{kind} {name}: {:?}", world.api.find(kind, name));
    }
    for minute in 0..HOURS * 60 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        if minute % 25 == 0 {
            world.api.expire();
        }
        assert_eq!(world.api.take_writes(), Vec::<String>::new(), "in minute {minute}");
        assert_eq!(world.brokers.take_requests(), 0, "in minute {minute}");
    }
    world.tasks.shutdown().begin();
    assert_eq!(world.tasks.drain(REST).await, 0);
}

/// Goal: what somebody else changes of what we own is put right: a StatefulSet at once, what is not watched within ten
/// minutes.
#[tokio::test(start_paused = true)]
async fn foreign_edits_are_put_right() {
    let world = World::start().await;
    let replicas =
        |world: &World| world.api.find("StatefulSet", "shared-broker").unwrap()["spec"]["replicas"].clone();
    world.api.edit("StatefulSet", "shared-broker", |set| set["spec"]["replicas"] = json!(0));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(replicas(&world), 1);
    let children = [
        ("ConfigMap", "shared-broker-config", "/data"),
        ("Service", "shared-broker", "/spec/ports"),
        ("Service", "shared-broker-nodes", "/spec/selector"),
        ("Secret", "shared-broker-tls", "/data"),
    ];
    let before = children.map(|(kind, name, _)| world.api.find(kind, name).unwrap());
    for (kind, name, path) in children {
        world.api.edit(kind, name, |object| *object.pointer_mut(path).unwrap() = json!({"somebody": "else"}));
    }
    tokio::time::sleep(Duration::from_secs(601)).await;
    for ((kind, name, path), before) in children.into_iter().zip(before) {
        let after = world.api.find(kind, name).unwrap();
        let ours = |object: &Value| object.pointer(path).cloned().unwrap();
        assert!(
            crate::apply::is_applied(&ours(&before), &ours(&after)) || kind == "Secret",
            "{kind} {name}: {after}"
        );
        assert!(after.pointer(path).unwrap().get("tls.crt").is_some() || kind != "Secret", "{after}");
        world.api.delete(kind, name);
    }
    tokio::time::sleep(Duration::from_secs(601)).await;
    for (kind, name, _) in children {
        assert!(world.api.find(kind, name).is_some(), "{kind} {name} was deleted and not made again");
    }
    assert_eq!(world.ready("Broker", "shared"), "True");
}

/// Goal: what somebody else changes on a broker is put right when the Topic is reconciled; an annotation asks for it.
#[tokio::test(start_paused = true)]
async fn foreign_settings_of_a_topic_are_put_right() {
    let world = World::start().await;
    let wanted = world.brokers.node(&shop());
    world.brokers.edit(&shop(), |node| {
        let topic = node.topics.get_mut("orders").unwrap();
        topic.config.insert("retention.ms".into(), "1".into());
        topic.config.insert("segment.ms".into(), "1".into());
        node.acls.clear();
    });
    world.api.edit("Topic", "orders", |topic| {
        topic["metadata"]["annotations"] = json!({api::labels::RECONCILE: "now"});
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = world.brokers.node(&shop());
    assert_eq!(after.topics["orders"], wanted.topics["orders"]);
    assert_eq!(after.acls, wanted.acls);
    // Once asked, once done.
    world.forget();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((world.api.take_writes(), world.brokers.take_requests()), (Vec::new(), 0));
    world.brokers.edit(&shop(), |node| drop(node.topics.remove("orders")));
    world.api.edit("Topic", "orders", |topic| {
        topic["metadata"]["annotations"] = json!({api::labels::RECONCILE: "again"});
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(world.brokers.topic("orders").is_some(), "a topic that somebody deleted is made again");
}

fn reader(name: &str, account: &str) -> Value {
    json!({
        "apiVersion": "pinnace.dev/v1alpha1", "kind": "Topic", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"access": {"publish": [], "subscribe": [{"serviceAccount": account}]}},
    })
}

/// Goal: a rule for groups that goes with one Topic is there for another one that comes at any moment meanwhile.
#[tokio::test(start_paused = true)]
async fn rules_for_groups_outlast_a_race() {
    let world = World::start().await;
    world.brokers.slow(Arc::new(|| Duration::from_millis(100)));
    let group = |account: &str| control::topics::Acl {
        resource: control::topics::Resource::Group("*".into()),
        principal: format!("User:shop/{account}"),
        operation: control::topics::Operation::Read,
    };
    for moment in 0..20 {
        let account = format!("reader-{moment}");
        world.api.put(reader("goes", &account));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(world.brokers.node(&shop()).acls.contains(&group(&account)));
        world.api.delete("Topic", "goes");
        tokio::time::sleep(Duration::from_millis(moment * 40)).await;
        world.api.put(reader("comes", &account));
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(world.api.find("Topic", "goes").is_none());
        assert!(world.brokers.node(&shop()).acls.contains(&group(&account)), "{} ms after", moment * 40);
        world.api.delete("Topic", "comes");
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!world.brokers.node(&shop()).acls.contains(&group(&account)), "nobody needs it any more");
    }
}
