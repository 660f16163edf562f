//! DescribeTransactions (key 65): tells how transactions stand.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message};

message! {
    /// The request: tells how transactions stand.
    DescribeTransactionsRequest, versions 0..=0, flexible 0;
    /// Array of transactionalIds to include in describe results. If empty, then no results will be returned.
    transactional_ids: Vec<String>, always();
}

impl Request for DescribeTransactionsRequest {
    const API_KEY: ApiKey = ApiKey::DescribeTransactions;
    type Response = DescribeTransactionsResponse;
}

message! {
    /// The answer to [`DescribeTransactionsRequest`].
    DescribeTransactionsResponse, versions 0..=0, flexible 0;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The current state of the transaction.
    transaction_states: Vec<TransactionState>, always();
}

message! {
    /// An element of [`DescribeTransactionsResponse::transaction_states`].
    TransactionState, versions 0..=0, flexible 0;
    /// The error code.
    error_code: i16, always();
    /// The transactional id.
    transactional_id: String, always();
    /// The current transaction state of the producer.
    transaction_state: String, always();
    /// The timeout in milliseconds for the transaction.
    transaction_timeout_ms: i32, always();
    /// The start time of the transaction in milliseconds.
    transaction_start_time_ms: i64, always();
    /// The current producer id associated with the transaction.
    producer_id: i64, always();
    /// The current epoch associated with the producer id.
    producer_epoch: i16, always();
    /// The set of partitions included in the current transaction (if active). When a transaction is preparing to
    /// commit or abort, this will include only partitions which do not have markers.
    topics: Vec<TopicData>, always();
}

message! {
    /// An element of [`TransactionState::topics`].
    TopicData, versions 0..=0, flexible 0;
    /// The topic name.
    topic: String, always();
    /// The partition ids included in the current transaction.
    partitions: Vec<i32>, always();
}
