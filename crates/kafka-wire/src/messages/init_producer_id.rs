//! InitProducerId (key 22): hands out a producer id and epoch.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: hands out a producer id and epoch.
    InitProducerIdRequest, versions 0..=5, flexible 2;
    /// The transactional id, or null if the producer is not transactional.
    transactional_id: Option<String> = Some(Default::default()), always();
    /// The time in ms to wait before aborting idle transactions sent by this producer. This is only relevant if
    /// a TransactionalId has been defined.
    transaction_timeout_ms: i32, always();
    /// The producer id. This is used to disambiguate requests if a transactional id is reused following its
    /// expiration.
    producer_id: i64 = -1, since(3);
    /// The producer's current epoch. This will be checked against the producer epoch on the broker, and the
    /// request will return an error if they do not match.
    producer_epoch: i16 = -1, since(3);
}

impl Request for InitProducerIdRequest {
    const API_KEY: ApiKey = ApiKey::InitProducerId;
    type Response = InitProducerIdResponse;
}

message! {
    /// The answer to [`InitProducerIdRequest`].
    InitProducerIdResponse, versions 0..=5, flexible 2;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
    /// The current producer id.
    producer_id: i64 = -1, always();
    /// The current epoch associated with the producer id.
    producer_epoch: i16, always();
    /// The producer id for ongoing transaction when KeepPreparedTxn is used, -1 if there is no transaction
    /// ongoing.
    ongoing_txn_producer_id: i64 = -1, since(6);
    /// The epoch associated with the  producer id for ongoing transaction when KeepPreparedTxn is used, -1 if
    /// there is no transaction ongoing.
    ongoing_txn_producer_epoch: i16 = -1, since(6);
}
