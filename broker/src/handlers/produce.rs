//! Produce: takes batches in the order of arrival, answers when they are on disk.

use std::{collections::HashMap, sync::Arc};

use kafka_wire::{
    ErrorCode,
    messages::{
        ProduceRequest, ProduceResponse,
        produce::{PartitionProduceData, PartitionProduceResponse, TopicProduceData, TopicProduceResponse},
    },
};

use crate::{
    access::Operation,
    broker::Context,
    partition::{Partition, Refusal, append::Taken},
    topics::Topic,
};

const ALL: i16 = -1;

/// One partition's part of the request, after it was taken or refused.
struct Part {
    index: i32,
    outcome: Result<(Arc<Partition>, Taken), Refusal>,
}

/// Takes all batches now; what is returned ends when they are on disk.
pub(crate) fn begin(
    context: &Context,
    request: ProduceRequest,
    version: i16,
) -> impl Future<Output = ProduceResponse> + Send + use<> {
    let acks = request.acks;
    let refused = check(context, &request);
    let topics: Vec<(String, Vec<Part>)> = request
        .topic_data
        .into_iter()
        .map(|topic| match &refused {
            Some(refusal) => refuse_topic(topic, refusal),
            None => take_topic(context, topic, acks, version),
        })
        .collect();
    let synced = submit(&topics);
    async move {
        // With acks=0 nobody waits; with acks=1 the disk of the only replica is what counts, as with all.
        if acks != 0 {
            for wait in synced {
                wait.await;
            }
        }
        let responses = topics.into_iter().map(|(name, parts)| TopicProduceResponse {
            name,
            partition_responses: parts.into_iter().map(answer).collect(),
            ..Default::default()
        });
        ProduceResponse { responses: responses.collect(), ..Default::default() }
    }
}

/// Why nothing of the request can be taken.
fn check(context: &Context, request: &ProduceRequest) -> Option<Refusal> {
    if !(-1..=1).contains(&request.acks) {
        return Some(ErrorCode::InvalidRequiredAcks.into());
    }
    if request.transactional_id.is_some() {
        let text = "transactions are not supported by the Embedded engine yet";
        return Some(Refusal::new(ErrorCode::InvalidTxnState, text));
    }
    if context.broker.space.is_low() {
        let text = "the disk of the broker is nearly full: it takes records again when there is room";
        return Some(Refusal::new(ErrorCode::KafkaStorageError, text));
    }
    None
}

fn refuse_topic(topic: TopicProduceData, refusal: &Refusal) -> (String, Vec<Part>) {
    let refuse = |data: PartitionProduceData| Part { index: data.index, outcome: Err(refusal.clone()) };
    (topic.name, topic.partition_data.into_iter().map(refuse).collect())
}

fn take_topic(context: &Context, data: TopicProduceData, acks: i16, version: i16) -> (String, Vec<Part>) {
    if !context.allows_topic(Operation::Write, &data.name) {
        return refuse_topic(data, &ErrorCode::TopicAuthorizationFailed.into());
    }
    let Some(topic) = context.broker.topics.by_name(&data.name) else {
        return refuse_topic(data, &ErrorCode::UnknownTopicOrPartition.into());
    };
    let replicas_wanted = topic.config().min_insync_replicas;
    if acks == ALL && replicas_wanted > 1 {
        let text = format!("min.insync.replicas is {replicas_wanted} and there is one replica: set it to 1");
        return refuse_topic(data, &Refusal::new(ErrorCode::NotEnoughReplicas, text));
    }
    let parts = data.partition_data.into_iter().map(|data| take(&topic, data, version));
    (data.name, parts.collect())
}

fn take(topic: &Topic, data: PartitionProduceData, version: i16) -> Part {
    let take = || {
        let partition = topic.partition(data.index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let records = data.records.filter(|records| !records.is_empty());
        let records =
            records.ok_or_else(|| Refusal::new(ErrorCode::InvalidRecord, "there are no records"))?;
        let taken = partition.append(records, version)?;
        Ok((partition, taken))
    };
    Part { index: data.index, outcome: take() }
}

/// Has all logs synced that were written to.
fn submit(topics: &[(String, Vec<Part>)]) -> Vec<impl Future<Output = ()> + Send + use<>> {
    let parts = topics.iter().flat_map(|(_, parts)| parts);
    let written = parts.filter_map(|part| part.outcome.as_ref().ok());
    let distinct: HashMap<usize, &Arc<Partition>> =
        written.map(|(partition, _)| (Arc::as_ptr(partition).addr(), partition)).collect();
    distinct.into_values().map(|partition| partition.submit()).collect()
}

fn answer(part: Part) -> PartitionProduceResponse {
    let refused = |refusal: Refusal| PartitionProduceResponse {
        index: part.index,
        error_code: refusal.code.code(),
        base_offset: -1,
        error_message: refusal.message,
        ..Default::default()
    };
    match part.outcome {
        Err(refusal) => refused(refusal),
        Ok((partition, taken)) if !partition.is_durable(taken.next_offset) => {
            refused(Refusal::new(ErrorCode::KafkaStorageError, "the records could not be synced to disk"))
        }
        Ok((_, taken)) => PartitionProduceResponse {
            index: part.index,
            base_offset: taken.base_offset,
            log_append_time_ms: taken.log_append_time_ms,
            log_start_offset: taken.log_start_offset,
            ..Default::default()
        },
    }
}
