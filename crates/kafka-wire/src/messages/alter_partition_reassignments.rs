//! AlterPartitionReassignments (key 45): moves replicas between nodes.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: moves replicas between nodes.
    AlterPartitionReassignmentsRequest, versions 0..=1, flexible 0;
    /// The time in ms to wait for the request to complete.
    timeout_ms: i32 = 60000, always();
    /// The option indicating whether changing the replication factor of any given partition as part of this
    /// request is a valid move.
    allow_replication_factor_change: bool = true, since(1);
    /// The topics to reassign.
    topics: Vec<ReassignableTopic>, always();
}

message! {
    /// An element of [`AlterPartitionReassignmentsRequest::topics`].
    ReassignableTopic, versions 0..=1, flexible 0;
    /// The topic name.
    name: String, always();
    /// The partitions to reassign.
    partitions: Vec<ReassignablePartition>, always();
}

message! {
    /// An element of [`ReassignableTopic::partitions`].
    ReassignablePartition, versions 0..=1, flexible 0;
    /// The partition index.
    partition_index: i32, always();
    /// The replicas to place the partitions on, or null to cancel a pending reassignment for this partition.
    replicas: Option<Vec<i32>>, always();
}

impl Request for AlterPartitionReassignmentsRequest {
    const API_KEY: ApiKey = ApiKey::AlterPartitionReassignments;
    type Response = AlterPartitionReassignmentsResponse;
}

message! {
    /// The answer to [`AlterPartitionReassignmentsRequest`].
    AlterPartitionReassignmentsResponse, versions 0..=1, flexible 0;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The option indicating whether changing the replication factor of any given partition as part of the
    /// request was allowed.
    allow_replication_factor_change: bool = true, since(1).ignorable();
    /// The top-level error code, or 0 if there was no error.
    error_code: i16, always();
    /// The top-level error message, or null if there was no error.
    error_message: Option<String> = Some(Default::default()), always();
    /// The responses to topics to reassign.
    responses: Vec<ReassignableTopicResponse>, always();
}

message! {
    /// An element of [`AlterPartitionReassignmentsResponse::responses`].
    ReassignableTopicResponse, versions 0..=1, flexible 0;
    /// The topic name.
    name: String, always();
    /// The responses to partitions to reassign.
    partitions: Vec<ReassignablePartitionResponse>, always();
}

message! {
    /// An element of [`ReassignableTopicResponse::partitions`].
    ReassignablePartitionResponse, versions 0..=1, flexible 0;
    /// The partition index.
    partition_index: i32, always();
    /// The error code for this partition, or 0 if there was no error.
    error_code: i16, always();
    /// The error message for this partition, or null if there was no error.
    error_message: Option<String> = Some(Default::default()), always();
}
