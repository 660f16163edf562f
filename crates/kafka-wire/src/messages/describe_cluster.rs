//! DescribeCluster (key 60): names the nodes and the controller.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: names the nodes and the controller.
    DescribeClusterRequest, versions 0..=2, flexible 0;
    /// Whether to include cluster authorized operations.
    include_cluster_authorized_operations: bool, always();
    /// The endpoint type to describe. 1=brokers, 2=controllers.
    endpoint_type: i8 = 1, since(1);
    /// Whether to include fenced brokers when listing brokers.
    include_fenced_brokers: bool, since(2);
}

impl Request for DescribeClusterRequest {
    const API_KEY: ApiKey = ApiKey::DescribeCluster;
    type Response = DescribeClusterResponse;
}

message! {
    /// The answer to [`DescribeClusterRequest`].
    DescribeClusterResponse, versions 0..=2, flexible 0;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The top-level error code, or 0 if there was no error.
    error_code: i16, always();
    /// The top-level error message, or null if there was no error.
    error_message: Option<String>, always();
    /// The endpoint type that was described. 1=brokers, 2=controllers.
    endpoint_type: i8 = 1, since(1);
    /// The cluster ID that responding broker belongs to.
    cluster_id: String, always();
    /// The ID of the controller broker.
    controller_id: i32 = -1, always();
    /// Each broker in the response.
    brokers: Vec<DescribeClusterBroker>, always();
    /// 32-bit bitfield to represent authorized operations for this cluster.
    cluster_authorized_operations: i32 = i32::MIN, always();
}

message! {
    /// An element of [`DescribeClusterResponse::brokers`].
    DescribeClusterBroker, versions 0..=2, flexible 0;
    /// The broker ID.
    broker_id: i32, always();
    /// The broker hostname.
    host: String, always();
    /// The broker port.
    port: i32, always();
    /// The rack of the broker, or null if it has not been assigned to a rack.
    rack: Option<String>, always();
    /// Whether the broker is fenced
    is_fenced: bool, since(2);
}
