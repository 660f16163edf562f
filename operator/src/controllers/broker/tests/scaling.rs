//! Kafka clusters that get another number of nodes.

use super::*;
use crate::kafka::{Address, Layout};
use control::placement::{Node, Partition};

/// A cluster of three nodes that runs, with a copy of each of six partitions on two of them.
struct Scaled {
    api: FakeApi,
    brokers: FakeBrokers,
    authority: Arc<control_plane::Authority>,
}

impl Scaled {
    async fn new() -> Self {
        let (api, brokers) = (one("{engine: Kafka}"), FakeBrokers::default());
        let scaled = Self { api, brokers, authority: authority() };
        scaled.reconcile().await;
        scaled.come_up();
        let partition = |index: i32| Partition {
            topic: "orders".into(),
            index,
            replicas: vec![index % 3, (index + 1) % 3],
            in_sync: vec![index % 3, (index + 1) % 3],
        };
        scaled.edit(|layout| {
            layout.nodes = (0..3).map(|id| Node { id, rack: None }).collect();
            layout.partitions = (0..6).map(partition).collect();
        });
        scaled.reconcile().await;
        assert_eq!(scaled.placed().0, "InPlace");
        scaled
    }

    async fn reconcile(&self) {
        run(&self.api, &self.brokers, &self.authority).await.unwrap();
    }

    fn want(&self, replicas: i32) {
        self.api.edit("Broker", "default", |broker| broker["spec"]["replicas"] = json!(replicas));
    }

    /// As many nodes as the StatefulSet has are ready.
    fn come_up(&self) {
        self.api.edit("StatefulSet", "default-broker", |set| {
            let nodes = set["spec"]["replicas"].clone();
            set["status"] = json!({
                "replicas": nodes, "readyReplicas": nodes, "updatedReplicas": nodes,
                "observedGeneration": set["metadata"]["generation"],
            });
        });
        for node in 0..self.nodes() {
            self.api.put(json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": format!("data-default-broker-{node}"), "namespace": "shop"},
                "spec": {"resources": {"requests": {"storage": "10Gi"}}},
                "status": {"capacity": {"storage": "10Gi"}},
            }));
        }
    }

    fn address() -> Address {
        address(&ObjectName::new("shop", "default"))
    }

    fn edit(&self, change: impl FnOnce(&mut Layout)) {
        self.brokers.edit(&Self::address(), |node| change(&mut node.layout));
    }

    fn copies_on(&self, node: i32) -> usize {
        let layout = self.brokers.node(&Self::address()).layout;
        layout.partitions.iter().filter(|partition| partition.replicas.contains(&node)).count()
    }

    fn nodes(&self) -> i64 {
        self.api.find("StatefulSet", "default-broker").unwrap()["spec"]["replicas"].as_i64().unwrap()
    }

    fn placed(&self) -> (String, String) {
        let (_, reason, message) = condition_of(&self.api, "CopiesPlaced");
        (reason, message)
    }
}

/// Goal: a new node is made at once, gets its share when the cluster knows it, though nobody remembers but the status, and the
/// Broker is Ready again.
#[tokio::test]
async fn a_new_node_gets_its_share() {
    let cluster = Scaled::new().await;
    cluster.want(4);
    cluster.reconcile().await;
    assert_eq!((cluster.nodes(), cluster.placed().0.as_str()), (4, "Spreading"));
    assert_eq!(condition_of(&cluster.api, "NodesReady").2.split(':').next(), Some("3 of 4 nodes are ready"));
    cluster.come_up();
    cluster.reconcile().await;
    assert!(cluster.placed().1.contains("waits for node 3"), "{}", cluster.placed().1);
    assert_eq!(cluster.copies_on(3), 0);
    cluster.edit(|layout| layout.nodes.push(Node { id: 3, rack: None }));
    cluster.reconcile().await;
    assert_eq!(cluster.copies_on(3), 3);
    assert_eq!(cluster.placed().1, "gives new nodes their share of the copies: partitions left: 3");
    cluster.reconcile().await;
    assert_eq!(cluster.placed().0, "InPlace");
    assert_eq!(condition_of(&cluster.api, "Ready").0, "True");
    let nodes = cluster.api.find("Broker", "default").unwrap()["status"]["brokers"].as_array().unwrap().len();
    assert_eq!(nodes, 4);
}

/// Goal: a status that was read before it said that new nodes come changes nothing: it knows fewer nodes than there are.
#[tokio::test]
async fn an_old_status_forgets_no_node() {
    let cluster = Scaled::new().await;
    let before = cluster.api.find("Broker", "default").unwrap()["status"].clone();
    cluster.want(4);
    cluster.reconcile().await;
    cluster.api.edit("Broker", "default", |broker| broker["status"] = before);
    cluster.come_up();
    cluster.reconcile().await;
    assert_eq!(cluster.placed().0, "Spreading");
}

/// Goal: a node leaves when it has no copy any more; while the Broker is paused nothing moves, and nothing is forgotten.
#[tokio::test]
async fn a_node_leaves_when_it_is_empty() {
    let cluster = Scaled::new().await;
    cluster.want(4);
    cluster.reconcile().await;
    cluster.come_up();
    cluster.edit(|layout| layout.nodes.push(Node { id: 3, rack: None }));
    let pause = |is_paused: bool| {
        cluster.api.edit("Broker", "default", |broker| {
            broker["spec"]["maintenance"] = json!({"paused": is_paused});
        });
    };
    pause(true);
    cluster.reconcile().await;
    assert_eq!((cluster.copies_on(3), cluster.placed().0.as_str()), (0, "Spreading"));
    pause(false);
    cluster.reconcile().await;
    cluster.reconcile().await;
    assert_eq!((cluster.copies_on(3), cluster.placed().0.as_str()), (3, "InPlace"));
    cluster.want(3);
    cluster.edit(|layout| layout.ongoing = 1);
    cluster.reconcile().await;
    assert_eq!((cluster.nodes(), cluster.copies_on(3)), (4, 3), "somebody else moves copies");
    cluster.edit(|layout| layout.ongoing = 0);
    cluster.reconcile().await;
    assert_eq!((cluster.nodes(), cluster.copies_on(3)), (4, 0));
    assert_eq!(cluster.placed(), ("Leaving".to_owned(), "empties nodes 3: partitions left: 3".to_owned()));
    cluster.reconcile().await;
    assert_eq!((cluster.nodes(), cluster.placed().0.as_str()), (3, "InPlace"));
}

/// Goal: a cluster that does not answer keeps its nodes, and a move that is refused is an error that is tried again.
#[tokio::test(start_paused = true)]
async fn nothing_leaves_unasked() {
    let cluster = Scaled::new().await;
    cluster.want(4);
    cluster.reconcile().await;
    cluster.come_up();
    cluster.edit(|layout| layout.nodes.push(Node { id: 3, rack: None }));
    cluster.reconcile().await;
    cluster.reconcile().await;
    cluster.want(3);
    let refused = |address: &Address| KafkaError::Refused {
        bootstrap: address.bootstrap.clone(),
        action: "list moving copies".into(),
        reason: "no".into(),
    };
    cluster.brokers.fail(Some(refused));
    drop(run(&cluster.api, &cluster.brokers, &cluster.authority).await);
    assert_eq!(cluster.nodes(), 4);
    assert!(cluster.placed().1.starts_with("waits for the cluster to tell"), "{}", cluster.placed().1);
}

/// Goal: while a Topic looks where copies are and has some move, its Broker does not, and goes on afterwards.
#[tokio::test(start_paused = true)]
async fn a_broker_and_its_topics_take_turns() {
    let cluster = Scaled::new().await;
    cluster.want(4);
    cluster.reconcile().await;
    cluster.come_up();
    cluster.edit(|layout| layout.nodes.push(Node { id: 3, rack: None }));
    let context = Arc::new(context(&cluster.api, &cluster.brokers));
    let alone = context.brokers.moves(&Scaled::address()).lock_owned().await;
    let broker = context.cluster.brokers.get(&ObjectName::new("shop", "default")).unwrap();
    let mut reconcile = reconcile(broker, context);
    let waited = tokio::time::timeout(std::time::Duration::from_secs(60), &mut reconcile).await;
    assert!(waited.is_err() && cluster.copies_on(3) == 0);
    drop(alone);
    drop(reconcile.await);
}
