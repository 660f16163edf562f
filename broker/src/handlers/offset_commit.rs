//! OffsetCommit: how far a group has come; answered when it is on disk.

use kafka_wire::{
    ErrorCode,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse,
        offset_commit::{
            OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponsePartition,
            OffsetCommitResponseTopic,
        },
    },
};
use runtime::clock;

use super::join_group::check_group;
use crate::{
    access::Operation,
    broker::Context,
    groups::{
        coordinator::Committer,
        offsets::{Committed, Place},
    },
    topics::Topic,
};

/// From this version on topics go by their ids.
const IDS_SINCE: i16 = 10;

/// A partition that may be committed, unless the group or the disk says no: where its answer is.
struct Taken {
    topic_at: usize,
    partition_at: usize,
    offset: (Place, Committed),
}

/// What all offsets of one request have in common.
struct Commit {
    now_ms: i64,
    expire_ms: Option<i64>,
    metadata_bytes_max: usize,
}

pub(crate) async fn handle(
    context: Context,
    request: OffsetCommitRequest,
    version: i16,
) -> OffsetCommitResponse {
    let now_ms = clock::unix_ms();
    let commit = Commit {
        now_ms,
        expire_ms: (request.retention_time_ms >= 0).then(|| now_ms.saturating_add(request.retention_time_ms)),
        metadata_bytes_max: context.broker.settings.offset_metadata_bytes_max,
    };
    let by = Committer {
        member: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id_or_member_epoch,
        version,
    };
    let group = check_group(&context, &request.group_id);
    let mut taken = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for (topic_at, topic) in request.topics.into_iter().enumerate() {
        let found = group.and_then(|()| find(&context, &topic, version));
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (partition_at, partition) in topic.partitions.into_iter().enumerate() {
            let partition_index = partition.partition_index;
            let outcome = found.as_ref().map_err(|code| *code).and_then(|it| take(&commit, it, partition));
            let error_code = outcome.as_ref().err().copied().unwrap_or(ErrorCode::None).code();
            taken.extend(outcome.map(|offset| Taken { topic_at, partition_at, offset }));
            partitions.push(OffsetCommitResponsePartition { partition_index, error_code });
        }
        topics.push(OffsetCommitResponseTopic { name: topic.name, topic_id: topic.topic_id, partitions });
    }
    let mut response = OffsetCommitResponse { topics, ..Default::default() };
    if let Err((code, places)) = store(&context, &request.group_id, &by, taken).await {
        for (topic_at, partition_at) in places {
            let topic = response.topics.get_mut(topic_at);
            if let Some(partition) = topic.and_then(|topic| topic.partitions.get_mut(partition_at)) {
                partition.error_code = code.code();
            }
        }
    }
    response
}

fn find(
    context: &Context,
    topic: &OffsetCommitRequestTopic,
    version: i16,
) -> Result<std::sync::Arc<Topic>, ErrorCode> {
    let topics = &context.broker.topics;
    let known = if version >= IDS_SINCE {
        Some(topics.by_id(topic.topic_id).ok_or(ErrorCode::UnknownTopicId)?)
    } else {
        topics.by_name(&topic.name)
    };
    let name = known.as_ref().map_or(topic.name.as_str(), |topic| &topic.name);
    if !context.allows_topic(Operation::Read, name) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    known.ok_or(ErrorCode::UnknownTopicOrPartition)
}

fn take(
    commit: &Commit,
    topic: &Topic,
    partition: OffsetCommitRequestPartition,
) -> Result<(Place, Committed), ErrorCode> {
    if topic.partition(partition.partition_index).is_none() {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    let metadata = partition.committed_metadata.unwrap_or_default();
    if metadata.len() > commit.metadata_bytes_max {
        return Err(ErrorCode::OffsetMetadataTooLarge);
    }
    let committed = Committed {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata,
        committed_ms: commit.now_ms,
        expire_ms: commit.expire_ms,
    };
    Ok(((topic.name.to_string(), partition.partition_index), committed))
}

/// Writes what was taken if the group allows it; otherwise says where the answers are that have to say why not.
async fn store(
    context: &Context,
    group: &str,
    by: &Committer<'_>,
    taken: Vec<Taken>,
) -> Result<(), (ErrorCode, Vec<(usize, usize)>)> {
    if taken.is_empty() {
        return Ok(());
    }
    let groups = &context.broker.groups;
    let places = taken.iter().map(|it| (it.topic_at, it.partition_at)).collect();
    if let Err(code) = groups.check_commit(group, by) {
        return Err((code, places));
    }
    let offsets: Vec<(Place, Committed)> = taken.into_iter().map(|it| it.offset).collect();
    groups.offsets.commit(group, &offsets).await.map_err(|error| {
        tracing::error!(group, error = crate::error_text(&error), "cannot commit offsets");
        (ErrorCode::CoordinatorNotAvailable, places)
    })
}
