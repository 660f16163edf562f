//! AddPartitionsToTxn (key 24): adds partitions to a transaction.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, between, message, since};

message! {
    /// The request: adds partitions to a transaction.
    AddPartitionsToTxnRequest, versions 0..=5, flexible 3;
    /// List of transactions to add partitions to.
    transactions: Vec<AddPartitionsToTxnTransaction>, since(4);
    /// The transactional id corresponding to the transaction.
    v3_and_below_transactional_id: String, between(0, 3);
    /// Current producer id in use by the transactional id.
    v3_and_below_producer_id: i64, between(0, 3);
    /// Current epoch associated with the producer id.
    v3_and_below_producer_epoch: i16, between(0, 3);
    /// The partitions to add to the transaction.
    v3_and_below_topics: Vec<AddPartitionsToTxnTopic>, between(0, 3);
}

message! {
    /// An element of [`AddPartitionsToTxnRequest::transactions`].
    AddPartitionsToTxnTransaction, versions 0..=5, flexible 3;
    /// The transactional id corresponding to the transaction.
    transactional_id: String, since(4);
    /// Current producer id in use by the transactional id.
    producer_id: i64, since(4);
    /// Current epoch associated with the producer id.
    producer_epoch: i16, since(4);
    /// Boolean to signify if we want to check if the partition is in the transaction rather than add it.
    verify_only: bool, since(4);
    /// The partitions to add to the transaction.
    topics: Vec<AddPartitionsToTxnTopic>, since(4);
}

message! {
    /// An element of [`AddPartitionsToTxnRequest::v3_and_below_topics`].
    AddPartitionsToTxnTopic, versions 0..=5, flexible 3;
    /// The name of the topic.
    name: String, always();
    /// The partition indexes to add to the transaction.
    partitions: Vec<i32>, always();
}

impl Request for AddPartitionsToTxnRequest {
    const API_KEY: ApiKey = ApiKey::AddPartitionsToTxn;
    type Response = AddPartitionsToTxnResponse;
}

message! {
    /// The answer to [`AddPartitionsToTxnRequest`].
    AddPartitionsToTxnResponse, versions 0..=5, flexible 3;
    /// Duration in milliseconds for which the request was throttled due to a quota violation, or zero if the
    /// request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The response top level error code.
    error_code: i16, since(4).ignorable();
    /// Results categorized by transactional ID.
    results_by_transaction: Vec<AddPartitionsToTxnResult>, since(4);
    /// The results for each topic.
    results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>, between(0, 3);
}

message! {
    /// An element of [`AddPartitionsToTxnResponse::results_by_transaction`].
    AddPartitionsToTxnResult, versions 0..=5, flexible 3;
    /// The transactional id corresponding to the transaction.
    transactional_id: String, since(4);
    /// The results for each topic.
    topic_results: Vec<AddPartitionsToTxnTopicResult>, since(4);
}

message! {
    /// An element of [`AddPartitionsToTxnResponse::results_by_topic_v3_and_below`].
    AddPartitionsToTxnTopicResult, versions 0..=5, flexible 3;
    /// The topic name.
    name: String, always();
    /// The results for each partition.
    results_by_partition: Vec<AddPartitionsToTxnPartitionResult>, always();
}

message! {
    /// An element of [`AddPartitionsToTxnTopicResult::results_by_partition`].
    AddPartitionsToTxnPartitionResult, versions 0..=5, flexible 3;
    /// The partition indexes.
    partition_index: i32, always();
    /// The response error code.
    partition_error_code: i16, always();
}
