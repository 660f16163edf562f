//! DescribeProducers: which producers a partition knows, and whose transactions are open in it.

use kafka_wire::{
    ErrorCode,
    messages::{
        DescribeProducersRequest, DescribeProducersResponse,
        describe_producers::{PartitionResponse, ProducerState, TopicResponse},
    },
};

use crate::{access::Operation, broker::Context, partition::producers::Known};

pub(crate) async fn handle(
    context: Context,
    request: DescribeProducersRequest,
    _: i16,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| {
            let found = find(&context, &topic.name, *index);
            PartitionResponse {
                partition_index: *index,
                error_code: found.as_ref().err().copied().unwrap_or(ErrorCode::None).code(),
                active_producers: found.unwrap_or_default(),
                ..Default::default()
            }
        });
        let partitions = partitions.collect();
        TopicResponse { name: topic.name, partitions }
    });
    DescribeProducersResponse { topics: topics.collect(), ..Default::default() }
}

fn find(context: &Context, topic: &str, index: i32) -> Result<Vec<ProducerState>, ErrorCode> {
    if !context.allows_topic(Operation::Read, topic) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let topic = context.broker.topics.by_name(topic);
    let partition = topic.and_then(|topic| topic.partition(index));
    let partition = partition.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    Ok(partition.producers().iter().map(state).collect())
}

fn state(known: &Known) -> ProducerState {
    ProducerState {
        producer_id: known.producer_id,
        producer_epoch: i32::from(known.epoch),
        last_sequence: known.last_sequence,
        last_timestamp: known.last_ms,
        coordinator_epoch: known.coordinator_epoch,
        current_txn_start_offset: known.first_offset.unwrap_or(-1),
    }
}
