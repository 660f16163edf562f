//! CreatePartitions (key 37): adds partitions to topics.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message};

message! {
    /// The request: adds partitions to topics.
    CreatePartitionsRequest, versions 0..=3, flexible 2;
    /// Each topic that we want to create new partitions inside.
    topics: Vec<CreatePartitionsTopic>, always();
    /// The time in ms to wait for the partitions to be created.
    timeout_ms: i32, always();
    /// If true, then validate the request, but don't actually increase the number of partitions.
    validate_only: bool, always();
}

message! {
    /// An element of [`CreatePartitionsRequest::topics`].
    CreatePartitionsTopic, versions 0..=3, flexible 2;
    /// The topic name.
    name: String, always();
    /// The new partition count.
    count: i32, always();
    /// The new partition assignments.
    assignments: Option<Vec<CreatePartitionsAssignment>> = Some(Default::default()), always();
}

message! {
    /// An element of [`CreatePartitionsTopic::assignments`].
    CreatePartitionsAssignment, versions 0..=3, flexible 2;
    /// The assigned broker IDs.
    broker_ids: Vec<i32>, always();
}

impl Request for CreatePartitionsRequest {
    const API_KEY: ApiKey = ApiKey::CreatePartitions;
    type Response = CreatePartitionsResponse;
}

message! {
    /// The answer to [`CreatePartitionsRequest`].
    CreatePartitionsResponse, versions 0..=3, flexible 2;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The partition creation results for each topic.
    results: Vec<CreatePartitionsTopicResult>, always();
}

message! {
    /// An element of [`CreatePartitionsResponse::results`].
    CreatePartitionsTopicResult, versions 0..=3, flexible 2;
    /// The topic name.
    name: String, always();
    /// The result error, or zero if there was no error.
    error_code: i16, always();
    /// The result message, or null if there was no error.
    error_message: Option<String>, always();
}
