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
};

pub(crate) async fn handle(
    context: Context,
    request: CreatePartitionsRequest,
    _: i16,
) -> CreatePartitionsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    let twice = repeated(request.topics.iter().map(|topic| topic.name.as_str()));
    let twice: HashSet<String> = twice.into_iter().map(str::to_owned).collect();
    for topic in request.topics {
        let refusal = if twice.contains(&topic.name) {
            Some(Refusal::new(ErrorCode::InvalidRequest, "the topic is in the request twice"))
        } else {
            grow(&context, &topic, request.validate_only).await.err()
        };
        let code = refusal.as_ref().map_or(ErrorCode::None, |refusal| refusal.code);
        results.push(CreatePartitionsTopicResult {
            name: topic.name,
            error_code: code.code(),
            error_message: refusal.and_then(|refusal| refusal.message),
        });
    }
    CreatePartitionsResponse { results, ..Default::default() }
}

async fn grow(context: &Context, topic: &CreatePartitionsTopic, only_check: bool) -> Result<(), Refusal> {
    if !context.allows_topic(Operation::Alter, &topic.name) {
        return Err(ErrorCode::TopicAuthorizationFailed.into());
    }
    let mut assignments = topic.assignments.iter().flatten();
    if !assignments.all(|assignment| assignment.broker_ids == [NODE_ID]) {
        let text = "there is one node: every assignment must name it alone";
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
    }
    if let (Some(assignments), Some(known)) = (&topic.assignments, context.broker.topics.by_name(&topic.name))
    {
        let added = usize::try_from(topic.count).unwrap_or(0).saturating_sub(known.partitions().len());
        if added > 0 && assignments.len() != added {
            let text = format!("{added} partitions are added and {} have an assignment", assignments.len());
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
        }
    }
    context.broker.topics.grow(&topic.name, topic.count, only_check).await
}
