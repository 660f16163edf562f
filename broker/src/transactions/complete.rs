//! Does what a decided transaction needs, step by step, each durable before the next: the decision, the markers in
//! all partitions, the offsets of groups together with the end. What fails is tried again until it is done.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kafka_wire::{ErrorCode, records::Marker};
use runtime::{clock, tasks::OnError};
use tokio::{sync::oneshot, time::sleep};

use super::{
    coordinator::{Entry, Transactions},
    stored,
    transaction::Ending,
};
use crate::{
    broker::Broker,
    groups::offsets::Place,
    partition::{Partition, Refusal, append::Taken},
    store::StoreError,
};

/// Between two tries of what the disk refuses.
const RETRY: Duration = Duration::from_secs(1);

/// How far it has come; a sender that is gone without a word means that the process ends.
pub(super) struct Steps {
    /// The decision is durable.
    pub(super) decided: oneshot::Receiver<()>,
    /// All is done.
    pub(super) done: oneshot::Receiver<()>,
}

/// Starts on a transaction that was just decided. It goes on whoever waits for it.
pub(super) fn begin(broker: &Arc<Broker>, entry: &Arc<Entry>) -> Steps {
    let (decided_sender, decided) = oneshot::channel();
    let (done_sender, done) = oneshot::channel();
    let (this, entry) = (Arc::clone(broker), Arc::clone(entry));
    drop(broker.transactions.tasks.spawn("end of a transaction", OnError::Log, async move {
        if decide(&this, &entry).await {
            // Nobody may be waiting any more.
            let _unheard = decided_sender.send(());
            if finish(&this, &entry).await {
                let _unheard = done_sender.send(());
            }
        }
        Ok::<_, std::convert::Infallible>(())
    }));
    Steps { decided, done }
}

/// Waits before another try; whether there is one.
async fn again(broker: &Broker) -> bool {
    broker.shutdown.or(sleep(RETRY)).await;
    !broker.shutdown.has_begun()
}

/// Makes the decision durable.
async fn decide(broker: &Broker, entry: &Entry) -> bool {
    loop {
        match save(&broker.transactions, entry).await {
            Ok(()) => return true,
            Err(error) => {
                let error = crate::error_text(&error);
                tracing::error!(id = %entry.id, error, "cannot store how a transaction ends");
            }
        }
        if !again(broker).await {
            return false;
        }
    }
}

async fn save(transactions: &Transactions, entry: &Entry) -> Result<(), StoreError> {
    let saved = {
        let mut transaction = entry.lock();
        transaction.save_again();
        transactions.save(&entry.id, &mut transaction)?
    };
    saved.await
}

/// Writes the markers, and then the end.
pub(super) async fn finish(broker: &Broker, entry: &Entry) -> bool {
    let Some(ending) = entry.lock().ending() else { return true };
    let mut left = ending.places.clone();
    loop {
        left = mark(broker, &ending, left).await;
        if left.is_empty() {
            break;
        }
        tracing::error!(id = %entry.id, left = left.len(), "cannot write all markers of a transaction yet");
        if !again(broker).await {
            return false;
        }
    }
    loop {
        match close(broker, entry, &ending).await {
            Ok(()) => return true,
            Err(error) => {
                tracing::error!(id = %entry.id, error = crate::error_text(&error), "cannot store a transaction's end");
            }
        }
        if !again(broker).await {
            return false;
        }
    }
}

/// Writes markers and has them synced; says where that failed.
async fn mark(broker: &Broker, ending: &Ending, places: BTreeSet<Place>) -> BTreeSet<Place> {
    let marker = Marker { committed: ending.committed, coordinator_epoch: broker.leader_epoch };
    let mut written = Vec::new();
    let mut failed = BTreeSet::new();
    for place in places {
        let topic = broker.topics.by_name(&place.0);
        // A topic that is gone needs no marker.
        let Some(partition) = topic.and_then(|topic| topic.partition(place.1)) else { continue };
        match partition.append_marker((ending.producer.id, ending.producer.epoch), marker) {
            Ok(taken) => written.push((place, partition, taken)),
            Err(refusal) if is_final(&refusal) => {
                tracing::warn!(topic = place.0, partition = place.1, code = %refusal.code, "a marker was not needed");
            }
            Err(_) => drop(failed.insert(place)),
        }
    }
    let synced: Vec<_> = written.iter().map(|(_, partition, _)| partition.submit()).collect();
    for wait in synced {
        wait.await;
    }
    let is_lost =
        |(_, partition, taken): &(Place, Arc<Partition>, Taken)| !partition.is_durable(taken.next_offset);
    failed.extend(written.into_iter().filter(is_lost).map(|(place, ..)| place));
    failed
}

/// The partition has heard of a newer producer or coordinator, by an operator's hand, or its topic is gone.
fn is_final(refusal: &Refusal) -> bool {
    matches!(
        refusal.code,
        ErrorCode::InvalidProducerEpoch
            | ErrorCode::TransactionCoordinatorFenced
            | ErrorCode::UnknownTopicOrPartition
    )
}

/// Offsets, the end, and that the partitions are no longer in it: all or nothing.
async fn close(broker: &Broker, entry: &Entry, ending: &Ending) -> Result<(), StoreError> {
    let transactions = &broker.transactions;
    // Nobody else changes a transaction that is ending.
    let mut next = entry.lock().clone();
    next.handle_marked(clock::unix_ms());
    let mut changes = stored::changes(&entry.id, &mut next)?;
    for group in &ending.groups {
        let offsets = &broker.groups.offsets;
        changes.extend(transactions.pending.end(offsets, (group, ending.producer.id), ending.committed)?);
    }
    transactions.store.write(changes)?.await?;
    *entry.lock() = next;
    for group in &ending.groups {
        transactions.pending.forget(group, ending.producer.id);
    }
    let metrics = &transactions.metrics;
    if ending.committed {
        metrics.committed_transactions.inc()
    } else {
        metrics.aborted_transactions.inc()
    }
    Ok(())
}
