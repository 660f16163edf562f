//! Fetch (key 1): reads record batches from partitions.

use bytes::Bytes;
use uuid::Uuid;

use crate::api_key::ApiKey;
use crate::schema::{Request, always, between, message, since};

message! {
    /// The request: reads record batches from partitions.
    FetchRequest, versions 4..=18, flexible 12;
    /// The clusterId if known. This is used to validate metadata fetches prior to broker registration.
    cluster_id: Option<String>, since(12).tag(0).ignorable();
    /// The broker ID of the follower, of -1 if this request is from a consumer.
    replica_id: i32 = -1, between(4, 14);
    /// The state of the replica in the follower.
    replica_state: ReplicaState, since(15).tag(1).ignorable();
    /// The maximum time in milliseconds to wait for the response.
    max_wait_ms: i32, always();
    /// The minimum bytes to accumulate in the response.
    min_bytes: i32, always();
    /// The maximum bytes to fetch.  See KIP-74 for cases where this limit may not be honored.
    max_bytes: i32 = i32::MAX, always();
    /// This setting controls the visibility of transactional records. Using READ_UNCOMMITTED (isolation_level =
    /// 0) makes all records visible. With READ_COMMITTED (isolation_level = 1), non-transactional and COMMITTED
    /// transactional records are visible. To be more concrete, READ_COMMITTED returns all data from offsets
    /// smaller than the current LSO (last stable offset), and enables the inclusion of the list of aborted
    /// transactions in the result, which allows consumers to discard ABORTED transactional records.
    isolation_level: i8, always();
    /// The fetch session ID.
    session_id: i32, since(7).ignorable();
    /// The fetch session epoch, which is used for ordering requests in a session.
    session_epoch: i32 = -1, since(7).ignorable();
    /// The topics to fetch.
    topics: Vec<FetchTopic>, always();
    /// In an incremental fetch request, the partitions to remove.
    forgotten_topics_data: Vec<ForgottenTopic>, since(7);
    /// Rack ID of the consumer making this request.
    rack_id: String, since(11).ignorable();
}

message! {
    /// The value of [`FetchRequest::replica_state`].
    ReplicaState, versions 4..=18, flexible 12;
    /// The replica ID of the follower, or -1 if this request is from a consumer.
    replica_id: i32 = -1, since(15);
    /// The epoch of this follower, or -1 if not available.
    replica_epoch: i64 = -1, since(15);
}

message! {
    /// An element of [`FetchRequest::topics`].
    FetchTopic, versions 4..=18, flexible 12;
    /// The name of the topic to fetch.
    topic: String, between(4, 12).ignorable();
    /// The unique topic ID.
    topic_id: Uuid, since(13).ignorable();
    /// The partitions to fetch.
    partitions: Vec<FetchPartition>, always();
}

message! {
    /// An element of [`FetchRequest::forgotten_topics_data`].
    ForgottenTopic, versions 4..=18, flexible 12;
    /// The topic name.
    topic: String, between(7, 12).ignorable();
    /// The unique topic ID.
    topic_id: Uuid, since(13).ignorable();
    /// The partitions indexes to forget.
    partitions: Vec<i32>, since(7);
}

message! {
    /// An element of [`FetchTopic::partitions`].
    FetchPartition, versions 4..=18, flexible 12;
    /// The partition index.
    partition: i32, always();
    /// The current leader epoch of the partition.
    current_leader_epoch: i32 = -1, since(9).ignorable();
    /// The message offset.
    fetch_offset: i64, always();
    /// The epoch of the last fetched record or -1 if there is none.
    last_fetched_epoch: i32 = -1, since(12);
    /// The earliest available offset of the follower replica.  The field is only used when the request is sent
    /// by the follower.
    log_start_offset: i64 = -1, since(5).ignorable();
    /// The maximum bytes to fetch from this partition.  See KIP-74 for cases where this limit may not be
    /// honored.
    partition_max_bytes: i32, always();
    /// The directory id of the follower fetching.
    replica_directory_id: Uuid, since(17).tag(0).ignorable();
    /// The high-watermark known by the replica. -1 if the high-watermark is not known and 9223372036854775807
    /// if the feature is not supported.
    high_watermark: i64 = i64::MAX, since(18).tag(1).ignorable();
}

impl Request for FetchRequest {
    const API_KEY: ApiKey = ApiKey::Fetch;
    type Response = FetchResponse;
}

message! {
    /// The answer to [`FetchRequest`].
    FetchResponse, versions 4..=18, flexible 12;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The top level response error code.
    error_code: i16, since(7).ignorable();
    /// The fetch session ID, or 0 if this is not part of a fetch session.
    session_id: i32, since(7);
    /// The response topics.
    responses: Vec<FetchableTopicResponse>, always();
    /// Endpoints for all current-leaders enumerated in PartitionData, with errors NOT_LEADER_OR_FOLLOWER &
    /// FENCED_LEADER_EPOCH.
    node_endpoints: Vec<NodeEndpoint>, since(16).tag(0).ignorable();
}

message! {
    /// An element of [`FetchResponse::responses`].
    FetchableTopicResponse, versions 4..=18, flexible 12;
    /// The topic name.
    topic: String, between(4, 12).ignorable();
    /// The unique topic ID.
    topic_id: Uuid, since(13).ignorable();
    /// The topic partitions.
    partitions: Vec<PartitionData>, always();
}

message! {
    /// An element of [`FetchResponse::node_endpoints`].
    NodeEndpoint, versions 4..=18, flexible 12;
    /// The ID of the associated node.
    node_id: i32, since(16);
    /// The node's hostname.
    host: String, since(16);
    /// The node's port.
    port: i32, since(16);
    /// The rack of the node, or null if it has not been assigned to a rack.
    rack: Option<String>, since(16);
}

message! {
    /// An element of [`FetchableTopicResponse::partitions`].
    PartitionData, versions 4..=18, flexible 12;
    /// The partition index.
    partition_index: i32, always();
    /// The error code, or 0 if there was no fetch error.
    error_code: i16, always();
    /// The current high water mark.
    high_watermark: i64, always();
    /// The last stable offset (or LSO) of the partition. This is the last offset such that the state of all
    /// transactional records prior to this offset have been decided (ABORTED or COMMITTED).
    last_stable_offset: i64 = -1, always();
    /// The current log start offset.
    log_start_offset: i64 = -1, since(5).ignorable();
    /// In case divergence is detected based on the `LastFetchedEpoch` and `FetchOffset` in the request, this
    /// field indicates the largest epoch and its end offset such that subsequent records are known to diverge.
    diverging_epoch: EpochEndOffset, since(12).tag(0).ignorable();
    /// The current leader of the partition.
    current_leader: LeaderIdAndEpoch, since(12).tag(1).ignorable();
    /// In the case of fetching an offset less than the LogStartOffset, this is the end offset and epoch that
    /// should be used in the FetchSnapshot request.
    snapshot_id: SnapshotId, since(12).tag(2).ignorable();
    /// The aborted transactions.
    aborted_transactions: Option<Vec<AbortedTransaction>> = Some(Default::default()), always();
    /// The preferred read replica for the consumer to use on its next fetch request.
    preferred_read_replica: i32 = -1, since(11);
    /// The record data.
    records: Option<Bytes> = Some(Default::default()), always();
}

message! {
    /// The value of [`PartitionData::diverging_epoch`].
    EpochEndOffset, versions 4..=18, flexible 12;
    /// The largest epoch.
    epoch: i32 = -1, since(12);
    /// The end offset of the epoch.
    end_offset: i64 = -1, since(12);
}

message! {
    /// The value of [`PartitionData::current_leader`].
    LeaderIdAndEpoch, versions 4..=18, flexible 12;
    /// The ID of the current leader or -1 if the leader is unknown.
    leader_id: i32 = -1, since(12);
    /// The latest known leader epoch.
    leader_epoch: i32 = -1, since(12);
}

message! {
    /// The value of [`PartitionData::snapshot_id`].
    SnapshotId, versions 4..=18, flexible 12;
    /// The end offset of the epoch.
    end_offset: i64 = -1, always();
    /// The largest epoch.
    epoch: i32 = -1, always();
}

message! {
    /// An element of [`PartitionData::aborted_transactions`].
    AbortedTransaction, versions 4..=18, flexible 12;
    /// The producer id associated with the aborted transaction.
    producer_id: i64, always();
    /// The first offset in the aborted transaction.
    first_offset: i64, always();
}
