//! DescribeProducers (key 61): lists the producers of partitions.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message};

message! {
    /// The request: lists the producers of partitions.
    DescribeProducersRequest, versions 0..=0, flexible 0;
    /// The topics to list producers for.
    topics: Vec<TopicRequest>, always();
}

message! {
    /// An element of [`DescribeProducersRequest::topics`].
    TopicRequest, versions 0..=0, flexible 0;
    /// The topic name.
    name: String, always();
    /// The indexes of the partitions to list producers for.
    partition_indexes: Vec<i32>, always();
}

impl Request for DescribeProducersRequest {
    const API_KEY: ApiKey = ApiKey::DescribeProducers;
    type Response = DescribeProducersResponse;
}

message! {
    /// The answer to [`DescribeProducersRequest`].
    DescribeProducersResponse, versions 0..=0, flexible 0;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// Each topic in the response.
    topics: Vec<TopicResponse>, always();
}

message! {
    /// An element of [`DescribeProducersResponse::topics`].
    TopicResponse, versions 0..=0, flexible 0;
    /// The topic name.
    name: String, always();
    /// Each partition in the response.
    partitions: Vec<PartitionResponse>, always();
}

message! {
    /// An element of [`TopicResponse::partitions`].
    PartitionResponse, versions 0..=0, flexible 0;
    /// The partition index.
    partition_index: i32, always();
    /// The partition error code, or 0 if there was no error.
    error_code: i16, always();
    /// The partition error message, which may be null if no additional details are available.
    error_message: Option<String>, always();
    /// The active producers for the partition.
    active_producers: Vec<ProducerState>, always();
}

message! {
    /// An element of [`PartitionResponse::active_producers`].
    ProducerState, versions 0..=0, flexible 0;
    /// The producer id.
    producer_id: i64, always();
    /// The producer epoch.
    producer_epoch: i32, always();
    /// The last sequence number sent by the producer.
    last_sequence: i32 = -1, always();
    /// The last timestamp sent by the producer.
    last_timestamp: i64 = -1, always();
    /// The current epoch of the producer group.
    coordinator_epoch: i32, always();
    /// The current transaction start offset of the producer.
    current_txn_start_offset: i64 = -1, always();
}
