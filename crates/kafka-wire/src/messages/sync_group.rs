//! SyncGroup (key 14): hands in and fetches the assignment of a generation.

use bytes::Bytes;

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: hands in and fetches the assignment of a generation.
    SyncGroupRequest, versions 0..=5, flexible 4;
    /// The unique group identifier.
    group_id: String, always();
    /// The generation of the group.
    generation_id: i32, always();
    /// The member ID assigned by the group.
    member_id: String, always();
    /// The unique identifier of the consumer instance provided by end user.
    group_instance_id: Option<String>, since(3);
    /// The group protocol type.
    protocol_type: Option<String>, since(5).ignorable();
    /// The group protocol name.
    protocol_name: Option<String>, since(5).ignorable();
    /// Each assignment.
    assignments: Vec<SyncGroupRequestAssignment>, always();
}

message! {
    /// An element of [`SyncGroupRequest::assignments`].
    SyncGroupRequestAssignment, versions 0..=5, flexible 4;
    /// The ID of the member to assign.
    member_id: String, always();
    /// The member assignment.
    assignment: Bytes, always();
}

impl Request for SyncGroupRequest {
    const API_KEY: ApiKey = ApiKey::SyncGroup;
    type Response = SyncGroupResponse;
}

message! {
    /// The answer to [`SyncGroupRequest`].
    SyncGroupResponse, versions 0..=5, flexible 4;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, since(1).ignorable();
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
    /// The group protocol type.
    protocol_type: Option<String>, since(5).ignorable();
    /// The group protocol name.
    protocol_name: Option<String>, since(5).ignorable();
    /// The member assignment.
    assignment: Bytes, always();
}
