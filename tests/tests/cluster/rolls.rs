//! Rolling restarts of a Kafka cluster under a publisher.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::durability::{acknowledged, all_printed, check, publisher};
use crate::install::{NAMESPACE, installed};
use crate::kafka::{START, cluster};
use crate::kube::{self, condition, kubectl, object, until};
use crate::namespace::Namespace;

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
