//! FindCoordinator (key 10): asks which node looks after a group or a transaction.

use crate::api_key::ApiKey;
use crate::schema::{Request, between, message, since};

message! {
    /// The request: asks which node looks after a group or a transaction.
    FindCoordinatorRequest, versions 0..=6, flexible 3;
    /// The coordinator key.
    key: String, between(0, 3);
    /// The coordinator key type. (group, transaction, share).
    key_type: i8, since(1);
    /// The coordinator keys.
    coordinator_keys: Vec<String>, since(4);
}

impl Request for FindCoordinatorRequest {
    const API_KEY: ApiKey = ApiKey::FindCoordinator;
    type Response = FindCoordinatorResponse;
}

message! {
    /// The answer to [`FindCoordinatorRequest`].
    FindCoordinatorResponse, versions 0..=6, flexible 3;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, since(1).ignorable();
    /// The error code, or 0 if there was no error.
    error_code: i16, between(0, 3);
    /// The error message, or null if there was no error.
    error_message: Option<String> = Some(Default::default()), between(1, 3).ignorable();
    /// The node id.
    node_id: i32, between(0, 3);
    /// The host name.
    host: String, between(0, 3);
    /// The port.
    port: i32, between(0, 3);
    /// Each coordinator result in the response.
    coordinators: Vec<Coordinator>, since(4);
}

message! {
    /// An element of [`FindCoordinatorResponse::coordinators`].
    Coordinator, versions 0..=6, flexible 3;
    /// The coordinator key.
    key: String, since(4);
    /// The node id.
    node_id: i32, since(4);
    /// The host name.
    host: String, since(4);
    /// The port.
    port: i32, since(4);
    /// The error code, or 0 if there was no error.
    error_code: i16, since(4);
    /// The error message, or null if there was no error.
    error_message: Option<String> = Some(Default::default()), since(4).ignorable();
}
