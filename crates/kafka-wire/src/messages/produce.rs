//! Produce (key 0): appends record batches to partitions.

use bytes::Bytes;
use uuid::Uuid;

use crate::api_key::ApiKey;
use crate::schema::{Request, always, between, message, since};

message! {
    /// The request: appends record batches to partitions.
    ProduceRequest, versions 3..=13, flexible 9;
    /// The transactional ID, or null if the producer is not transactional.
    transactional_id: Option<String>, always();
    /// The number of acknowledgments the producer requires the leader to have received before considering a
    /// request complete. Allowed values: 0 for no acknowledgments, 1 for only the leader and -1 for the full
    /// ISR.
    acks: i16, always();
    /// The timeout to await a response in milliseconds.
    timeout_ms: i32, always();
    /// Each topic to produce to.
    topic_data: Vec<TopicProduceData>, always();
}

message! {
    /// An element of [`ProduceRequest::topic_data`].
    TopicProduceData, versions 3..=13, flexible 9;
    /// The topic name.
    name: String, between(3, 12).ignorable();
    /// The unique topic ID
    topic_id: Uuid, since(13).ignorable();
    /// Each partition to produce to.
    partition_data: Vec<PartitionProduceData>, always();
}

message! {
    /// An element of [`TopicProduceData::partition_data`].
    PartitionProduceData, versions 3..=13, flexible 9;
    /// The partition index.
    index: i32, always();
    /// The record data to be produced.
    records: Option<Bytes> = Some(Default::default()), always();
}

impl Request for ProduceRequest {
    const API_KEY: ApiKey = ApiKey::Produce;
    type Response = ProduceResponse;
}

message! {
    /// The answer to [`ProduceRequest`].
    ProduceResponse, versions 3..=13, flexible 9;
    /// Each produce response.
    responses: Vec<TopicProduceResponse>, always();
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// Endpoints for all current-leaders enumerated in PartitionProduceResponses, with errors
    /// NOT_LEADER_OR_FOLLOWER.
    node_endpoints: Vec<NodeEndpoint>, since(10).tag(0).ignorable();
}

message! {
    /// An element of [`ProduceResponse::responses`].
    TopicProduceResponse, versions 3..=13, flexible 9;
    /// The topic name.
    name: String, between(3, 12).ignorable();
    /// The unique topic ID
    topic_id: Uuid, since(13).ignorable();
    /// Each partition that we produced to within the topic.
    partition_responses: Vec<PartitionProduceResponse>, always();
}

message! {
    /// An element of [`ProduceResponse::node_endpoints`].
    NodeEndpoint, versions 3..=13, flexible 9;
    /// The ID of the associated node.
    node_id: i32, since(10);
    /// The node's hostname.
    host: String, since(10);
    /// The node's port.
    port: i32, since(10);
    /// The rack of the node, or null if it has not been assigned to a rack.
    rack: Option<String>, since(10);
}

message! {
    /// An element of [`TopicProduceResponse::partition_responses`].
    PartitionProduceResponse, versions 3..=13, flexible 9;
    /// The partition index.
    index: i32, always();
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
    /// The base offset.
    base_offset: i64, always();
    /// The timestamp returned by broker after appending the messages. If CreateTime is used for the topic, the
    /// timestamp will be -1.  If LogAppendTime is used for the topic, the timestamp will be the broker local
    /// time when the messages are appended.
    log_append_time_ms: i64 = -1, always();
    /// The log start offset.
    log_start_offset: i64 = -1, since(5).ignorable();
    /// The batch indices of records that caused the batch to be dropped.
    record_errors: Vec<BatchIndexAndErrorMessage>, since(8).ignorable();
    /// The global error message summarizing the common root cause of the records that caused the batch to be
    /// dropped.
    error_message: Option<String>, since(8).ignorable();
    /// The leader broker that the producer should use for future requests.
    current_leader: LeaderIdAndEpoch, since(10).tag(0).ignorable();
}

message! {
    /// An element of [`PartitionProduceResponse::record_errors`].
    BatchIndexAndErrorMessage, versions 3..=13, flexible 9;
    /// The batch index of the record that caused the batch to be dropped.
    batch_index: i32, since(8);
    /// The error message of the record that caused the batch to be dropped.
    batch_index_error_message: Option<String>, since(8);
}

message! {
    /// The value of [`PartitionProduceResponse::current_leader`].
    LeaderIdAndEpoch, versions 3..=13, flexible 9;
    /// The ID of the current leader or -1 if the leader is unknown.
    leader_id: i32 = -1, since(10);
    /// The latest known leader epoch.
    leader_epoch: i32 = -1, since(10);
}
