//! A Kafka cluster whose nodes start again, and one that gets other numbers of nodes, under a publisher.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::durability::{acknowledged, all_printed, check, publisher};
use crate::install::{NAMESPACE, installed};
use crate::kafka::{START, cluster};
use crate::kube::{self, condition, kubectl, object, until};
use crate::namespace::Namespace;
use crate::pods::App;

const NODES: usize = 3;
/// The publisher goes on for longer than three nodes take to start again.
const PAUSE_S: f64 = 1.5;
const BEFORE: u64 = 300;
/// Prints, again and again, the smallest number of in-sync copies that a partition has.
const WATCH: &str = "
import json, os, subprocess, time
LOOK = ['kcat', '-b', os.environ['KAFKA_BOOTSTRAP_SERVERS'], '-L', '-t', 'ledger', '-J', '-m', '5']
while True:
    said = subprocess.run(LOOK, capture_output=True)
    try:
        partitions = json.loads(said.stdout)['topics'][0]['partitions']
        print('in-sync', min(len(partition['isrs']) for partition in partitions), flush=True)
    except (ValueError, IndexError, KeyError):
        print('nobody answered', flush=True)
    time.sleep(0.5)
";

/// The uid of each node's Pod, and whether the Pod is Ready.
fn pods(namespace: &Namespace) -> Result<BTreeMap<String, (String, bool)>> {
    let selector = "pinnace.dev/engine=Kafka";
    let found = namespace.kubectl(&["get", "pods", "--selector", selector, "--output=json"])?;
    let found: Value = serde_json::from_str(&found).context("kubectl printed no JSON")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pods = found["items"].as_array().context("the nodes have no pods")?.iter();
    Ok(pods
        .map(|pod| {
            let is_ready = condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True")
                && pod["metadata"]["deletionTimestamp"].is_null();
            (text(&pod["metadata"]["name"]), (text(&pod["metadata"]["uid"]), is_ready))
        })
        .collect())
}

/// Promise: a change of its settings starts the nodes of a Kafka cluster again, one at a time, though the operator is killed in
/// the middle; meanwhile all that is published is acknowledged and comes back in order, and no partition has ever fewer than
/// the two in-sync copies that it needs.
#[test]
fn a_kafka_cluster_starts_again_under_a_publisher() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("kafka-rolls")?;
    cluster(&namespace)?;
    let app = publisher(&namespace, PAUSE_S)?;
    app.start_python("watcher", WATCH)?;
    until("some acknowledgements", START, || Ok((acknowledged(&app)? >= BEFORE).then_some(())))?;
    let before = pods(&namespace)?;
    ensure!(before.len() == NODES && before.values().all(|(_, is_ready)| *is_ready), "{before:?}");

    let change = r#"{"spec": {"config": {"num.network.threads": "4"}}}"#;
    namespace.kubectl(&["patch", "broker", "default", "--type=merge", "-p", change])?;
    rolled(&namespace, &before)?;
    until("the Broker to say that it is done", kube::LIMIT, || {
        let broker = object(&namespace.name, "broker/default")?.unwrap_or_default();
        let nodes = condition(&broker, "NodesReady").cloned().unwrap_or_default();
        Ok((nodes["reason"] == "Running" && nodes["status"] == "True").then_some(()))
    })?;
    let printed = all_printed(&app)?;
    let again: Vec<&str> = printed.lines().filter(|line| line.starts_with("again")).collect();
    ensure!(again.is_empty(), "the publisher was refused: {again:?}");
    let watched = app.printed("watcher")?;
    let seen: Vec<u64> =
        watched.lines().filter_map(|line| line.strip_prefix("in-sync ")?.parse().ok()).collect();
    ensure!(seen.contains(&2), "nobody saw that a node was away: {watched}");
    ensure!(seen.iter().all(|count| *count >= 2), "a partition had fewer than two copies: {watched}");
    check(&printed, &app)
}

/// Waits until every node has another Pod that is Ready; kills the operator when the first one has.
fn rolled(namespace: &Namespace, before: &BTreeMap<String, (String, bool)>) -> Result<()> {
    let mut is_killed = false;
    until("all nodes to start again", START, || {
        let now = pods(namespace)?;
        let away = before.keys().filter(|name| now.get(*name).is_none_or(|(_, is_ready)| !is_ready));
        let away: Vec<&String> = away.collect();
        ensure!(away.len() <= 1, "more than one node is away: {away:?}");
        let is_again = |(name, (uid, _)): (&String, &(String, bool))| {
            now.get(name).is_some_and(|(found, is_ready)| found != uid && *is_ready)
        };
        let again = before.iter().filter(|node| is_again(*node)).count();
        if again > 0 && !is_killed {
            let selector = "app.kubernetes.io/component=operator";
            kubectl(&["-n", NAMESPACE, "delete", "pod", "-l", selector, "--grace-period=0", "--force"])?;
            is_killed = true;
        }
        Ok((again == before.len()).then_some(()))
    })
}

/// How many copies each node has, and the fewest in-sync ones of a partition, as a client sees them.
fn copies(app: &App<'_>) -> Result<(BTreeMap<u64, usize>, usize)> {
    let said = app.run("kcat -b $KAFKA_BOOTSTRAP_SERVERS -L -J -m 10")?;
    let said: Value = serde_json::from_str(&said).context("kcat printed no JSON")?;
    let (mut on, mut fewest) = (BTreeMap::new(), usize::MAX);
    let topics = said["topics"].as_array().into_iter().flatten();
    for partition in topics.flat_map(|topic| topic["partitions"].as_array().into_iter().flatten()) {
        for replica in partition["replicas"].as_array().into_iter().flatten() {
            *on.entry(replica["id"].as_u64().unwrap_or_default()).or_default() += 1;
        }
        fewest = fewest.min(partition["isrs"].as_array().map_or(0, Vec::len));
    }
    Ok((on, fewest))
}

/// Brings the cluster to a number of nodes, and waits until its copies are where they should be.
fn scale(namespace: &Namespace, nodes: usize) -> Result<()> {
    let change = format!(r#"{{"spec": {{"replicas": {nodes}}}}}"#);
    namespace.kubectl(&["patch", "broker", "default", "--type=merge", "-p", &change])?;
    let mut told = Vec::new();
    let scaled = until(&format!("{nodes} nodes with their copies"), START, || {
        let broker = object(&namespace.name, "broker/default")?.unwrap_or_default();
        let placed = condition(&broker, "CopiesPlaced").cloned().unwrap_or_default();
        let message = placed["message"].as_str().unwrap_or_default().to_owned();
        if told.last() != Some(&message) {
            told.push(message);
        }
        let count = broker["status"]["brokers"].as_array().map_or(0, Vec::len);
        let is_there = count == nodes && placed["reason"] == "InPlace" && kube::is_ready(&broker);
        Ok((is_there && pods(namespace)?.len() == nodes).then_some(()))
    });
    scaled.with_context(|| format!("it said {told:#?}"))
}

/// Promise: a fourth node of a Kafka cluster gets its share of the copies, and the cluster is Ready with three again when it is
/// emptied; no other node starts again, all that is published meanwhile is acknowledged and comes back in order.
#[test]
fn a_kafka_cluster_grows_and_shrinks_under_a_publisher() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("kafka-scale")?;
    cluster(&namespace)?;
    namespace.apply(
        "apiVersion: pinnace.dev/v1alpha1\nkind: Topic\nmetadata: {name: wide}\nspec: {partitions: 8}\n",
    )?;
    kube::wait_ready(&namespace.name, "topic/wide", START)?;
    let app = publisher(&namespace, PAUSE_S)?;
    until("some acknowledgements", START, || Ok((acknowledged(&app)? >= BEFORE).then_some(())))?;
    let before = pods(&namespace)?;

    scale(&namespace, NODES + 1)?;
    let (on, fewest) = copies(&app)?;
    let (most, least) = (on.values().max().copied(), on.values().min().copied());
    ensure!(on.len() == NODES + 1 && most <= least.map(|least| least + 1), "copies are on {on:?}");
    ensure!(fewest >= 2, "a partition has {fewest} in-sync copies");

    scale(&namespace, NODES)?;
    let (on, fewest) = copies(&app)?;
    ensure!(on.len() == NODES && fewest >= 2, "copies are on {on:?}, in sync {fewest}");
    ensure!(pods(&namespace)? == before, "a node started again");
    let printed = all_printed(&app)?;
    ensure!(!printed.contains("again"), "the publisher was refused");
    check(&printed, &app)
}
