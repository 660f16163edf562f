//! Topics of a Kafka cluster that get other numbers of copies.

use anyhow::{Result, ensure};

use crate::durability::{acknowledged, all_printed, check, publisher_to};
use crate::install::installed;
use crate::kafka::{START, cluster};
use crate::kube::{condition, object, until};
use crate::namespace::Namespace;
use crate::pods::App;

/// Between batches of the publisher: it is at work all the while.
const PAUSE_S: f64 = 0.5;

fn topic(copies: usize) -> String {
    format!(
        "apiVersion: pinnace.dev/v1alpha1\nkind: Topic\nmetadata: {{name: ledger}}\n\
         spec: {{replicas: {copies}, config: {{min.insync.replicas: \"1\"}}}}\n"
    )
}

/// Changes the number of copies and waits until the Topic says that it has them, and Kafka says the same.
fn resize(namespace: &Namespace, app: &App<'_>, copies: usize) -> Result<()> {
    namespace.apply(&topic(copies))?;
    until(&format!("{copies} copies"), START, || {
        let found = object(&namespace.name, "topic/ledger")?.unwrap_or_default();
        let is_seen = found["status"]["observedGeneration"] == found["metadata"]["generation"];
        let is_placed = condition(&found, "CopiesPlaced").is_some_and(|placed| placed["status"] == "True");
        Ok((is_seen && is_placed && found["status"]["replicas"] == copies).then_some(()))
    })?;
    let listed = app.run("timeout 30 kcat -b $KAFKA_BOOTSTRAP_SERVERS -L -t ledger")?;
    let in_sync = listed.lines().find_map(|line| line.split_once("isrs: ")).map(|(_, nodes)| nodes.trim());
    let count = in_sync.map_or(0, |nodes| nodes.split(',').count());
    ensure!(count == copies, "{copies} copies are to be in sync: {listed}");
    Ok(())
}

/// Promise: a Topic with one copy gets three, and then two, while it is published to; nothing that was acknowledged is lost.
#[test]
fn a_topic_gets_other_numbers_of_copies_under_a_publisher() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("kafka-copies")?;
    cluster(&namespace)?;
    let app = publisher_to(&namespace, &topic(1), PAUSE_S)?;
    until("the first messages", START, || Ok((acknowledged(&app)? >= 1_000).then_some(())))?;
    resize(&namespace, &app, 3)?;
    resize(&namespace, &app, 2)?;
    check(&all_printed(&app)?, &app)
}
