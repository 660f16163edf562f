//! AddPartitionsToTxn: partitions become part of a transaction before anything is written to them. Versions from 4 on
//! are for brokers: they come in batches and may only ask.

use std::collections::HashMap;

use kafka_wire::{
    ErrorCode,
    messages::{
        AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
        add_partitions_to_txn::{
            AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopic,
            AddPartitionsToTxnTopicResult, AddPartitionsToTxnTransaction,
        },
    },
};

use crate::{
    access::{Operation, ResourceKind},
    broker::Context,
    groups::offsets::Place,
    transactions::transaction::Producer,
};

/// From this version on it is for brokers.
const BATCHED_SINCE: i16 = 4;
/// Older clients know `ProducerFenced` as another error.
const FENCED_SINCE: i16 = 2;

/// How a version tells an error; the same for the other requests of a transaction.
pub(crate) fn for_version(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced if version < FENCED_SINCE => ErrorCode::InvalidProducerEpoch,
        other => other,
    }
}

pub(crate) async fn handle(
    context: Context,
    request: AddPartitionsToTxnRequest,
    version: i16,
) -> AddPartitionsToTxnResponse {
    if version >= BATCHED_SINCE {
        return batched(&context, request, version).await;
    }
    let transaction = AddPartitionsToTxnTransaction {
        transactional_id: request.v3_and_below_transactional_id,
        producer_id: request.v3_and_below_producer_id,
        producer_epoch: request.v3_and_below_producer_epoch,
        topics: request.v3_and_below_topics,
        ..Default::default()
    };
    let id = &transaction.transactional_id;
    let codes = if context.allows(Operation::Write, ResourceKind::TransactionalId, id) {
        add(&context, &transaction).await
    } else {
        Codes::all(ErrorCode::TransactionalIdAuthorizationFailed)
    };
    AddPartitionsToTxnResponse {
        results_by_topic_v3_and_below: results(&transaction.topics, &codes, version),
        ..Default::default()
    }
}

async fn batched(
    context: &Context,
    request: AddPartitionsToTxnRequest,
    version: i16,
) -> AddPartitionsToTxnResponse {
    if !context.allows_cluster(Operation::ClusterAction) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return AddPartitionsToTxnResponse { error_code, ..Default::default() };
    }
    let mut results_by_transaction = Vec::with_capacity(request.transactions.len());
    for transaction in request.transactions {
        let codes = if transaction.verify_only {
            verify(context, &transaction)
        } else {
            add(context, &transaction).await
        };
        results_by_transaction.push(AddPartitionsToTxnResult {
            topic_results: results(&transaction.topics, &codes, version),
            transactional_id: transaction.transactional_id,
        });
    }
    AddPartitionsToTxnResponse { results_by_transaction, ..Default::default() }
}

/// What is said of each partition.
struct Codes {
    of: HashMap<Place, ErrorCode>,
    others: ErrorCode,
}

impl Codes {
    fn all(code: ErrorCode) -> Self {
        Self { of: HashMap::new(), others: code }
    }
}

fn results(
    topics: &[AddPartitionsToTxnTopic],
    codes: &Codes,
    version: i16,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let topic = |topic: &AddPartitionsToTxnTopic| {
        let partitions = topic.partitions.iter().map(|index| {
            let code = codes.of.get(&(topic.name.clone(), *index)).copied().unwrap_or(codes.others);
            AddPartitionsToTxnPartitionResult {
                partition_index: *index,
                partition_error_code: for_version(code, version).code(),
            }
        });
        AddPartitionsToTxnTopicResult { name: topic.name.clone(), results_by_partition: partitions.collect() }
    };
    topics.iter().map(topic).collect()
}

fn places(transaction: &AddPartitionsToTxnTransaction) -> Vec<Place> {
    let topics = transaction.topics.iter();
    topics.flat_map(|topic| topic.partitions.iter().map(|index| (topic.name.clone(), *index))).collect()
}

fn producer(transaction: &AddPartitionsToTxnTransaction) -> Producer {
    Producer { id: transaction.producer_id, epoch: transaction.producer_epoch }
}

/// All or none: one partition that cannot be added leaves the others out.
async fn add(context: &Context, transaction: &AddPartitionsToTxnTransaction) -> Codes {
    let id = transaction.transactional_id.as_str();
    if id.is_empty() {
        return Codes::all(ErrorCode::InvalidRequest);
    }
    let places = places(transaction);
    let wrong = |place: &Place| Some((place.clone(), check(context, place).err()?));
    let of: HashMap<Place, ErrorCode> = places.iter().filter_map(wrong).collect();
    if !of.is_empty() {
        return Codes { of, others: ErrorCode::OperationNotAttempted };
    }
    let added = context.broker.transactions.add_places(id, producer(transaction), places).await;
    Codes::all(added.err().unwrap_or(ErrorCode::None))
}

fn check(context: &Context, (topic, partition): &Place) -> Result<(), ErrorCode> {
    if !context.allows_topic(Operation::Write, topic) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let known = context.broker.topics.by_name(topic);
    match known.and_then(|topic| topic.partition(*partition)) {
        Some(_) => Ok(()),
        None => Err(ErrorCode::UnknownTopicOrPartition),
    }
}

/// Whether the partitions are in the open transaction.
fn verify(context: &Context, transaction: &AddPartitionsToTxnTransaction) -> Codes {
    let ask = |place: Place| {
        let id = &transaction.transactional_id;
        let known = context.broker.transactions.check_place(id, producer(transaction), &place);
        (place, known.err().unwrap_or(ErrorCode::None))
    };
    Codes { of: places(transaction).into_iter().map(ask).collect(), others: ErrorCode::None }
}
