//! ListTransactions (key 66): lists the transactions that a node looks after.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: lists the transactions that a node looks after.
    ListTransactionsRequest, versions 0..=2, flexible 0;
    /// The transaction states to filter by: if empty, all transactions are returned; if non-empty, then only
    /// transactions matching one of the filtered states will be returned.
    state_filters: Vec<String>, always();
    /// The producerIds to filter by: if empty, all transactions will be returned; if non-empty, only transactions
    /// which match one of the filtered producerIds will be returned.
    producer_id_filters: Vec<i64>, always();
    /// Duration (in millis) to filter by: if < 0, all transactions will be returned; otherwise, only transactions
    /// running longer than this duration will be returned.
    duration_filter: i64 = -1, since(1);
    /// The transactional ID regular expression pattern to filter by: if it is empty or null, all transactions are
    /// returned; otherwise then only the transactions matching the given regular expression will be returned.
    transactional_id_pattern: Option<String>, since(2);
}

impl Request for ListTransactionsRequest {
    const API_KEY: ApiKey = ApiKey::ListTransactions;
    type Response = ListTransactionsResponse;
}

message! {
    /// The answer to [`ListTransactionsRequest`].
    ListTransactionsResponse, versions 0..=2, flexible 0;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
    /// Set of state filters provided in the request which were unknown to the transaction coordinator.
    unknown_state_filters: Vec<String>, always();
    /// The current state of the transaction for the transactional id.
    transaction_states: Vec<TransactionState>, always();
}

message! {
    /// An element of [`ListTransactionsResponse::transaction_states`].
    TransactionState, versions 0..=2, flexible 0;
    /// The transactional id.
    transactional_id: String, always();
    /// The producer id.
    producer_id: i64, always();
    /// The current transaction state of the producer.
    transaction_state: String, always();
}
