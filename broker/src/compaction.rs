//! Compacts the partitions that want it: the dirtiest first, one at a time, no faster than it was told to, and never on
//! a thread that answers requests.

use std::{collections::HashSet, sync::Arc, time::Duration};

use record_log::compact::Done;
use runtime::clock;
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    broker::Broker,
    partition::{Partition, compaction::Turn},
    topics::Topics,
};

/// Compacts now and then, for as long as the broker runs.
pub(crate) async fn run(broker: Arc<Broker>) {
    loop {
        sleep(broker.settings.compaction.backoff).await;
        let mut tried = HashSet::new();
        while let Some(partition) = next(&broker, &tried).await {
            tried.insert(Arc::as_ptr(&partition).addr());
            compact(&broker, &partition).await;
        }
    }
}

/// The dirtiest of those whose time it is.
async fn next(broker: &Arc<Broker>, tried: &HashSet<usize>) -> Option<Arc<Partition>> {
    let (this, tried) = (Arc::clone(broker), tried.clone());
    // Looking may start a segment, which blocks.
    let found = spawn_blocking(move || {
        let (dirtiest, ratio) = dirtiest(&this.topics, &tried);
        this.metrics.compaction.dirty_ratio.set(ratio);
        dirtiest
    });
    found.await.unwrap_or_else(|error| {
        tracing::error!(%error, "looking for what to compact panicked");
        None
    })
}

/// The dirtiest partition of those that are due and were not tried, and the largest dirty ratio of all.
pub(crate) fn dirtiest(topics: &Topics, tried: &HashSet<usize>) -> (Option<Arc<Partition>>, f64) {
    let (mut dirtiest, mut dirtiest_ratio, mut ratio_max) = (None, -1.0, 0.0_f64);
    for topic in topics.all() {
        if topic.config().compaction.is_none() {
            continue;
        }
        for partition in &*topic.partitions() {
            let Some((worth, is_due)) = partition.compaction_worth() else { continue };
            ratio_max = ratio_max.max(worth.dirty_ratio);
            let is_new = !tried.contains(&Arc::as_ptr(partition).addr());
            if is_due && is_new && worth.dirty_ratio > dirtiest_ratio {
                (dirtiest, dirtiest_ratio) = (Some(Arc::clone(partition)), worth.dirty_ratio);
            }
        }
    }
    (dirtiest, ratio_max)
}

/// Compacts one partition, with rests.
async fn compact(broker: &Broker, partition: &Arc<Partition>) {
    let (settings, metrics) = (&broker.settings.compaction, &broker.metrics.compaction);
    let started = clock::now();
    let (this, memory) = (Arc::clone(partition), settings.key_memory_bytes);
    let begun = spawn_blocking(move || this.begin_compaction(memory)).await;
    let Ok(Some(mut pass)) = begun else { return };
    let mut seen = Done::default();
    let turn = loop {
        let this = Arc::clone(partition);
        let stepped = spawn_blocking(move || {
            let turn = this.compact(&mut pass);
            (pass, turn)
        });
        let Ok((again, turn)) = stepped.await else { break Turn::Failed };
        pass = again;
        let now = pass.so_far();
        let (read, written) = (now.read_bytes - seen.read_bytes, now.written_bytes - seen.written_bytes);
        metrics.read_bytes.inc_by(read);
        metrics.written_bytes.inc_by(written);
        seen = now;
        if turn != Turn::More {
            break turn;
        }
        sleep(rest(read.saturating_add(written), settings.bytes_per_second)).await;
    };
    metrics.last_duration.set(started.elapsed().as_secs_f64());
    let (topic, index) = (&partition.topic, partition.index);
    match turn {
        Turn::Done(Done { read_bytes, written_bytes, clean_offset, .. }) => {
            metrics.runs.inc();
            tracing::info!(%topic, partition = index, read_bytes, written_bytes, clean_offset, "compacted");
        }
        Turn::NoSpace => {
            metrics.failures.inc();
            tracing::warn!(%topic, partition = index, "no room to compact: free some; it is tried again");
        }
        Turn::Failed => metrics.failures.inc(),
        Turn::More | Turn::Stopped => {}
    }
}

/// How long to rest after so many bytes.
fn rest(bytes: u64, bytes_per_second: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000_000) / bytes_per_second.max(1))
}
