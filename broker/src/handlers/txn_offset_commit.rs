//! TxnOffsetCommit: how far a group has come, when the transaction commits; answered when it is on disk.

use kafka_wire::{
    ErrorCode,
    messages::{
        TxnOffsetCommitRequest, TxnOffsetCommitResponse,
        txn_offset_commit::{
            TxnOffsetCommitRequestPartition, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
        },
    },
};
use runtime::clock;

use super::join_group::check_group;
use crate::{
    access::{Operation, ResourceKind},
    broker::Context,
    groups::offsets::{Committed, Place},
    transactions::transaction::Producer,
};

/// From this version on `TransactionAbortable` is known.
const ABORTABLE_SINCE: i16 = 4;
/// From this version on the group is added to the transaction.
const ADDS_SINCE: i16 = 5;

pub(crate) async fn handle(
    context: Context,
    mut request: TxnOffsetCommitRequest,
    version: i16,
) -> TxnOffsetCommitResponse {
    let refused = check(&context, &request).err();
    let mut taken = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in std::mem::take(&mut request.topics) {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = partition.partition_index;
            let outcome = match refused {
                Some(code) => Err(code),
                None => take(&context, &topic.name, partition),
            };
            let error_code = outcome.as_ref().err().copied().unwrap_or(ErrorCode::None).code();
            taken.extend(outcome);
            partitions.push(TxnOffsetCommitResponsePartition { partition_index: index, error_code });
        }
        topics.push(TxnOffsetCommitResponseTopic { name: topic.name, partitions });
    }
    if !taken.is_empty() {
        let producer = Producer { id: request.producer_id, epoch: request.producer_epoch };
        let transaction = (request.transactional_id.as_str(), producer);
        let adds = version >= ADDS_SINCE;
        let committed =
            context.broker.transactions.commit_offsets(transaction, &request.group_id, taken, adds).await;
        if let Err(code) = committed {
            let accepted = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            for partition in accepted.filter(|partition| partition.error_code == ErrorCode::None.code()) {
                partition.error_code = for_version(code, version).code();
            }
        }
    }
    TxnOffsetCommitResponse { topics, ..Default::default() }
}

/// How a version tells an error: a group's coordinator in Kafka learns of the transaction only second-hand.
fn for_version(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < ABORTABLE_SINCE => ErrorCode::InvalidTxnState,
        // Older clients try again with this one only.
        ErrorCode::ConcurrentTransactions if version < ADDS_SINCE => ErrorCode::CoordinatorLoadInProgress,
        other => other,
    }
}

fn check(context: &Context, request: &TxnOffsetCommitRequest) -> Result<(), ErrorCode> {
    if !context.allows(Operation::Write, ResourceKind::TransactionalId, &request.transactional_id) {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    check_group(context, &request.group_id)?;
    let generation = request.generation_id;
    let caller = (request.member_id.as_str(), request.group_instance_id.as_deref());
    // Producers of before version 3, and those whose consumer has no group, do not say.
    if generation < 0 && caller == ("", None) {
        return Ok(());
    }
    context.broker.groups.check_transactional_commit(&request.group_id, caller, generation)
}

fn take(
    context: &Context,
    topic: &str,
    partition: TxnOffsetCommitRequestPartition,
) -> Result<(Place, Committed), ErrorCode> {
    if !context.allows_topic(Operation::Read, topic) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let known = context.broker.topics.by_name(topic);
    if known.and_then(|topic| topic.partition(partition.partition_index)).is_none() {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    let metadata = partition.committed_metadata.unwrap_or_default();
    if metadata.len() > context.broker.settings.offset_metadata_bytes_max {
        return Err(ErrorCode::OffsetMetadataTooLarge);
    }
    let committed = Committed {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata,
        committed_ms: clock::unix_ms(),
        expire_ms: None,
    };
    Ok(((topic.to_owned(), partition.partition_index), committed))
}
