//! DeleteRecords: the beginning of partitions, up to an offset.

use kafka_wire::{
    ErrorCode,
    messages::{
        DeleteRecordsRequest, DeleteRecordsResponse,
        delete_records::{DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
    },
};

use crate::{access::Operation, broker::Context};

pub(crate) async fn handle(context: Context, request: DeleteRecordsRequest, _: i16) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let outcome = delete(&context, &topic.name, wanted);
            DeleteRecordsPartitionResult {
                partition_index: wanted.partition_index,
                low_watermark: outcome.unwrap_or(-1),
                error_code: outcome.err().unwrap_or(ErrorCode::None).code(),
            }
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult { name: topic.name, partitions }
    });
    DeleteRecordsResponse { topics: topics.collect(), ..Default::default() }
}

fn delete(context: &Context, topic: &str, wanted: &DeleteRecordsPartition) -> Result<i64, ErrorCode> {
    if !context.allows_topic(Operation::Delete, topic) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let topic = context.broker.topics.by_name(topic);
    let partition = topic.and_then(|topic| topic.partition(wanted.partition_index));
    let partition = partition.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    partition.delete_before(wanted.offset).map_err(|refusal| refusal.code)
}
