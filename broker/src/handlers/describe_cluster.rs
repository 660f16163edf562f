//! DescribeCluster: one node.

use kafka_wire::{
    ErrorCode,
    messages::{DescribeClusterRequest, DescribeClusterResponse, describe_cluster::DescribeClusterBroker},
};

use crate::broker::{Context, NODE_ID};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) async fn handle(
    context: Context,
    request: DescribeClusterRequest,
    _: i16,
) -> DescribeClusterResponse {
    let refused = match request.endpoint_type {
        BROKERS => None,
        // A node of Kafka that is both answers so on its broker's port.
        CONTROLLERS => Some(ErrorCode::MismatchedEndpointType),
        _ => Some(ErrorCode::UnsupportedEndpointType),
    };
    if let Some(code) = refused {
        let error_message = Some("ask for the endpoint type 1 (brokers)".to_owned());
        return DescribeClusterResponse { error_code: code.code(), error_message, ..Default::default() };
    }
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
