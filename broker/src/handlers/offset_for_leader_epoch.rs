//! OffsetForLeaderEpoch: where the records of an epoch end. Each run of the broker is an epoch.

use kafka_wire::{
    ErrorCode,
    messages::{
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        offset_for_leader_epoch::{EpochEndOffset, OffsetForLeaderPartition, OffsetForLeaderTopicResult},
    },
};

use super::fetch::check_epoch;
use crate::{access::Operation, broker::Context};

pub(crate) async fn handle(
    context: Context,
    request: OffsetForLeaderEpochRequest,
    _: i16,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions =
            topic.partitions.iter().map(|wanted| answer(&context, &topic.topic, wanted)).collect();
        OffsetForLeaderTopicResult { topic: topic.topic, partitions }
    });
    OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() }
}

fn answer(context: &Context, topic: &str, wanted: &OffsetForLeaderPartition) -> EpochEndOffset {
    let partition = wanted.partition;
    match find(context, topic, wanted) {
        Ok((leader_epoch, end_offset)) => {
            EpochEndOffset { partition, leader_epoch, end_offset, ..Default::default() }
        }
        Err(code) => EpochEndOffset { partition, error_code: code.code(), ..Default::default() },
    }
}

fn find(context: &Context, topic: &str, wanted: &OffsetForLeaderPartition) -> Result<(i32, i64), ErrorCode> {
    if !context.allows_topic(Operation::Describe, topic) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    check_epoch(context, wanted.current_leader_epoch)?;
    let topic = context.broker.topics.by_name(topic);
    let partition = topic.and_then(|topic| topic.partition(wanted.partition));
    let partition = partition.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if !(0..=context.broker.leader_epoch).contains(&wanted.leader_epoch) {
        return Ok((-1, -1));
    }
    partition.end_of_epoch(wanted.leader_epoch).map_err(|refusal| refusal.code)
}
