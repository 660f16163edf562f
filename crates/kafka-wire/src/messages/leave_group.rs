//! LeaveGroup (key 13): leaves a group.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, between, message, since};

message! {
    /// The request: leaves a group.
    LeaveGroupRequest, versions 0..=5, flexible 4;
    /// The ID of the group to leave.
    group_id: String, always();
    /// The member ID to remove from the group.
    member_id: String, between(0, 2);
    /// List of leaving member identities.
    members: Vec<MemberIdentity>, since(3);
}

message! {
    /// An element of [`LeaveGroupRequest::members`].
    MemberIdentity, versions 0..=5, flexible 4;
    /// The member ID to remove from the group.
    member_id: String, since(3);
    /// The group instance ID to remove from the group.
    group_instance_id: Option<String>, since(3);
    /// The reason why the member left the group.
    reason: Option<String>, since(5).ignorable();
}

impl Request for LeaveGroupRequest {
    const API_KEY: ApiKey = ApiKey::LeaveGroup;
    type Response = LeaveGroupResponse;
}

message! {
    /// The answer to [`LeaveGroupRequest`].
    LeaveGroupResponse, versions 0..=5, flexible 4;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, since(1).ignorable();
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
    /// List of leaving member responses.
    members: Vec<MemberResponse>, since(3);
}

message! {
    /// An element of [`LeaveGroupResponse::members`].
    MemberResponse, versions 0..=5, flexible 4;
    /// The member ID to remove from the group.
    member_id: String, since(3);
    /// The group instance ID to remove from the group.
    group_instance_id: Option<String> = Some(Default::default()), since(3);
    /// The error code, or 0 if there was no error.
    error_code: i16, since(3);
}
