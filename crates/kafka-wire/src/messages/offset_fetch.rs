//! OffsetFetch (key 9): asks how far a group has read.

use uuid::Uuid;

use crate::api_key::ApiKey;
use crate::schema::{Request, between, message, since};

message! {
    /// The request: asks how far a group has read.
    OffsetFetchRequest, versions 1..=10, flexible 6;
    /// The group to fetch offsets for.
    group_id: String, between(1, 7);
    /// Each topic we would like to fetch offsets for, or null to fetch offsets for all topics.
    topics: Option<Vec<OffsetFetchRequestTopic>> = Some(Default::default()), between(1, 7).null_since(2);
    /// Each group we would like to fetch offsets for.
    groups: Vec<OffsetFetchRequestGroup>, since(8);
    /// Whether broker should hold on returning unstable offsets but set a retriable error code for the
    /// partitions.
    require_stable: bool, since(7);
}

message! {
    /// An element of [`OffsetFetchRequest::topics`].
    OffsetFetchRequestTopic, versions 1..=10, flexible 6;
    /// The topic name.
    name: String, between(1, 7);
    /// The partition indexes we would like to fetch offsets for.
    partition_indexes: Vec<i32>, between(1, 7);
}

message! {
    /// An element of [`OffsetFetchRequest::groups`].
    OffsetFetchRequestGroup, versions 1..=10, flexible 6;
    /// The group ID.
    group_id: String, since(8);
    /// The member id.
    member_id: Option<String>, since(9).ignorable();
    /// The member epoch if using the new consumer protocol (KIP-848).
    member_epoch: i32 = -1, since(9).ignorable();
    /// Each topic we would like to fetch offsets for, or null to fetch offsets for all topics.
    topics: Option<Vec<OffsetFetchRequestTopics>> = Some(Default::default()), since(8);
}

message! {
    /// An element of [`OffsetFetchRequestGroup::topics`].
    OffsetFetchRequestTopics, versions 1..=10, flexible 6;
    /// The topic name.
    name: String, between(8, 9).ignorable();
    /// The topic ID.
    topic_id: Uuid, since(10).ignorable();
    /// The partition indexes we would like to fetch offsets for.
    partition_indexes: Vec<i32>, since(8);
}

impl Request for OffsetFetchRequest {
    const API_KEY: ApiKey = ApiKey::OffsetFetch;
    type Response = OffsetFetchResponse;
}

message! {
    /// The answer to [`OffsetFetchRequest`].
    OffsetFetchResponse, versions 1..=10, flexible 6;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, since(3).ignorable();
    /// The responses per topic.
    topics: Vec<OffsetFetchResponseTopic>, between(1, 7);
    /// The top-level error code, or 0 if there was no error.
    error_code: i16, between(2, 7).ignorable();
    /// The responses per group id.
    groups: Vec<OffsetFetchResponseGroup>, since(8);
}

message! {
    /// An element of [`OffsetFetchResponse::topics`].
    OffsetFetchResponseTopic, versions 1..=10, flexible 6;
    /// The topic name.
    name: String, between(1, 7);
    /// The responses per partition.
    partitions: Vec<OffsetFetchResponsePartition>, between(1, 7);
}

message! {
    /// An element of [`OffsetFetchResponse::groups`].
    OffsetFetchResponseGroup, versions 1..=10, flexible 6;
    /// The group ID.
    group_id: String, since(8);
    /// The responses per topic.
    topics: Vec<OffsetFetchResponseTopics>, since(8);
    /// The group-level error code, or 0 if there was no error.
    error_code: i16, since(8);
}

message! {
    /// An element of [`OffsetFetchResponseTopic::partitions`].
    OffsetFetchResponsePartition, versions 1..=10, flexible 6;
    /// The partition index.
    partition_index: i32, between(1, 7);
    /// The committed message offset.
    committed_offset: i64, between(1, 7);
    /// The leader epoch.
    committed_leader_epoch: i32 = -1, between(5, 7).ignorable();
    /// The partition metadata.
    metadata: Option<String> = Some(Default::default()), between(1, 7);
    /// The error code, or 0 if there was no error.
    error_code: i16, between(1, 7);
}

message! {
    /// An element of [`OffsetFetchResponseGroup::topics`].
    OffsetFetchResponseTopics, versions 1..=10, flexible 6;
    /// The topic name.
    name: String, between(8, 9).ignorable();
    /// The topic ID.
    topic_id: Uuid, since(10).ignorable();
    /// The responses per partition.
    partitions: Vec<OffsetFetchResponsePartitions>, since(8);
}

message! {
    /// An element of [`OffsetFetchResponseTopics::partitions`].
    OffsetFetchResponsePartitions, versions 1..=10, flexible 6;
    /// The partition index.
    partition_index: i32, since(8);
    /// The committed message offset.
    committed_offset: i64, since(8);
    /// The leader epoch.
    committed_leader_epoch: i32 = -1, since(8).ignorable();
    /// The partition metadata.
    metadata: Option<String> = Some(Default::default()), since(8);
    /// The partition-level error code, or 0 if there was no error.
    error_code: i16, since(8);
}
