//! DeleteTopics: by name or by id, with all records and committed offsets.

use std::{collections::HashSet, sync::Arc};

use kafka_wire::{
    ErrorCode,
    messages::{
        DeleteTopicsRequest, DeleteTopicsResponse,
        delete_topics::{DeletableTopicResult, DeleteTopicState},
    },
};

use uuid::Uuid;

use super::repeated::repeated;
use crate::{
    access::Operation, broker::Context, partition::Refusal, quotas::mutation::Mutation, topics::Topic,
};

/// From this version on topics may be named by id.
const IDS_SINCE: i16 = 6;
/// From this version on a request may be told to come again later.
const THROTTLED_SINCE: i16 = 5;

pub(crate) async fn handle(
    context: Context,
    request: DeleteTopicsRequest,
    version: i16,
) -> DeleteTopicsResponse {
    let named = |name: String| DeleteTopicState { name: Some(name), ..Default::default() };
    let wanted = if version >= IDS_SINCE {
        request.topics
    } else {
        request.topic_names.into_iter().map(named).collect()
    };
    let mut quota = context.broker.quotas.mutation(&context, version >= THROTTLED_SINCE);
    let mut responses = Vec::with_capacity(wanted.len());
    let key = |topic: &DeleteTopicState| (topic.name.clone(), topic.topic_id);
    let twice: HashSet<(Option<String>, Uuid)> = {
        let named = wanted.iter().map(|topic| (topic.name.as_deref(), topic.topic_id));
        repeated(named).into_iter().map(|(name, id)| (name.map(str::to_owned), id)).collect()
    };
    for topic in wanted {
        responses.push(if twice.contains(&key(&topic)) {
            refused(topic, Refusal::new(ErrorCode::InvalidRequest, "the topic is in the request twice"))
        } else {
            delete(&context, &mut quota, topic).await
        });
    }
    DeleteTopicsResponse { responses, throttle_time_ms: quota.throttle_time_ms }
}

async fn delete(context: &Context, quota: &mut Mutation, wanted: DeleteTopicState) -> DeletableTopicResult {
    let found = find(context, &wanted).and_then(|topic| {
        quota.take(&context.broker.quotas, topic.partitions().len())?;
        Ok(topic)
    });
    let outcome = match found {
        Ok(topic) => {
            let pending = &context.broker.transactions.pending;
            let mut offsets = context.broker.groups.offsets.removal_of_topic(&topic.name);
            offsets.extend(pending.removal_of_topic(&topic.name));
            let deleted = context.broker.topics.delete(&topic, offsets).await;
            deleted.map(|()| {
                pending.forget_topic(&topic.name);
                topic
            })
        }
        Err(refusal) => Err(refusal),
    };
    match outcome {
        Ok(topic) => DeletableTopicResult {
            name: Some(topic.name.to_string()),
            topic_id: topic.id,
            ..Default::default()
        },
        Err(refusal) => refused(wanted, refusal),
    }
}

fn refused(wanted: DeleteTopicState, refusal: Refusal) -> DeletableTopicResult {
    DeletableTopicResult {
        name: wanted.name,
        topic_id: wanted.topic_id,
        error_code: refusal.code.code(),
        error_message: refusal.message,
    }
}

fn find(context: &Context, wanted: &DeleteTopicState) -> Result<Arc<Topic>, Refusal> {
    let topics = &context.broker.topics;
    if let Some(name) = &wanted.name {
        if !wanted.topic_id.is_nil() {
            let text = "name the topic or give its id, not both";
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
        if !context.allows_topic(Operation::Delete, name) {
            return Err(ErrorCode::TopicAuthorizationFailed.into());
        }
        return topics.by_name(name).ok_or_else(|| ErrorCode::UnknownTopicOrPartition.into());
    }
    if wanted.topic_id.is_nil() {
        return Err(Refusal::new(ErrorCode::InvalidRequest, "neither the topic's name nor its id is given"));
    }
    let topic = topics.by_id(wanted.topic_id).ok_or(ErrorCode::UnknownTopicId)?;
    if context.allows_topic(Operation::Delete, &topic.name) {
        Ok(topic)
    } else {
        Err(ErrorCode::TopicAuthorizationFailed.into())
    }
}
