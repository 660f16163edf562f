//! Nodes of a Kafka cluster that start again after a change.

use super::*;
use crate::kafka::{Address, Copies, Quorum, Standing};
use control::placement::Partition;

const EVICT: &str = "POST /api/v1/namespaces/shop/pods/default-broker-";

/// A cluster in its stores, whose Pods are those of a template that is not the newest.
struct Rolled {
    api: FakeApi,
    brokers: FakeBrokers,
    authority: Arc<control_plane::Authority>,
}

impl Rolled {
    /// Three nodes that run, of which node 0 leads the controllers, and a change of the spec.
    async fn new() -> Self {
        let (api, brokers) = (one("{engine: Kafka}"), FakeBrokers::default());
        let rolled = Self { api, brokers, authority: authority() };
        rolled.run().await;
        for node in 0..3 {
            rolled.pod(node, "r1", true);
        }
        rolled.seen("r1", 3);
        let all = [0, 1, 2];
        let quorum = Quorum { leader: Some(0), voters: all.into(), caught_up: all.into() };
        rolled.stand(Standing { partitions: Vec::new(), quorum });
        rolled.api.edit("Broker", "default", |broker| {
            broker["spec"]["config"] = json!({"num.network.threads": "4"});
        });
        rolled
    }

    async fn run(&self) {
        self.api.take_writes();
        run(&self.api, &self.brokers, &self.authority).await.unwrap();
    }

    /// Reconciles; the nodes whose Pods were evicted.
    async fn evicted(&self) -> Vec<String> {
        self.run().await;
        let writes = self.api.take_writes();
        let nodes = writes.iter().filter_map(|write| write.strip_prefix(EVICT)?.strip_suffix("/eviction"));
        nodes.map(str::to_owned).collect()
    }

    fn pod(&self, node: i32, revision: &str, is_ready: bool) {
        self.api.put(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": format!("default-broker-{node}"), "namespace": "shop",
                "labels": {
                    "pinnace.dev/broker": "default", "app.kubernetes.io/component": "broker",
                    "controller-revision-hash": revision,
                },
            },
            "status": {"conditions": [{"type": "Ready", "status": if is_ready { "True" } else { "False" }}]},
        }));
    }

    /// As the StatefulSet's controller tells.
    fn seen(&self, newest: &str, updated: i32) {
        self.api.edit("StatefulSet", "default-broker", |set| {
            set["status"] = json!({
                "replicas": 3, "readyReplicas": 3, "updatedReplicas": updated, "updateRevision": newest,
                "observedGeneration": set["metadata"]["generation"],
            });
        });
    }

    fn stand(&self, standing: Standing) {
        let address: Address = address(&ObjectName::new("shop", "default"));
        self.brokers.edit(&address, |node| node.standing = standing);
    }
}

/// Goal: a change is written first and seen by its controller; then one node after the other starts again, each when the last
/// one is back, the controller that leads at the end, and it is told.
#[tokio::test]
async fn nodes_start_again_one_after_the_other() {
    let cluster = Rolled::new().await;
    let set = cluster.api.find("StatefulSet", "default-broker").unwrap();
    assert_eq!(set["spec"]["updateStrategy"]["type"], "OnDelete");
    assert_eq!(cluster.evicted().await, Vec::<String>::new(), "the change is not there yet");
    assert_eq!(cluster.evicted().await, Vec::<String>::new(), "nobody has seen the change yet");
    for (updated, node) in [(0, 1), (1, 2), (2, 0)] {
        cluster.seen("r2", updated);
        assert_eq!(cluster.evicted().await, [node.to_string()]);
        let (status, reason, message) = condition_of(&cluster.api, "NodesReady");
        assert_eq!((status.as_str(), reason.as_str()), ("True", "Restarting"));
        let expected = format!("{updated} of 3 nodes run with the newest settings: node {node} starts again");
        assert_eq!(message, expected);
        assert!(cluster.api.take_events().contains(&("NodeRestarts".to_owned(), expected)));
        cluster.pod(node, "r2", false);
        assert_eq!(cluster.evicted().await, Vec::<String>::new(), "node {node} is not back");
        cluster.pod(node, "r2", true);
    }
    cluster.seen("r2", 3);
    assert_eq!(cluster.evicted().await, Vec::<String>::new());
    assert_eq!(condition_of(&cluster.api, "NodesReady").2, "all 3 nodes are ready");
}

/// Goal: nobody goes while a partition needs its copy, while a budget is spent, or while the cluster does not answer; the Broker
/// says which.
#[tokio::test]
async fn nodes_wait_for_what_needs_them() {
    let cluster = Rolled::new().await;
    cluster.run().await;
    cluster.seen("r2", 0);
    let all = [0, 1, 2];
    let quorum = Quorum { leader: Some(0), voters: all.into(), caught_up: all.into() };
    let (replicas, in_sync) = (vec![1, 2, 0], vec![1, 2]);
    let partition = Partition { topic: "shop.orders".into(), index: 4, replicas, in_sync };
    let behind = Copies { partition, in_sync_min: 2 };
    cluster.stand(Standing { partitions: vec![behind], quorum: quorum.clone() });
    assert_eq!(cluster.evicted().await, Vec::<String>::new());
    let message = condition_of(&cluster.api, "NodesReady").2;
    assert!(message.contains("without node 1 partition shop.orders-4"), "{message}");
    cluster.stand(Standing { partitions: Vec::new(), quorum });
    cluster.api.edit("PodDisruptionBudget", "default-broker", |budget| {
        budget["status"] = json!({"disruptionsAllowed": 0});
    });
    assert_eq!(cluster.evicted().await, ["1"], "tried");
    assert!(cluster.api.find("Pod", "default-broker-1").is_some());
    let message = condition_of(&cluster.api, "NodesReady").2;
    assert!(message.contains("node 1 cannot go now: TooManyRequests"), "{message}");
    cluster.api.edit("Broker", "default", |broker| {
        broker["spec"]["maintenance"] = json!({"paused": true});
    });
    assert_eq!(cluster.evicted().await, Vec::<String>::new(), "paused");
    assert_eq!(condition_of(&cluster.api, "NodesReady").2, "all 3 nodes are ready", "nothing is promised");
}

/// Goal: a node that is down is started again at once, whatever the others do: the change may be what it needs.
#[tokio::test]
async fn a_node_that_is_down_does_not_wait() {
    let cluster = Rolled::new().await;
    cluster.run().await;
    cluster.seen("r2", 0);
    cluster.pod(2, "r1", false);
    assert_eq!(cluster.evicted().await, ["2"]);
    cluster.pod(2, "r2", false);
    cluster.seen("r2", 1);
    assert_eq!(cluster.evicted().await, Vec::<String>::new(), "it does not come up: nobody follows");
    let message = condition_of(&cluster.api, "NodesReady").2;
    assert!(
        message.contains("1 of 3 nodes run with the newest settings: node 2 is not ready yet"),
        "{message}"
    );
}

/// Goal: a change in the middle of a restart is waited for: nobody starts again for what is no longer the newest.
#[tokio::test]
async fn a_second_change_is_not_started_twice() {
    let cluster = Rolled::new().await;
    cluster.run().await;
    cluster.seen("r2", 0);
    assert_eq!(cluster.evicted().await, ["1"]);
    cluster.pod(1, "r2", true);
    cluster.seen("r2", 1);
    cluster.api.edit("Broker", "default", |broker| {
        broker["spec"]["config"] = json!({"num.network.threads": "5"});
    });
    assert_eq!(cluster.evicted().await, Vec::<String>::new(), "it has just been written");
    assert_eq!(cluster.evicted().await, Vec::<String>::new(), "nobody has seen it yet");
    cluster.seen("r3", 0);
    assert_eq!(cluster.evicted().await, ["1"], "what is not the newest starts again");
}
