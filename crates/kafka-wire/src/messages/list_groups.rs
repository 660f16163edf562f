//! ListGroups (key 16): lists the groups of a node.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: lists the groups of a node.
    ListGroupsRequest, versions 0..=5, flexible 3;
    /// The states of the groups we want to list. If empty, all groups are returned with their state.
    states_filter: Vec<String>, since(4);
    /// The types of the groups we want to list. If empty, all groups are returned with their type.
    types_filter: Vec<String>, since(5);
}

impl Request for ListGroupsRequest {
    const API_KEY: ApiKey = ApiKey::ListGroups;
    type Response = ListGroupsResponse;
}

message! {
    /// The answer to [`ListGroupsRequest`].
    ListGroupsResponse, versions 0..=5, flexible 3;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, since(1).ignorable();
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
    /// Each group in the response.
    groups: Vec<ListedGroup>, always();
}

message! {
    /// An element of [`ListGroupsResponse::groups`].
    ListedGroup, versions 0..=5, flexible 3;
    /// The group ID.
    group_id: String, always();
    /// The group protocol type.
    protocol_type: String, always();
    /// The group state name.
    group_state: String, since(4).ignorable();
    /// The group type name.
    group_type: String, since(5).ignorable();
}
