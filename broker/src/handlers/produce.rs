//! Produce: takes batches in the order of arrival, answers when they are on disk.

use std::sync::Arc;

use bytes::Bytes;
use kafka_wire::{
    ErrorCode,
    messages::{
        ProduceRequest, ProduceResponse,
        produce::{
            BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, TopicProduceData,
            TopicProduceResponse,
        },
    },
    records::BatchHeader,
};
use uuid::Uuid;

use crate::{
    access::{Operation, ResourceKind},
    broker::Context,
    commit::Synced,
    partition::{Partition, Refusal, append::Taken},
    topics::Topic,
    transactions::transaction::Producer,
};

const ALL: i16 = -1;
/// From this version on topics have ids instead of names.
const TOPIC_IDS_SINCE: i16 = 13;
/// The first so many records of a batch are refused with a text of their own.
const RECORD_TEXTS_MAX: i32 = 100;

/// One partition's part of the request, after it was taken or refused.
struct Part {
    index: i32,
    outcome: Result<(Arc<Partition>, Taken), Refusal>,
}

/// What all parts of a request share.
#[derive(Clone, Copy)]
struct Call<'a> {
    context: &'a Context,
    version: i16,
    acks: i16,
    transaction: Option<&'a str>,
}

/// One topic's part of the request.
struct Taking {
    name: String,
    id: Uuid,
    parts: Vec<Part>,
}

/// Takes all batches now; what is returned ends when they are on disk.
pub(crate) fn begin(
    context: &Context,
    request: ProduceRequest,
    version: i16,
) -> impl Future<Output = ProduceResponse> + Send + use<> {
    let acks = request.acks;
    let refused = check(context, &request);
    let transaction = request.transactional_id.as_deref();
    let call = Call { context, version, acks, transaction };
    let partitions = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let bytes = partitions.filter_map(|data| data.records.as_ref()).map(|records| records.len()).sum();
    let topics: Vec<Taking> = request
        .topic_data
        .into_iter()
        .map(|topic| match &refused {
            Some(refusal) => refuse_topic(topic, refusal),
            None => take_topic(call, topic),
        })
        .collect();
    // With acks=0 nobody waits; with acks=1 the disk of the only replica is what counts, as with all.
    let synced = Some(submit(context, &topics, bytes)).filter(|_| acks != 0);
    async move {
        if let Some(synced) = synced {
            synced.await;
        }
        let responses = topics.into_iter().map(|topic| TopicProduceResponse {
            name: topic.name,
            topic_id: topic.id,
            partition_responses: topic.parts.into_iter().map(answer).collect(),
        });
        ProduceResponse { responses: responses.collect(), ..Default::default() }
    }
}

/// Why nothing of the request can be taken.
fn check(context: &Context, request: &ProduceRequest) -> Option<Refusal> {
    if !(-1..=1).contains(&request.acks) {
        return Some(ErrorCode::InvalidRequiredAcks.into());
    }
    if is_transactional(request) && !may_use_transaction(context, request) {
        return Some(ErrorCode::TransactionalIdAuthorizationFailed.into());
    }
    if context.broker.space.is_low() {
        let text = "the disk of the broker is nearly full: it takes records again when there is room";
        return Some(Refusal::new(ErrorCode::KafkaStorageError, text));
    }
    None
}

/// Whether any batch belongs to a transaction.
fn is_transactional(request: &ProduceRequest) -> bool {
    let all = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    all.filter_map(|data| data.records.as_ref()).any(|records| batch_producer(records).is_some())
}

/// The producer of a batch that belongs to a transaction.
fn batch_producer(records: &Bytes) -> Option<Producer> {
    let header = BatchHeader::parse(records).ok().filter(BatchHeader::is_transactional)?;
    Some(Producer { id: header.producer_id, epoch: header.producer_epoch })
}

fn may_use_transaction(context: &Context, request: &ProduceRequest) -> bool {
    let allows = |id: &String| context.allows(Operation::Write, ResourceKind::TransactionalId, id);
    request.transactional_id.as_ref().is_some_and(allows)
}

fn refuse_topic(topic: TopicProduceData, refusal: &Refusal) -> Taking {
    let refuse = |data: PartitionProduceData| Part { index: data.index, outcome: Err(refusal.clone()) };
    let parts = topic.partition_data.into_iter().map(refuse).collect();
    Taking { name: topic.name, id: topic.topic_id, parts }
}

fn take_topic(call: Call<'_>, data: TopicProduceData) -> Taking {
    let topic = match find(call.context, &data, call.version) {
        Ok(topic) => topic,
        Err(code) => return refuse_topic(data, &code.into()),
    };
    let replicas_wanted = topic.config().min_insync_replicas;
    if call.acks == ALL && replicas_wanted > 1 {
        let text = format!("min.insync.replicas is {replicas_wanted} and there is one replica: set it to 1");
        return refuse_topic(data, &Refusal::new(ErrorCode::NotEnoughReplicas, text));
    }
    let parts = data.partition_data.into_iter().map(|data| take(&topic, data, call)).collect();
    Taking { name: data.name, id: data.topic_id, parts }
}

/// The topic that is meant, when the caller may write to it. An id that is not there tells nothing.
fn find(context: &Context, data: &TopicProduceData, version: i16) -> Result<Arc<Topic>, ErrorCode> {
    let topics = &context.broker.topics;
    let topic = if version >= TOPIC_IDS_SINCE {
        Some(topics.by_id(data.topic_id).ok_or(ErrorCode::UnknownTopicId)?)
    } else {
        topics.by_name(&data.name)
    };
    let name = topic.as_ref().map_or(data.name.as_str(), |topic| &topic.name);
    if !context.allows_topic(Operation::Write, name) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    topic.ok_or(ErrorCode::UnknownTopicOrPartition)
}

fn take(topic: &Topic, data: PartitionProduceData, call: Call<'_>) -> Part {
    let take = || {
        let partition = topic.partition(data.index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let records = data.records.filter(|records| !records.is_empty());
        let records =
            records.ok_or_else(|| Refusal::new(ErrorCode::InvalidRecord, "there are no records"))?;
        let taken = append(&partition, call, records)?;
        Ok((partition, taken))
    };
    Part { index: data.index, outcome: take() }
}

/// Appends a batch; one of a transaction only while that is open.
fn append(partition: &Partition, call: Call<'_>, records: Bytes) -> Result<Taken, Refusal> {
    match (batch_producer(&records), call.transaction) {
        (Some(producer), Some(id)) => {
            let place = (partition.topic.to_string(), partition.index);
            let transactions = &call.context.broker.transactions;
            transactions.append((id, producer), place, call.version, || {
                partition.append_checked(records, call.version)
            })
        }
        _ => partition.append(records, call.version),
    }
}

/// Has all logs synced that were written to, in one round.
fn submit(context: &Context, topics: &[Taking], bytes: usize) -> Synced {
    let parts = topics.iter().flat_map(|topic| &topic.parts);
    let written = parts.filter_map(|part| part.outcome.as_ref().ok());
    let logs = written.map(|(partition, _)| partition.durable());
    context.broker.committer.submit(logs, u64::try_from(bytes).unwrap_or(u64::MAX))
}

/// The one reason for which a record is refused and not its batch.
fn record_error(batch_index: i32) -> BatchIndexAndErrorMessage {
    let text = (batch_index < RECORD_TEXTS_MAX)
        .then(|| "a compacted topic takes no record without a key".to_owned());
    BatchIndexAndErrorMessage { batch_index, batch_index_error_message: text }
}

fn answer(part: Part) -> PartitionProduceResponse {
    let refused = |refusal: Refusal| PartitionProduceResponse {
        index: part.index,
        error_code: refusal.code.code(),
        base_offset: -1,
        record_errors: refusal.records.into_iter().map(record_error).collect(),
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
