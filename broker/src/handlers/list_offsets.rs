//! ListOffsets: the first, the last, and the one that belongs to a time.

use kafka_wire::{
    ErrorCode,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets::{ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
};

use super::fetch::check_epoch;
use crate::{
    access::Operation,
    broker::Context,
    partition::read::{
        EARLIEST, EARLIEST_LOCAL, EARLIEST_PENDING_UPLOAD, Isolation, LATEST, LATEST_TIERED, MAX_TIMESTAMP,
        Timed,
    },
};

/// The first version that knows leader epochs.
const EPOCH_SINCE: i16 = 4;

pub(crate) async fn handle(
    context: Context,
    request: ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let isolation = Isolation::from_level(request.isolation_level);
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter();
        let find = |wanted: &ListOffsetsPartition| find(&context, &topic.name, wanted, isolation, version);
        let partitions = partitions.map(|wanted| answer(find(wanted), wanted, version)).collect();
        ListOffsetsTopicResponse { name: topic.name, partitions }
    });
    ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
}

fn answer(
    found: Result<Timed, ErrorCode>,
    wanted: &ListOffsetsPartition,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let partition_index = wanted.partition_index;
    match found {
        Ok(timed) => ListOffsetsPartitionResponse {
            partition_index,
            timestamp: timed.timestamp_ms,
            offset: timed.offset,
            leader_epoch: if version >= EPOCH_SINCE { timed.leader_epoch } else { -1 },
            ..Default::default()
        },
        Err(code) => {
            ListOffsetsPartitionResponse { partition_index, error_code: code.code(), ..Default::default() }
        }
    }
}

/// The first version in which a timestamp below 0 has its meaning; `None` = it has none.
const fn special_since(timestamp: i64) -> Option<i16> {
    match timestamp {
        LATEST | EARLIEST => Some(1),
        MAX_TIMESTAMP => Some(7),
        EARLIEST_LOCAL => Some(8),
        LATEST_TIERED => Some(9),
        EARLIEST_PENDING_UPLOAD => Some(11),
        _ => None,
    }
}

fn find(
    context: &Context,
    topic: &str,
    wanted: &ListOffsetsPartition,
    isolation: Isolation,
    version: i16,
) -> Result<Timed, ErrorCode> {
    if !context.allows_topic(Operation::Describe, topic) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    check_epoch(context, wanted.current_leader_epoch)?;
    let topic = context.broker.topics.by_name(topic);
    let partition = topic.and_then(|topic| topic.partition(wanted.partition_index));
    let partition = partition.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if wanted.timestamp < 0 && special_since(wanted.timestamp).is_none_or(|since| version < since) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    partition.offset_at(wanted.timestamp, isolation).map_err(|refusal| refusal.code)
}
