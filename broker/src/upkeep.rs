//! What the broker does for its logs beside requests: opens those of the run before, reads through them after an
//! unclean end, and writes down how far they are. Never in the way of a request.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use runtime::clock;
use tokio::time::sleep;

use crate::{broker::Broker, partition::Partition, topics::Topics};

/// Logs opened at a time.
const OPENERS: usize = 4;
/// How often it is written down how far the logs are.
const ENDS_EVERY: Duration = Duration::from_secs(30);
/// In the data folder while no broker runs and the last one ended in order.
const CLEAN_NAME: &str = "clean";

/// Whether the run before ended in order. It is forgotten here: from now on only an end in order says so.
pub(crate) fn ended_clean(data: &Path) -> io::Result<bool> {
    match fs::remove_file(data.join(CLEAN_NAME)) {
        Ok(()) => File::open(data)?.sync_all().map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Says to the next run that this one ended in order.
pub(crate) fn end_clean(data: &Path) -> io::Result<()> {
    File::create(data.join(CLEAN_NAME))?.sync_all()?;
    File::open(data)?.sync_all()
}

fn all_partitions(topics: &Topics) -> VecDeque<Arc<Partition>> {
    let topics = topics.all();
    topics.iter().flat_map(|topic| topic.partitions().iter().cloned().collect::<Vec<_>>()).collect()
}

/// Opens all logs, a few at a time; whoever asks for one before does not wait for the others.
pub(crate) async fn open_logs(topics: &Topics) {
    let started = clock::now();
    let partitions = all_partitions(topics);
    let count = partitions.len();
    let left = Arc::new(Mutex::new(partitions));
    let openers = (0..OPENERS).map(|_| {
        let left = Arc::clone(&left);
        tokio::task::spawn_blocking(move || {
            while let Some(partition) = next(&left) {
                partition.open_existing();
            }
        })
    });
    let openers: Vec<_> = openers.collect();
    for opener in openers {
        if let Err(error) = opener.await {
            tracing::error!(%error, "opening logs panicked");
        }
    }
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(count, milliseconds, "all logs are open");
}

fn next(left: &Mutex<VecDeque<Arc<Partition>>>) -> Option<Arc<Partition>> {
    left.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

/// Reads all logs once, slowly: what an unclean end damaged is told before somebody needs it.
pub(crate) async fn scrub(broker: &Broker) {
    let bytes_per_second = broker.settings.scrub_bytes_per_second;
    if bytes_per_second == 0 {
        return;
    }
    for partition in all_partitions(&broker.topics) {
        let bounds = partition.bounds();
        let mut offset = bounds.start;
        while offset < bounds.high_watermark {
            let this = Arc::clone(&partition);
            let step = tokio::task::spawn_blocking(move || this.scrub(offset)).await.ok().flatten();
            let Some(step) = step else { break };
            offset = step.next_offset;
            broker.metrics.scrubbed_bytes.inc_by(step.bytes);
            sleep(Duration::from_micros(step.bytes.saturating_mul(1_000_000) / bytes_per_second)).await;
        }
    }
    tracing::info!("all logs were read through after the unclean end");
}

/// Writes down now and then how far the logs are.
pub(crate) async fn note_ends(broker: &Broker) {
    loop {
        sleep(ENDS_EVERY).await;
        broker.topics.note_ends().await;
    }
}
