//! Fetch: records from given offsets on; waits until there are enough or the time is up.

use std::{sync::Arc, time::Duration};

use kafka_wire::{
    ErrorCode,
    messages::{
        FetchRequest, FetchResponse,
        fetch::{AbortedTransaction, FetchPartition, FetchTopic, FetchableTopicResponse, PartitionData},
    },
};
use runtime::clock;

use crate::{
    access::Operation,
    broker::Context,
    partition::{
        Partition, Refusal,
        read::{Bounds, Isolation},
        transactions::Aborted,
    },
    topics::Topic,
};

/// Bytes of one response at most, whatever the client asks for.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// From this version on topics have ids instead of names.
const TOPIC_IDS_SINCE: i16 = 13;
/// No fetch waits longer.
const WAIT_MS_MAX: i32 = 300_000;

/// A partition to read, or why it cannot be.
struct Target {
    request: FetchPartition,
    partition: Result<Arc<Partition>, ErrorCode>,
    /// What to say when the topic is gone.
    unknown: ErrorCode,
}

pub(crate) async fn handle(context: Context, request: FetchRequest, version: i16) -> FetchResponse {
    // Sessions are not kept, which the session id 0 of every answer says; who goes on with one is told to begin
    // anew. Epoch 0 would begin one and -1 ends one: both name all partitions.
    if request.session_epoch > 0 {
        let error_code = ErrorCode::FetchSessionIdNotFound.code();
        return FetchResponse { error_code, ..Default::default() };
    }
    let wait_ms = request.max_wait_ms.clamp(0, WAIT_MS_MAX);
    let deadline = clock::now() + Duration::from_millis(u64::from(wait_ms.unsigned_abs()));
    let quotas = &context.broker.quotas;
    let quota_bytes = if quotas.in_use() { quotas.fetch_bytes_max(&context) } else { usize::MAX };
    let min_bytes = size(request.min_bytes).min(quota_bytes);
    let max_bytes = size(request.max_bytes).min(BYTES_MAX).min(quota_bytes);
    let isolation = Isolation::from_level(request.isolation_level);
    let topics: Vec<(FetchTopic, Vec<Target>)> =
        request.topics.into_iter().map(|topic| resolve(&context, topic, version)).collect();
    let waiter = &context.caller.waiter;
    loop {
        // Asked to be woken before looking, so that nothing is missed in between.
        let woken = waiter.notified();
        for target in topics.iter().flat_map(|(_, targets)| targets) {
            if let Ok(partition) = &target.partition {
                partition.wait(waiter);
            }
        }
        let read = read_all(&topics, max_bytes, isolation);
        let enough = read.bytes >= min_bytes || read.failed || topics.is_empty();
        if enough || clock::now() >= deadline || context.broker.shutdown.has_begun() {
            return answer(&context, read);
        }
        // Whether it is woken, the time is up or the process ends: what comes next is another look.
        context.broker.shutdown.or(tokio::time::timeout_at(deadline, woken)).await;
    }
}

/// What was read, unless its client is over its quota: then that comes first, and nothing is given.
fn answer(context: &Context, read: Read) -> FetchResponse {
    let quotas = &context.broker.quotas;
    let (throttle_time_ms, withheld) =
        if quotas.in_use() { quotas.fetched(context, read.bytes) } else { (0, false) };
    let responses = if withheld { Vec::new() } else { read.responses };
    FetchResponse { throttle_time_ms, responses, ..Default::default() }
}

fn size(wire: i32) -> usize {
    usize::try_from(wire).unwrap_or(0)
}

fn resolve(context: &Context, mut wanted: FetchTopic, version: i16) -> (FetchTopic, Vec<Target>) {
    let by_id = version >= TOPIC_IDS_SINCE;
    let topics = &context.broker.topics;
    let topic = if by_id { topics.by_id(wanted.topic_id) } else { topics.by_name(&wanted.topic) };
    let unknown = if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
    let name = topic.as_ref().map_or(wanted.topic.as_str(), |topic| &topic.name);
    // Whether a topic is there is nobody's business who may not read it; an id that is not there tells nothing.
    let may_be_told = by_id && topic.is_none();
    let hidden = !may_be_told && !context.allows_topic(Operation::Read, name);
    let targets = std::mem::take(&mut wanted.partitions).into_iter().map(|request| {
        let partition = match &topic {
            _ if hidden => Err(ErrorCode::TopicAuthorizationFailed),
            None => Err(unknown),
            Some(topic) => find(context, topic, &request),
        };
        Target { request, partition, unknown }
    });
    let targets = targets.collect();
    (wanted, targets)
}

fn find(context: &Context, topic: &Topic, request: &FetchPartition) -> Result<Arc<Partition>, ErrorCode> {
    check_epoch(context, request.current_leader_epoch)?;
    topic.partition(request.partition).ok_or(ErrorCode::UnknownTopicOrPartition)
}

/// Whether a client's idea of the leader's epoch is this run's.
pub(crate) fn check_epoch(context: &Context, epoch: i32) -> Result<(), ErrorCode> {
    match epoch {
        -1 => Ok(()),
        epoch if epoch < context.broker.leader_epoch => Err(ErrorCode::FencedLeaderEpoch),
        epoch if epoch > context.broker.leader_epoch => Err(ErrorCode::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}

/// One look at all partitions.
#[derive(Default)]
struct Read {
    responses: Vec<FetchableTopicResponse>,
    bytes: usize,
    failed: bool,
}

fn read_all(topics: &[(FetchTopic, Vec<Target>)], max_bytes: usize, isolation: Isolation) -> Read {
    let mut read = Read::default();
    for (topic, targets) in topics {
        let mut partitions = Vec::with_capacity(targets.len());
        for target in targets {
            let left = max_bytes.saturating_sub(read.bytes);
            let mut data = read_one(target, left, read.bytes == 0, isolation);
            if isolation == Isolation::Uncommitted {
                data.aborted_transactions = None;
            }
            read.bytes += data.records.as_ref().map_or(0, bytes::Bytes::len);
            read.failed |= data.error_code != ErrorCode::None.code();
            partitions.push(data);
        }
        read.responses.push(FetchableTopicResponse {
            topic: topic.topic.clone(),
            topic_id: topic.topic_id,
            partitions,
        });
    }
    read
}

/// Reads a partition. Only the first one that has something may go over the limit, with its first batch.
fn read_one(target: &Target, left: usize, first: bool, isolation: Isolation) -> PartitionData {
    let index = target.request.partition;
    let partition = match &target.partition {
        Ok(partition) => partition,
        Err(code) => return failed(index, *code, Bounds { start: -1, high_watermark: -1, last_stable: -1 }),
    };
    let max_bytes = size(target.request.partition_max_bytes).min(left);
    if max_bytes == 0 && !first {
        return data(index, partition.bounds(), bytes::Bytes::new());
    }
    match partition.fetch(target.request.fetch_offset, max_bytes, isolation) {
        // A large first batch came all the same: it has to wait for a response of its own.
        Ok(fetched) if !first && fetched.bytes.len() > left => {
            data(index, fetched.bounds, bytes::Bytes::new())
        }
        Ok(fetched) => PartitionData {
            aborted_transactions: Some(fetched.aborted.iter().map(aborted).collect()),
            ..data(index, fetched.bounds, fetched.bytes)
        },
        Err((Refusal { code: ErrorCode::UnknownTopicOrPartition, .. }, bounds)) => {
            failed(index, target.unknown, bounds)
        }
        Err((Refusal { code, .. }, bounds)) => failed(index, code, bounds),
    }
}

fn data(index: i32, bounds: Bounds, records: bytes::Bytes) -> PartitionData {
    PartitionData {
        partition_index: index,
        high_watermark: bounds.high_watermark,
        last_stable_offset: bounds.last_stable,
        log_start_offset: bounds.start,
        records: Some(records),
        ..Default::default()
    }
}

fn aborted(transaction: &Aborted) -> AbortedTransaction {
    AbortedTransaction { producer_id: transaction.producer_id, first_offset: transaction.first_offset }
}

fn failed(index: i32, code: ErrorCode, bounds: Bounds) -> PartitionData {
    PartitionData { error_code: code.code(), ..data(index, bounds, bytes::Bytes::new()) }
}
