//! DescribeGroups (key 15): describes groups and their members.

use bytes::Bytes;

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: describes groups and their members.
    DescribeGroupsRequest, versions 0..=6, flexible 5;
    /// The names of the groups to describe.
    groups: Vec<String>, always();
    /// Whether to include authorized operations.
    include_authorized_operations: bool, since(3);
}

impl Request for DescribeGroupsRequest {
    const API_KEY: ApiKey = ApiKey::DescribeGroups;
    type Response = DescribeGroupsResponse;
}

message! {
    /// The answer to [`DescribeGroupsRequest`].
    DescribeGroupsResponse, versions 0..=6, flexible 5;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, since(1).ignorable();
    /// Each described group.
    groups: Vec<DescribedGroup>, always();
}

message! {
    /// An element of [`DescribeGroupsResponse::groups`].
    DescribedGroup, versions 0..=6, flexible 5;
    /// The describe error, or 0 if there was no error.
    error_code: i16, always();
    /// The describe error message, or null if there was no error.
    error_message: Option<String>, since(6);
    /// The group ID string.
    group_id: String, always();
    /// The group state string, or the empty string.
    group_state: String, always();
    /// The group protocol type, or the empty string.
    protocol_type: String, always();
    /// The group protocol data, or the empty string.
    protocol_data: String, always();
    /// The group members.
    members: Vec<DescribedGroupMember>, always();
    /// 32-bit bitfield to represent authorized operations for this group.
    authorized_operations: i32 = i32::MIN, since(3);
}

message! {
    /// An element of [`DescribedGroup::members`].
    DescribedGroupMember, versions 0..=6, flexible 5;
    /// The member id.
    member_id: String, always();
    /// The unique identifier of the consumer instance provided by end user.
    group_instance_id: Option<String>, since(4).ignorable();
    /// The client ID used in the member's latest join group request.
    client_id: String, always();
    /// The client host.
    client_host: String, always();
    /// The metadata corresponding to the current group protocol in use.
    member_metadata: Bytes, always();
    /// The current assignment provided by the group leader.
    member_assignment: Bytes, always();
}
