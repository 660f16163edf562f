//! ListOffsets: the first, the last, and the one that belongs to a time.

use kafka_wire::{
    ErrorCode,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets::{ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
};

use super::fetch::check_epoch;
use crate::{access::Operation, broker::Context, partition::read::Timed};

/// The first version that knows leader epochs.
const EPOCH_SINCE: i16 = 4;

pub(crate) async fn handle(
    context: Context,
    request: ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter();
        let partitions = partitions.map(|wanted| answer(&context, &topic.name, wanted, version)).collect();
        ListOffsetsTopicResponse { name: topic.name, partitions }
    });
    ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
}

fn answer(
    context: &Context,
    topic: &str,
    wanted: &ListOffsetsPartition,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let partition_index = wanted.partition_index;
    match find(context, topic, wanted) {
        Ok(timed) => ListOffsetsPartitionResponse {
            partition_index,
            timestamp: timed.timestamp_ms,
            offset: timed.offset,
            leader_epoch: if version >= EPOCH_SINCE { context.broker.leader_epoch } else { -1 },
            ..Default::default()
        },
        Err(code) => {
            ListOffsetsPartitionResponse { partition_index, error_code: code.code(), ..Default::default() }
        }
    }
}

fn find(context: &Context, topic: &str, wanted: &ListOffsetsPartition) -> Result<Timed, ErrorCode> {
    if !context.allows_topic(Operation::Describe, topic) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    check_epoch(context, wanted.current_leader_epoch)?;
    let topic = context.broker.topics.by_name(topic);
    let partition = topic.and_then(|topic| topic.partition(wanted.partition_index));
    let partition = partition.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    partition.offset_at(wanted.timestamp).map_err(|refusal| refusal.code)
}
