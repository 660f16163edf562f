//! EndTxn (key 26): commits or aborts a transaction.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: commits or aborts a transaction.
    EndTxnRequest, versions 0..=5, flexible 3;
    /// The ID of the transaction to end.
    transactional_id: String, always();
    /// The producer ID.
    producer_id: i64, always();
    /// The current epoch associated with the producer.
    producer_epoch: i16, always();
    /// True if the transaction was committed, false if it was aborted.
    committed: bool, always();
}

impl Request for EndTxnRequest {
    const API_KEY: ApiKey = ApiKey::EndTxn;
    type Response = EndTxnResponse;
}

message! {
    /// The answer to [`EndTxnRequest`].
    EndTxnResponse, versions 0..=5, flexible 3;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
    /// The producer ID.
    producer_id: i64 = -1, since(5).ignorable();
    /// The current epoch associated with the producer.
    producer_epoch: i16 = -1, since(5).ignorable();
}
