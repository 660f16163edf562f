//! Heartbeat (key 12): tells the coordinator that a member lives.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: tells the coordinator that a member lives.
    HeartbeatRequest, versions 0..=4, flexible 4;
    /// The group id.
    group_id: String, always();
    /// The generation of the group.
    generation_id: i32, always();
    /// The member ID.
    member_id: String, always();
    /// The unique identifier of the consumer instance provided by end user.
    group_instance_id: Option<String>, since(3);
}

impl Request for HeartbeatRequest {
    const API_KEY: ApiKey = ApiKey::Heartbeat;
    type Response = HeartbeatResponse;
}

message! {
    /// The answer to [`HeartbeatRequest`].
    HeartbeatResponse, versions 0..=4, flexible 4;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, since(1).ignorable();
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
}
