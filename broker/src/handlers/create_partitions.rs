//! CreatePartitions: more partitions for a topic; never fewer.

use std::collections::HashSet;

use kafka_wire::{
    ErrorCode,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse,
        create_partitions::{CreatePartitionsTopic, CreatePartitionsTopicResult},
    },
};

use super::repeated::repeated;
use crate::{
    access::Operation,
    broker::{Context, NODE_ID},
    partition::Refusal,
    quotas::mutation::Mutation,
};

/// From this version on a request may be told to come again later.
const THROTTLED_SINCE: i16 = 3;

pub(crate) async fn handle(
    context: Context,
    request: CreatePartitionsRequest,
    version: i16,
) -> CreatePartitionsResponse {
    let mut quota = context.broker.quotas.mutation(&context, version >= THROTTLED_SINCE);
    let mut results = Vec::with_capacity(request.topics.len());
    let twice = repeated(request.topics.iter().map(|topic| topic.name.as_str()));
    let twice: HashSet<String> = twice.into_iter().map(str::to_owned).collect();
    for topic in request.topics {
        let refusal = if twice.contains(&topic.name) {
            Some(Refusal::new(ErrorCode::InvalidRequest, "the topic is in the request twice"))
        } else {
            grow((&context, &mut quota), &topic, request.validate_only).await.err()
        };
        let code = refusal.as_ref().map_or(ErrorCode::None, |refusal| refusal.code);
        results.push(CreatePartitionsTopicResult {
            name: topic.name,
            error_code: code.code(),
            error_message: refusal.and_then(|refusal| refusal.message),
        });
    }
    CreatePartitionsResponse { results, throttle_time_ms: quota.throttle_time_ms }
}

async fn grow(
    (context, quota): (&Context, &mut Mutation),
    topic: &CreatePartitionsTopic,
    only_check: bool,
) -> Result<(), Refusal> {
    if !context.allows_topic(Operation::Alter, &topic.name) {
        return Err(ErrorCode::TopicAuthorizationFailed.into());
    }
    let mut assignments = topic.assignments.iter().flatten();
    if !assignments.all(|assignment| assignment.broker_ids == [NODE_ID]) {
        let text = "there is one node: every assignment must name it alone";
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
    }
    let known = context.broker.topics.by_name(&topic.name).map_or(0, |known| known.partitions().len());
    let added = usize::try_from(topic.count).unwrap_or(0).saturating_sub(known);
    let assigned = topic.assignments.as_ref().map_or(added, Vec::len);
    if known > 0 && added > 0 && assigned != added {
        let text = format!("{added} partitions are added and {assigned} have an assignment");
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
    }
    if quota.is_limited() && !only_check {
        // What cannot be made costs nothing.
        context.broker.topics.grow(&topic.name, topic.count, true).await?;
        quota.take(&context.broker.quotas, added)?;
    }
    context.broker.topics.grow(&topic.name, topic.count, only_check).await
}
