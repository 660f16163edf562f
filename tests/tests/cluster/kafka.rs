//! Brokers with engine Kafka: three nodes of Apache Kafka.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::durability::{PAUSE_S, acknowledged, all_printed, check, kill_node, publisher};
use crate::install::installed;
use crate::kube::{self, condition, object, until, wait_ready};
use crate::namespace::Namespace;
use crate::pods::App;

const NODES: u64 = 3;
/// Three Java programs take their time to start on a small machine.
pub(crate) const START: std::time::Duration = kube::LIMIT.saturating_mul(2);
const PRODUCE: &str = "kcat -b $KAFKA_BOOTSTRAP_SERVERS -P -X acks=all -X message.timeout.ms=15000";
const CONSUME: &str = "timeout 60 kcat -b $KAFKA_BOOTSTRAP_SERVERS -C -o beginning -e -q";

/// A cluster that serves in the namespace, small enough for a test.
pub(crate) fn cluster(namespace: &Namespace) -> Result<()> {
    let broker = json!({
        "apiVersion": "pinnace.dev/v1alpha1", "kind": "Broker", "metadata": {"name": "default"},
        "spec": {
            "engine": "Kafka",
            "storage": {"size": "1Gi"},
            "resources": {"requests": {"cpu": "50m", "memory": "768Mi"}, "limits": {"memory": "768Mi"}},
            "config": {"offsets.topic.num.partitions": "3", "transaction.state.log.num.partitions": "3"},
        },
    });
    namespace.apply(&broker.to_string())?;
    wait_ready(&namespace.name, "broker/default", START).map(drop)
}

/// Since when a condition is as it is.
fn since(namespace: &Namespace, name: &str, kind: &str) -> Result<String> {
    let found = object(&namespace.name, name)?.unwrap_or_default();
    let condition =
        condition(&found, kind).with_context(|| format!("{name} has no condition {kind}: {found}"))?;
    ensure!(condition["status"] == "True", "{name}: {condition}");
    Ok(condition["lastTransitionTime"].to_string())
}

/// Promise: 10 000 messages that a cluster of three nodes acknowledged all come back, in order, although each node was ended
/// with `kill -9` while they were published; the Broker says that a node is missing, and its Topics stay Ready.
#[test]
fn killed_nodes_of_a_kafka_cluster_lose_nothing() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("kafka-kills")?;
    cluster(&namespace)?;
    let broker = object(&namespace.name, "broker/default")?.unwrap_or_default();
    let nodes = broker["status"]["brokers"].as_array().context("the Broker names no nodes")?;
    ensure!(nodes.len() as u64 == NODES && nodes.iter().all(|node| node["ready"] == true), "{broker}");
    let app = publisher(&namespace, PAUSE_S)?;
    let topic = object(&namespace.name, "topic/ledger")?.unwrap_or_default();
    ensure!(topic["status"]["replicas"] == NODES, "{topic}");
    let topic_since = since(&namespace, "topic/ledger", "Ready")?;
    for node in 0..NODES {
        let from = 2_000 * (node + 1);
        until(
            &format!("{from} acknowledgements"),
            START,
            || Ok((acknowledged(&app)? >= from).then_some(())),
        )?;
        let nodes_before = since(&namespace, "broker/default", "NodesReady")?;
        kill_node(&namespace, &format!("pod/default-broker-{node}"))?;
        wait_ready(&namespace.name, "broker/default", START)?;
        ensure!(
            since(&namespace, "broker/default", "NodesReady")? != nodes_before,
            "nobody said that a node is missing"
        );
    }
    ensure!(
        since(&namespace, "topic/ledger", "Ready")? == topic_since,
        "the Topic was not Ready for a while"
    );
    check(&all_printed(&app)?, &app)
}

/// Promise: on a Kafka cluster too a Topic is open to every service account of its namespace, also one that comes later, and
/// to nobody else; with access lists to those that they name; who may publish may do so in transactions.
#[test]
fn a_kafka_cluster_lets_in_whom_a_topic_lets_in() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("kafka-access")?;
    cluster(&namespace)?;
    namespace.apply(
        "apiVersion: pinnace.dev/v1alpha1\nkind: Topic\nmetadata: {name: open}\nspec: {}\n---\n\
         apiVersion: pinnace.dev/v1alpha1\nkind: Topic\nmetadata: {name: listed}\n\
         spec: {access: {publish: [{serviceAccount: checkout}], subscribe: [{serviceAccount: late}]}}\n",
    )?;
    for topic in ["topic/open", "topic/listed"] {
        wait_ready(&namespace.name, topic, START)?;
    }
    let checkout = App::new(&namespace, "checkout").start()?;
    let late = App::new(&namespace, "late").start()?;
    for app in [&checkout, &late] {
        until(&format!("{} to be let in", app.name), kube::LIMIT, || {
            Ok(app.run(&format!("echo {} | {PRODUCE} -t open", app.name)).is_ok().then_some(()))
        })?;
    }
    let mut open: Vec<String> = late.run(&format!("{CONSUME} -t open"))?.lines().map(str::to_owned).collect();
    open.sort();
    open.dedup();
    ensure!(open == ["checkout", "late"], "{open:?}");
    checkout.run(&format!("echo paid | {PRODUCE} -t listed"))?;
    checkout
        .run(&format!("echo paid in a transaction | {PRODUCE} -t listed -X transactional.id=payments"))?;
    ensure!(late.run(&format!("{CONSUME} -t listed"))? == "paid\npaid in a transaction\n");
    for (app, words) in [
        (&late, format!("echo no | {PRODUCE} -t listed -X transactional.id=late 2>&1")),
        (&late, format!("echo no | {PRODUCE} -t listed 2>&1")),
        (&checkout, format!("{CONSUME} -t listed 2>&1")),
    ] {
        let said = app.run(&format!("({words}); true"))?;
        ensure!(said.contains("uthorization"), "{} was not refused: {said}", app.name);
    }
    Ok(())
}
