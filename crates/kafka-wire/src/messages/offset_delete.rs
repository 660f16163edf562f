//! OffsetDelete (key 47): deletes a group's offsets of topics.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message};

message! {
    /// The request: deletes a group's offsets of topics.
    OffsetDeleteRequest, versions 0..=0, flexible i16::MAX;
    /// The unique group identifier.
    group_id: String, always();
    /// The topics to delete offsets for.
    topics: Vec<OffsetDeleteRequestTopic>, always();
}

message! {
    /// An element of [`OffsetDeleteRequest::topics`].
    OffsetDeleteRequestTopic, versions 0..=0, flexible i16::MAX;
    /// The topic name.
    name: String, always();
    /// Each partition to delete offsets for.
    partitions: Vec<OffsetDeleteRequestPartition>, always();
}

message! {
    /// An element of [`OffsetDeleteRequestTopic::partitions`].
    OffsetDeleteRequestPartition, versions 0..=0, flexible i16::MAX;
    /// The partition index.
    partition_index: i32, always();
}

impl Request for OffsetDeleteRequest {
    const API_KEY: ApiKey = ApiKey::OffsetDelete;
    type Response = OffsetDeleteResponse;
}

message! {
    /// The answer to [`OffsetDeleteRequest`].
    OffsetDeleteResponse, versions 0..=0, flexible i16::MAX;
    /// The top-level error code, or 0 if there was no error.
    error_code: i16, always();
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The responses for each topic.
    topics: Vec<OffsetDeleteResponseTopic>, always();
}

message! {
    /// An element of [`OffsetDeleteResponse::topics`].
    OffsetDeleteResponseTopic, versions 0..=0, flexible i16::MAX;
    /// The topic name.
    name: String, always();
    /// The responses for each partition in the topic.
    partitions: Vec<OffsetDeleteResponsePartition>, always();
}

message! {
    /// An element of [`OffsetDeleteResponseTopic::partitions`].
    OffsetDeleteResponsePartition, versions 0..=0, flexible i16::MAX;
    /// The partition index.
    partition_index: i32, always();
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
}
