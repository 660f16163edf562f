//! OffsetDelete: forgets how far a group has come in topics that it does not read any more.

use kafka_wire::{
    ErrorCode,
    messages::{
        OffsetDeleteRequest, OffsetDeleteResponse,
        offset_delete::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
    },
};

use crate::{access::Operation, broker::Context};

pub(crate) async fn handle(context: Context, request: OffsetDeleteRequest, _: i16) -> OffsetDeleteResponse {
    let failed = |code: ErrorCode| OffsetDeleteResponse { error_code: code.code(), ..Default::default() };
    if !context.allows_group(Operation::Delete, &request.group_id) {
        return failed(ErrorCode::GroupAuthorizationFailed);
    }
    let groups = &context.broker.groups;
    let in_use = match groups.check_offset_delete(&request.group_id) {
        Ok(in_use) => in_use,
        Err(code) => return failed(code),
    };
    let mut gone = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let known = context.broker.topics.by_name(&topic.name);
        let allowed = context.allows_topic(Operation::Read, &topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition_index in topic.partitions.into_iter().map(|it| it.partition_index) {
            let there = known.as_ref().is_some_and(|topic| topic.partition(partition_index).is_some());
            let code = if !allowed {
                ErrorCode::TopicAuthorizationFailed
            } else if !there {
                ErrorCode::UnknownTopicOrPartition
            } else if in_use.contains(&topic.name) {
                ErrorCode::GroupSubscribedToTopic
            } else {
                gone.push((topic.name.clone(), partition_index));
                ErrorCode::None
            };
            partitions.push(OffsetDeleteResponsePartition { partition_index, error_code: code.code() });
        }
        topics.push(OffsetDeleteResponseTopic { name: topic.name, partitions });
    }
    if !gone.is_empty()
        && let Err(error) = groups.offsets.remove(&request.group_id, &gone).await
    {
        tracing::error!(group = request.group_id, error = crate::error_text(&error), "cannot delete offsets");
        return failed(ErrorCode::CoordinatorNotAvailable);
    }
    OffsetDeleteResponse { topics, ..Default::default() }
}
