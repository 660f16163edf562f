//! JoinGroup (key 11): enters a group and its next generation.

use bytes::Bytes;

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: enters a group and its next generation.
    JoinGroupRequest, versions 0..=9, flexible 6;
    /// The group identifier.
    group_id: String, always();
    /// The coordinator considers the consumer dead if it receives no heartbeat after this timeout in
    /// milliseconds.
    session_timeout_ms: i32, always();
    /// The maximum time in milliseconds that the coordinator will wait for each member to rejoin when
    /// rebalancing the group.
    rebalance_timeout_ms: i32 = -1, since(1).ignorable();
    /// The member id assigned by the group coordinator.
    member_id: String, always();
    /// The unique identifier of the consumer instance provided by end user.
    group_instance_id: Option<String>, since(5);
    /// The unique name the for class of protocols implemented by the group we want to join.
    protocol_type: String, always();
    /// The list of protocols that the member supports.
    protocols: Vec<JoinGroupRequestProtocol>, always();
    /// The reason why the member (re-)joins the group.
    reason: Option<String>, since(8).ignorable();
}

message! {
    /// An element of [`JoinGroupRequest::protocols`].
    JoinGroupRequestProtocol, versions 0..=9, flexible 6;
    /// The protocol name.
    name: String, always();
    /// The protocol metadata.
    metadata: Bytes, always();
}

impl Request for JoinGroupRequest {
    const API_KEY: ApiKey = ApiKey::JoinGroup;
    type Response = JoinGroupResponse;
}

message! {
    /// The answer to [`JoinGroupRequest`].
    JoinGroupResponse, versions 0..=9, flexible 6;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, since(2).ignorable();
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
    /// The generation ID of the group.
    generation_id: i32 = -1, always();
    /// The group protocol name.
    protocol_type: Option<String>, since(7).ignorable();
    /// The group protocol selected by the coordinator.
    protocol_name: Option<String> = Some(Default::default()), always().null_since(7);
    /// The leader of the group.
    leader: String, always();
    /// True if the leader must skip running the assignment.
    skip_assignment: bool, since(9);
    /// The member ID assigned by the group coordinator.
    member_id: String, always();
    /// The group members.
    members: Vec<JoinGroupResponseMember>, always();
}

message! {
    /// An element of [`JoinGroupResponse::members`].
    JoinGroupResponseMember, versions 0..=9, flexible 6;
    /// The group member ID.
    member_id: String, always();
    /// The unique identifier of the consumer instance provided by end user.
    group_instance_id: Option<String>, since(5).ignorable();
    /// The group member metadata.
    metadata: Bytes, always();
}
