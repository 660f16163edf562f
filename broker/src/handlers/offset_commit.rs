//! OffsetCommit: how far a group has come; answered when it is on disk.

use kafka_wire::{
    ErrorCode,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse,
        offset_commit::{
            OffsetCommitRequestPartition, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
        },
    },
};
use runtime::clock;

use super::join_group::check_group;
use crate::{
    access::Operation,
    broker::Context,
    groups::offsets::{Committed, Place},
};

/// Bytes of metadata with one offset.
pub(crate) const METADATA_MAX: usize = 4096;

pub(crate) async fn handle(context: Context, request: OffsetCommitRequest, _: i16) -> OffsetCommitResponse {
    let refused = check(&context, &request).err();
    let mut taken = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = partition.partition_index;
            let outcome = match refused {
                Some(code) => Err(code),
                None => take(&context, &topic.name, partition),
            };
            let error_code = outcome.as_ref().err().copied().unwrap_or(ErrorCode::None).code();
            taken.extend(outcome);
            partitions.push(OffsetCommitResponsePartition { partition_index: index, error_code });
        }
        topics.push(OffsetCommitResponseTopic { name: topic.name, partitions, ..Default::default() });
    }
    if !taken.is_empty()
        && let Err(error) = context.broker.groups.offsets.commit(&request.group_id, taken).await
    {
        tracing::error!(group = request.group_id, error = crate::error_text(&error), "cannot commit offsets");
        for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.error_code = ErrorCode::CoordinatorNotAvailable.code();
        }
    }
    OffsetCommitResponse { topics, ..Default::default() }
}

fn check(context: &Context, request: &OffsetCommitRequest) -> Result<(), ErrorCode> {
    check_group(context, &request.group_id)?;
    let generation = request.generation_id_or_member_epoch;
    let caller = (request.member_id.as_str(), request.group_instance_id.as_deref());
    let allowed = context
        .broker
        .groups
        .with_group(&request.group_id, |group, now_ms| group.handle_commit(caller, generation, now_ms));
    match allowed {
        Some(outcome) => outcome,
        // Somebody who only keeps offsets here.
        None if generation < 0 => Ok(()),
        None => Err(ErrorCode::IllegalGeneration),
    }
}

fn take(
    context: &Context,
    topic: &str,
    partition: OffsetCommitRequestPartition,
) -> Result<(Place, Committed), ErrorCode> {
    if !context.allows_topic(Operation::Read, topic) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let known = context.broker.topics.by_name(topic);
    if known.and_then(|topic| topic.partition(partition.partition_index)).is_none() {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    let metadata = partition.committed_metadata.unwrap_or_default();
    if metadata.len() > METADATA_MAX {
        return Err(ErrorCode::OffsetMetadataTooLarge);
    }
    let committed = Committed {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata,
        committed_ms: clock::unix_ms(),
    };
    Ok(((topic.to_owned(), partition.partition_index), committed))
}
