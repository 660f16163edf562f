//! After a start, before the first client: what was decided is done, and what partitions have open is known to its
//! transaction, or aborted when there is none.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kafka_wire::records::Marker;
use runtime::clock;
use tokio::time::timeout;

use super::{complete, coordinator::Entry};
use crate::{broker::Broker, groups::offsets::Place, partition::Partition};

/// Transactions that cannot be ended for so long, for a disk that takes no writes, go on to be tried beside the clients.
const WAIT: Duration = Duration::from_secs(30);

/// Does all of it.
pub(crate) async fn recover(broker: &Arc<Broker>) {
    let transactions = &broker.transactions;
    let entries = transactions.all();
    let by_producer: HashMap<i64, Arc<Entry>> =
        entries.iter().map(|entry| (entry.lock().head().producer.id, Arc::clone(entry))).collect();
    for topic in broker.topics.all() {
        for partition in &*topic.partitions() {
            match_partition(broker, partition, &by_producer).await;
        }
    }
    let ending = entries.iter().filter(|entry| entry.lock().state().is_ending());
    let steps: Vec<_> = ending.map(|entry| (entry, complete::begin(broker, entry))).collect();
    let deadline = clock::now() + WAIT;
    for (entry, steps) in steps {
        let left = deadline.saturating_duration_since(clock::now());
        if timeout(left, steps.done).await.is_err() {
            tracing::error!(id = %entry.id, "a transaction could not be ended yet; that is tried on");
        }
    }
}

/// Finds the transactions of what a partition has open.
async fn match_partition(
    broker: &Arc<Broker>,
    partition: &Arc<Partition>,
    by_producer: &HashMap<i64, Arc<Entry>>,
) {
    let place: Place = (partition.topic.to_string(), partition.index);
    for known in partition.producers().into_iter().filter(|known| known.first_offset.is_some()) {
        if let Some(entry) = by_producer.get(&known.producer_id) {
            let mut transaction = entry.lock();
            if transaction.handle_found(&place, known.epoch, clock::unix_ms()) {
                if let Err(error) = broker.transactions.save(&entry.id, &mut transaction) {
                    let error = crate::error_text(&error);
                    tracing::warn!(id = %entry.id, error, "cannot write down a partition of a transaction");
                }
                continue;
            }
        }
        let (topic, index, producer_id) = (&partition.topic, partition.index, known.producer_id);
        tracing::warn!(%topic, partition = index, producer_id, "aborts what belongs to no transaction");
        let marker = Marker { committed: false, coordinator_epoch: broker.leader_epoch };
        if let Err(refusal) = partition.mark((producer_id, known.epoch), marker).await {
            let reason = refusal.message.unwrap_or_default();
            tracing::error!(%topic, partition = index, reason, "cannot abort what belongs to no transaction");
        }
    }
}
