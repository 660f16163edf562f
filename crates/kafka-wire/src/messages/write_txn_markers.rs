//! WriteTxnMarkers (key 27): ends transactions in partitions.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message};

message! {
    /// The request: ends transactions in partitions.
    WriteTxnMarkersRequest, versions 1..=1, flexible 1;
    /// The transaction markers to be written.
    markers: Vec<WritableTxnMarker>, always();
}

message! {
    /// An element of [`WriteTxnMarkersRequest::markers`].
    WritableTxnMarker, versions 1..=1, flexible 1;
    /// The current producer ID.
    producer_id: i64, always();
    /// The current epoch associated with the producer ID.
    producer_epoch: i16, always();
    /// The result of the transaction to write to the partitions (false = ABORT, true = COMMIT).
    transaction_result: bool, always();
    /// Each topic that we want to write transaction marker(s) for.
    topics: Vec<WritableTxnMarkerTopic>, always();
    /// Epoch associated with the transaction state partition hosted by this transaction coordinator.
    coordinator_epoch: i32, always();
}

message! {
    /// An element of [`WritableTxnMarker::topics`].
    WritableTxnMarkerTopic, versions 1..=1, flexible 1;
    /// The topic name.
    name: String, always();
    /// The indexes of the partitions to write transaction markers for.
    partition_indexes: Vec<i32>, always();
}

impl Request for WriteTxnMarkersRequest {
    const API_KEY: ApiKey = ApiKey::WriteTxnMarkers;
    type Response = WriteTxnMarkersResponse;
}

message! {
    /// The answer to [`WriteTxnMarkersRequest`].
    WriteTxnMarkersResponse, versions 1..=1, flexible 1;
    /// The results for writing makers.
    markers: Vec<WritableTxnMarkerResult>, always();
}

message! {
    /// An element of [`WriteTxnMarkersResponse::markers`].
    WritableTxnMarkerResult, versions 1..=1, flexible 1;
    /// The current producer ID in use by the transactional ID.
    producer_id: i64, always();
    /// The results by topic.
    topics: Vec<WritableTxnMarkerTopicResult>, always();
}

message! {
    /// An element of [`WritableTxnMarkerResult::topics`].
    WritableTxnMarkerTopicResult, versions 1..=1, flexible 1;
    /// The topic name.
    name: String, always();
    /// The results by partition.
    partitions: Vec<WritableTxnMarkerPartitionResult>, always();
}

message! {
    /// An element of [`WritableTxnMarkerTopicResult::partitions`].
    WritableTxnMarkerPartitionResult, versions 1..=1, flexible 1;
    /// The partition index.
    partition_index: i32, always();
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
}
