//! WriteTxnMarkers: an operator ends what a producer left open in partitions. Whether the transaction's own
//! coordinator knows of it is not asked, as in Kafka.

use std::sync::Arc;

use kafka_wire::{
    ErrorCode,
    messages::{
        WriteTxnMarkersRequest, WriteTxnMarkersResponse,
        write_txn_markers::{
            WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
            WritableTxnMarkerTopicResult,
        },
    },
    records::Marker,
};

use crate::{access::Operation, broker::Context, partition::Partition};

pub(crate) async fn handle(
    context: Context,
    request: WriteTxnMarkersRequest,
    _: i16,
) -> WriteTxnMarkersResponse {
    let allowed =
        context.allows_cluster(Operation::ClusterAction) || context.allows_cluster(Operation::Alter);
    let mut markers = Vec::with_capacity(request.markers.len());
    for wanted in request.markers {
        markers.push(write(&context, wanted, allowed).await);
    }
    WriteTxnMarkersResponse { markers }
}

async fn write(context: &Context, wanted: WritableTxnMarker, allowed: bool) -> WritableTxnMarkerResult {
    let marker = Marker { committed: wanted.transaction_result, coordinator_epoch: wanted.coordinator_epoch };
    let producer = (wanted.producer_id, wanted.producer_epoch);
    let mut topics = Vec::with_capacity(wanted.topics.len());
    for topic in wanted.topics {
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            let outcome = match find(context, &topic.name, index) {
                _ if !allowed => Err(ErrorCode::ClusterAuthorizationFailed),
                None => Err(ErrorCode::UnknownTopicOrPartition),
                Some(partition) => partition.mark(producer, marker).await.map_err(|refusal| refusal.code),
            };
            let error_code = outcome.err().unwrap_or(ErrorCode::None).code();
            partitions.push(WritableTxnMarkerPartitionResult { partition_index: index, error_code });
        }
        topics.push(WritableTxnMarkerTopicResult { name: topic.name, partitions });
    }
    WritableTxnMarkerResult { producer_id: wanted.producer_id, topics }
}

fn find(context: &Context, topic: &str, index: i32) -> Option<Arc<Partition>> {
    context.broker.topics.by_name(topic)?.partition(index)
}
