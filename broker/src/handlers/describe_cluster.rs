//! DescribeCluster: one node.

use kafka_wire::messages::{
    DescribeClusterRequest, DescribeClusterResponse, describe_cluster::DescribeClusterBroker,
};

use crate::broker::{Context, NODE_ID};

pub(crate) async fn handle(
    context: Context,
    request: DescribeClusterRequest,
    _: i16,
) -> DescribeClusterResponse {
    let wanted = request.include_cluster_authorized_operations;
    DescribeClusterResponse {
        cluster_authorized_operations: if wanted { context.cluster_operations() } else { i32::MIN },
        endpoint_type: request.endpoint_type,
        cluster_id: context.broker.cluster_id.clone(),
        controller_id: NODE_ID,
        brokers: vec![DescribeClusterBroker {
            broker_id: NODE_ID,
            host: context.host(),
            port: context.port(),
            ..Default::default()
        }],
        ..Default::default()
    }
}
