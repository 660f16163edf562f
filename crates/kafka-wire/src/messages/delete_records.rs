//! DeleteRecords (key 21): moves the start of partitions forward.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message};

message! {
    /// The request: moves the start of partitions forward.
    DeleteRecordsRequest, versions 0..=2, flexible 2;
    /// Each topic that we want to delete records from.
    topics: Vec<DeleteRecordsTopic>, always();
    /// How long to wait for the deletion to complete, in milliseconds.
    timeout_ms: i32, always();
}

message! {
    /// An element of [`DeleteRecordsRequest::topics`].
    DeleteRecordsTopic, versions 0..=2, flexible 2;
    /// The topic name.
    name: String, always();
    /// Each partition that we want to delete records from.
    partitions: Vec<DeleteRecordsPartition>, always();
}

message! {
    /// An element of [`DeleteRecordsTopic::partitions`].
    DeleteRecordsPartition, versions 0..=2, flexible 2;
    /// The partition index.
    partition_index: i32, always();
    /// The deletion offset.
    offset: i64, always();
}

impl Request for DeleteRecordsRequest {
    const API_KEY: ApiKey = ApiKey::DeleteRecords;
    type Response = DeleteRecordsResponse;
}

message! {
    /// The answer to [`DeleteRecordsRequest`].
    DeleteRecordsResponse, versions 0..=2, flexible 2;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// Each topic that we wanted to delete records from.
    topics: Vec<DeleteRecordsTopicResult>, always();
}

message! {
    /// An element of [`DeleteRecordsResponse::topics`].
    DeleteRecordsTopicResult, versions 0..=2, flexible 2;
    /// The topic name.
    name: String, always();
    /// Each partition that we wanted to delete records from.
    partitions: Vec<DeleteRecordsPartitionResult>, always();
}

message! {
    /// An element of [`DeleteRecordsTopicResult::partitions`].
    DeleteRecordsPartitionResult, versions 0..=2, flexible 2;
    /// The partition index.
    partition_index: i32, always();
    /// The partition low water mark.
    low_watermark: i64, always();
    /// The deletion error code, or 0 if the deletion succeeded.
    error_code: i16, always();
}
