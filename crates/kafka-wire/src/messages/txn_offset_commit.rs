//! TxnOffsetCommit (key 28): commits offsets within a transaction.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: commits offsets within a transaction.
    TxnOffsetCommitRequest, versions 0..=5, flexible 3;
    /// The ID of the transaction.
    transactional_id: String, always();
    /// The ID of the group.
    group_id: String, always();
    /// The current producer ID in use by the transactional ID.
    producer_id: i64, always();
    /// The current epoch associated with the producer ID.
    producer_epoch: i16, always();
    /// The generation of the consumer.
    generation_id: i32 = -1, since(3);
    /// The member ID assigned by the group coordinator.
    member_id: String, since(3);
    /// The unique identifier of the consumer instance provided by end user.
    group_instance_id: Option<String>, since(3);
    /// Each topic that we want to commit offsets for.
    topics: Vec<TxnOffsetCommitRequestTopic>, always();
}

message! {
    /// An element of [`TxnOffsetCommitRequest::topics`].
    TxnOffsetCommitRequestTopic, versions 0..=5, flexible 3;
    /// The topic name.
    name: String, always();
    /// The partitions inside the topic that we want to commit offsets for.
    partitions: Vec<TxnOffsetCommitRequestPartition>, always();
}

message! {
    /// An element of [`TxnOffsetCommitRequestTopic::partitions`].
    TxnOffsetCommitRequestPartition, versions 0..=5, flexible 3;
    /// The index of the partition within the topic.
    partition_index: i32, always();
    /// The message offset to be committed.
    committed_offset: i64, always();
    /// The leader epoch of the last consumed record.
    committed_leader_epoch: i32 = -1, since(2).ignorable();
    /// Any associated metadata the client wants to keep.
    committed_metadata: Option<String> = Some(Default::default()), always();
}

impl Request for TxnOffsetCommitRequest {
    const API_KEY: ApiKey = ApiKey::TxnOffsetCommit;
    type Response = TxnOffsetCommitResponse;
}

message! {
    /// The answer to [`TxnOffsetCommitRequest`].
    TxnOffsetCommitResponse, versions 0..=5, flexible 3;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The responses for each topic.
    topics: Vec<TxnOffsetCommitResponseTopic>, always();
}

message! {
    /// An element of [`TxnOffsetCommitResponse::topics`].
    TxnOffsetCommitResponseTopic, versions 0..=5, flexible 3;
    /// The topic name.
    name: String, always();
    /// The responses for each partition in the topic.
    partitions: Vec<TxnOffsetCommitResponsePartition>, always();
}

message! {
    /// An element of [`TxnOffsetCommitResponseTopic::partitions`].
    TxnOffsetCommitResponsePartition, versions 0..=5, flexible 3;
    /// The partition index.
    partition_index: i32, always();
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
}
