//! AddOffsetsToTxn (key 25): adds a group's offsets to a transaction.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message};

message! {
    /// The request: adds a group's offsets to a transaction.
    AddOffsetsToTxnRequest, versions 0..=4, flexible 3;
    /// The transactional id corresponding to the transaction.
    transactional_id: String, always();
    /// Current producer id in use by the transactional id.
    producer_id: i64, always();
    /// Current epoch associated with the producer id.
    producer_epoch: i16, always();
    /// The unique group identifier.
    group_id: String, always();
}

impl Request for AddOffsetsToTxnRequest {
    const API_KEY: ApiKey = ApiKey::AddOffsetsToTxn;
    type Response = AddOffsetsToTxnResponse;
}

message! {
    /// The answer to [`AddOffsetsToTxnRequest`].
    AddOffsetsToTxnResponse, versions 0..=4, flexible 3;
    /// Duration in milliseconds for which the request was throttled due to a quota violation, or zero if the
    /// request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The response error code, or 0 if there was no error.
    error_code: i16, always();
}
