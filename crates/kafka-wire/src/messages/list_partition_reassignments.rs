//! ListPartitionReassignments (key 46): lists replicas that are being moved.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message};

message! {
    /// The request: lists replicas that are being moved.
    ListPartitionReassignmentsRequest, versions 0..=0, flexible 0;
    /// The time in ms to wait for the request to complete.
    timeout_ms: i32 = 60000, always();
    /// The topics to list partition reassignments for, or null to list everything.
    topics: Option<Vec<ListPartitionReassignmentsTopics>>, always();
}

message! {
    /// An element of [`ListPartitionReassignmentsRequest::topics`].
    ListPartitionReassignmentsTopics, versions 0..=0, flexible 0;
    /// The topic name.
    name: String, always();
    /// The partitions to list partition reassignments for.
    partition_indexes: Vec<i32>, always();
}

impl Request for ListPartitionReassignmentsRequest {
    const API_KEY: ApiKey = ApiKey::ListPartitionReassignments;
    type Response = ListPartitionReassignmentsResponse;
}

message! {
    /// The answer to [`ListPartitionReassignmentsRequest`].
    ListPartitionReassignmentsResponse, versions 0..=0, flexible 0;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The top-level error code, or 0 if there was no error.
    error_code: i16, always();
    /// The top-level error message, or null if there was no error.
    error_message: Option<String> = Some(Default::default()), always();
    /// The ongoing reassignments for each topic.
    topics: Vec<OngoingTopicReassignment>, always();
}

message! {
    /// An element of [`ListPartitionReassignmentsResponse::topics`].
    OngoingTopicReassignment, versions 0..=0, flexible 0;
    /// The topic name.
    name: String, always();
    /// The ongoing reassignments for each partition.
    partitions: Vec<OngoingPartitionReassignment>, always();
}

message! {
    /// An element of [`OngoingTopicReassignment::partitions`].
    OngoingPartitionReassignment, versions 0..=0, flexible 0;
    /// The index of the partition.
    partition_index: i32, always();
    /// The current replica set.
    replicas: Vec<i32>, always();
    /// The set of replicas we are currently adding.
    adding_replicas: Vec<i32>, always();
    /// The set of replicas we are currently removing.
    removing_replicas: Vec<i32>, always();
}
