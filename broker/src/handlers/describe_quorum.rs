//! DescribeQuorum: this node is the only voter for the cluster's metadata, and leads.
//!
//! There is no log `__cluster_metadata` to read; the broker's own table stands for it, with its end as high watermark.

use kafka_wire::{
    ErrorCode,
    messages::{
        DescribeQuorumRequest, DescribeQuorumResponse,
        describe_quorum::{DescribedPartition, DescribedTopic, Listener, Node, PartitionData, ReplicaState},
    },
};
use runtime::clock;
use uuid::Uuid;

use crate::{
    access::Operation,
    broker::{Context, NODE_ID},
};

const METADATA_TOPIC: &str = "__cluster_metadata";
const METADATA_PARTITION: i32 = 0;
/// From this version on the answer names the nodes.
const NODES_SINCE: i16 = 2;
const LISTENER: &str = "CONTROLLER";

pub(crate) async fn handle(
    context: Context,
    request: DescribeQuorumRequest,
    version: i16,
) -> DescribeQuorumResponse {
    if !context.allows_cluster(Operation::Describe) {
        let code = ErrorCode::ClusterAuthorizationFailed;
        return DescribeQuorumResponse {
            error_code: code.code(),
            error_message: Some(code.description().to_owned()),
            ..Default::default()
        };
    }
    let topics = request.topics.into_iter().map(|topic| {
        let is_metadata = topic.topic_name == METADATA_TOPIC;
        let partition = |wanted: &PartitionData| match wanted.partition_index {
            METADATA_PARTITION if is_metadata => metadata(&context),
            other => unknown(other),
        };
        DescribedTopic {
            partitions: topic.partitions.iter().map(partition).collect(),
            topic_name: topic.topic_name,
        }
    });
    let topics = topics.collect();
    let nodes = if version >= NODES_SINCE { vec![node(&context)] } else { Vec::new() };
    DescribeQuorumResponse { topics, nodes, ..Default::default() }
}

fn metadata(context: &Context) -> DescribedPartition {
    let end = context.broker.topics.metadata_end();
    let now_ms = clock::unix_ms();
    let voter = ReplicaState {
        replica_id: NODE_ID,
        replica_directory_id: Uuid::nil(),
        log_end_offset: end,
        last_fetch_timestamp: now_ms,
        last_caught_up_timestamp: now_ms,
    };
    DescribedPartition {
        partition_index: METADATA_PARTITION,
        leader_id: NODE_ID,
        leader_epoch: context.broker.leader_epoch,
        high_watermark: end,
        current_voters: vec![voter],
        ..Default::default()
    }
}

fn unknown(partition_index: i32) -> DescribedPartition {
    let code = ErrorCode::UnknownTopicOrPartition;
    DescribedPartition {
        partition_index,
        error_code: code.code(),
        error_message: Some(code.description().to_owned()),
        leader_id: -1,
        leader_epoch: -1,
        high_watermark: -1,
        ..Default::default()
    }
}

fn node(context: &Context) -> Node {
    let port = u16::try_from(context.port()).unwrap_or(0);
    Node {
        node_id: NODE_ID,
        listeners: vec![Listener { name: LISTENER.to_owned(), host: context.host(), port }],
    }
}
