//! CreatePartitions: more partitions for a topic; never fewer.

use kafka_wire::{
    ErrorCode,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse,
        create_partitions::{CreatePartitionsTopic, CreatePartitionsTopicResult},
    },
};

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
    for topic in request.topics {
        let refusal = grow(&context, &topic, request.validate_only).await.err();
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
    context.broker.topics.grow(&topic.name, topic.count, only_check).await
}
