//! OffsetForLeaderEpoch (key 23): asks where a leader epoch ended.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: asks where a leader epoch ended.
    OffsetForLeaderEpochRequest, versions 2..=4, flexible 4;
    /// The broker ID of the follower, of -1 if this request is from a consumer.
    replica_id: i32 = -2, since(3).ignorable();
    /// Each topic to get offsets for.
    topics: Vec<OffsetForLeaderTopic>, always();
}

message! {
    /// An element of [`OffsetForLeaderEpochRequest::topics`].
    OffsetForLeaderTopic, versions 2..=4, flexible 4;
    /// The topic name.
    topic: String, always();
    /// Each partition to get offsets for.
    partitions: Vec<OffsetForLeaderPartition>, always();
}

message! {
    /// An element of [`OffsetForLeaderTopic::partitions`].
    OffsetForLeaderPartition, versions 2..=4, flexible 4;
    /// The partition index.
    partition: i32, always();
    /// An epoch used to fence consumers/replicas with old metadata. If the epoch provided by the client is
    /// larger than the current epoch known to the broker, then the UNKNOWN_LEADER_EPOCH error code will be
    /// returned. If the provided epoch is smaller, then the FENCED_LEADER_EPOCH error code will be returned.
    current_leader_epoch: i32 = -1, always();
    /// The epoch to look up an offset for.
    leader_epoch: i32, always();
}

impl Request for OffsetForLeaderEpochRequest {
    const API_KEY: ApiKey = ApiKey::OffsetForLeaderEpoch;
    type Response = OffsetForLeaderEpochResponse;
}

message! {
    /// The answer to [`OffsetForLeaderEpochRequest`].
    OffsetForLeaderEpochResponse, versions 2..=4, flexible 4;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// Each topic we fetched offsets for.
    topics: Vec<OffsetForLeaderTopicResult>, always();
}

message! {
    /// An element of [`OffsetForLeaderEpochResponse::topics`].
    OffsetForLeaderTopicResult, versions 2..=4, flexible 4;
    /// The topic name.
    topic: String, always();
    /// Each partition in the topic we fetched offsets for.
    partitions: Vec<EpochEndOffset>, always();
}

message! {
    /// An element of [`OffsetForLeaderTopicResult::partitions`].
    EpochEndOffset, versions 2..=4, flexible 4;
    /// The error code 0, or if there was no error.
    error_code: i16, always();
    /// The partition index.
    partition: i32, always();
    /// The leader epoch of the partition.
    leader_epoch: i32 = -1, always();
    /// The end offset of the epoch.
    end_offset: i64 = -1, always();
}
