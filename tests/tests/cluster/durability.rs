//! What acknowledged means.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use crate::apps::GRPC_PUBLISH;
use crate::install::installed;
use crate::kube::{self, object, run, until, wait_ready};
use crate::namespace::Namespace;
use crate::pods::{self, App};

const TOPIC: &str = "
apiVersion: pinnace.dev/v1alpha1
kind: Topic
metadata: {name: ledger}
spec: {}
";
const MESSAGES: u64 = 10_000;
const BATCH: u64 = 100;
const KILLS: u64 = 3;
/// Between batches: all are published in half a minute at most.
pub(crate) const PAUSE_S: f64 = 0.05;
/// The broker's pod and its only container.
pub(crate) const BROKER: &str = "pod/default-broker-0";

/// Ends a broker's process with SIGKILL, from outside of its namespaces, where that works on a
/// first process too, and waits until it runs again.
pub(crate) fn kill_node(namespace: &Namespace, node: &str) -> Result<()> {
    let pod = object(&namespace.name, node)?.context("the broker has no pod")?;
    let status = &pod["status"]["containerStatuses"][0];
    let id = status["containerID"].as_str().and_then(|id| id.strip_prefix("containerd://"));
    run("ctr", &["tasks", "kill", "--signal", "SIGKILL", id.context("the broker does not run")?])?;
    let restarts = status["restartCount"].as_u64().unwrap_or_default();
    until("the broker to come back", kube::LIMIT * 2, || {
        let pod = object(&namespace.name, node)?.unwrap_or_default();
        let status = &pod["status"]["containerStatuses"][0];
        let again = status["restartCount"].as_u64().unwrap_or_default() > restarts;
        Ok((again && status["ready"] == true).then_some(()))
    })
}

/// How many messages the publisher had acknowledged so far.
pub(crate) fn acknowledged(app: &App<'_>) -> Result<u64> {
    Ok(app.printed("publisher")?.lines().filter(|line| line.starts_with("acknowledged ")).count() as u64
        * BATCH)
}

/// Promise: 10 000 acknowledged messages all come back, in order, although the broker was ended
/// with `kill -9` three times while they were published.
#[test]
fn acknowledged_messages_survive_kill_9_three_times() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("kill-nine")?;
    let app = publisher(&namespace, PAUSE_S)?;
    for kill in 1..=KILLS {
        let from = MESSAGES / (KILLS + 1) * kill;
        until(&format!("{from} acknowledgements"), kube::LIMIT * 2, || {
            Ok((acknowledged(&app)? >= from).then_some(()))
        })?;
        kill_node(&namespace, BROKER)?;
    }
    let printed = all_printed(&app)?;
    let restarts = &pods::container(&object(&namespace.name, BROKER)?.unwrap_or_default(), "broker")
        .map(|status| status["restartCount"].clone());
    ensure!(restarts.as_ref().is_some_and(|count| *count == KILLS), "restarts: {restarts:?}");

    check(&printed, &app)
}

/// An app that publishes all messages to the Topic, one batch after the other, each until it is acknowledged, with a pause after
/// each.
pub(crate) fn publisher(namespace: &Namespace, pause_s: f64) -> Result<App<'_>> {
    publisher_to(namespace, TOPIC, pause_s)
}

/// The same to this Topic, whose name is `ledger`.
pub(crate) fn publisher_to<'a>(namespace: &'a Namespace, topic: &str, pause_s: f64) -> Result<App<'a>> {
    namespace.apply(topic)?;
    wait_ready(&namespace.name, "topic/ledger", kube::LIMIT)?;
    let app = App::new(namespace, "checkout").start()?;
    let publish = format!(
        "{GRPC_PUBLISH}\n\
         import time\n\
         for first in range(0, {MESSAGES}, {BATCH}):\n\
         \x20   batch = [('', str(number)) for number in range(first, first + {BATCH})]\n\
         \x20   while True:\n\
         \x20       try:\n\
         \x20           offsets = publish('topics/ledger', batch)\n\
         \x20           break\n\
         \x20       except grpc.RpcError as error:\n\
         \x20           print('again', error.code())\n\
         \x20           time.sleep(0.5)\n\
         \x20   print('acknowledged', first, *offsets)\n\
         \x20   time.sleep({pause_s})\n\
         print('done')\n"
    );
    app.start_python("publisher", &publish)?;
    Ok(app)
}

/// What the publisher printed until its end.
pub(crate) fn all_printed(app: &App<'_>) -> Result<String> {
    until("the publisher to end", kube::LIMIT * 2, || {
        let printed = app.printed("publisher")?;
        Ok(printed.lines().any(|line| line == "done").then_some(printed))
    })
}

/// Every acknowledged offset holds the message that was published there; with repeats of batches
/// that were not acknowledged taken out, the numbers are complete and ascend.
pub(crate) fn check(printed: &str, app: &App<'_>) -> Result<()> {
    let read = app
        .run("timeout 100 kcat -b $KAFKA_BOOTSTRAP_SERVERS -C -t ledger -o beginning -e -q -f '%o %s\\n'")?;
    let stored: BTreeMap<u64, u64> = read
        .lines()
        .filter_map(|line| {
            let (offset, number) = line.split_once(' ')?;
            Some((offset.parse().ok()?, number.parse().ok()?))
        })
        .collect();
    let mut next = 0;
    let mut last_offset = None;
    for line in printed.lines().filter_map(|line| line.strip_prefix("acknowledged ")) {
        let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let (first, offsets) = numbers.split_first().context("an empty acknowledgement")?;
        ensure!(*first == next, "batch {first} was acknowledged, {next} was next");
        ensure!(offsets.len() as u64 == BATCH, "{} offsets for a batch", offsets.len());
        for offset in offsets {
            let found = stored.get(offset);
            ensure!(found == Some(&next), "offset {offset} holds {found:?}, published was {next}");
            ensure!(last_offset < Some(*offset), "offset {offset} came after {last_offset:?}");
            last_offset = Some(*offset);
            next += 1;
        }
    }
    ensure!(next == MESSAGES, "{next} of {MESSAGES} were acknowledged");
    Ok(())
}
