//! OffsetCommit (key 8): stores how far a group has read.

use uuid::Uuid;

use crate::api_key::ApiKey;
use crate::schema::{Request, always, between, message, since};

message! {
    /// The request: stores how far a group has read.
    OffsetCommitRequest, versions 2..=10, flexible 8;
    /// The unique group identifier.
    group_id: String, always();
    /// The generation of the group if using the classic group protocol or the member epoch if using the
    /// consumer protocol.
    generation_id_or_member_epoch: i32 = -1, always();
    /// The member ID assigned by the group coordinator.
    member_id: String, always();
    /// The unique identifier of the consumer instance provided by end user.
    group_instance_id: Option<String>, since(7);
    /// The time period in ms to retain the offset.
    retention_time_ms: i64 = -1, between(2, 4).ignorable();
    /// The topics to commit offsets for.
    topics: Vec<OffsetCommitRequestTopic>, always();
}

message! {
    /// An element of [`OffsetCommitRequest::topics`].
    OffsetCommitRequestTopic, versions 2..=10, flexible 8;
    /// The topic name.
    name: String, between(2, 9).ignorable();
    /// The topic ID.
    topic_id: Uuid, since(10).ignorable();
    /// Each partition to commit offsets for.
    partitions: Vec<OffsetCommitRequestPartition>, always();
}

message! {
    /// An element of [`OffsetCommitRequestTopic::partitions`].
    OffsetCommitRequestPartition, versions 2..=10, flexible 8;
    /// The partition index.
    partition_index: i32, always();
    /// The message offset to be committed.
    committed_offset: i64, always();
    /// The leader epoch of this partition.
    committed_leader_epoch: i32 = -1, since(6).ignorable();
    /// Any associated metadata the client wants to keep.
    committed_metadata: Option<String> = Some(Default::default()), always();
}

impl Request for OffsetCommitRequest {
    const API_KEY: ApiKey = ApiKey::OffsetCommit;
    type Response = OffsetCommitResponse;
}

message! {
    /// The answer to [`OffsetCommitRequest`].
    OffsetCommitResponse, versions 2..=10, flexible 8;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, since(3).ignorable();
    /// The responses for each topic.
    topics: Vec<OffsetCommitResponseTopic>, always();
}

message! {
    /// An element of [`OffsetCommitResponse::topics`].
    OffsetCommitResponseTopic, versions 2..=10, flexible 8;
    /// The topic name.
    name: String, between(2, 9).ignorable();
    /// The topic ID.
    topic_id: Uuid, since(10).ignorable();
    /// The responses for each partition in the topic.
    partitions: Vec<OffsetCommitResponsePartition>, always();
}

message! {
    /// An element of [`OffsetCommitResponseTopic::partitions`].
    OffsetCommitResponsePartition, versions 2..=10, flexible 8;
    /// The partition index.
    partition_index: i32, always();
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
}
