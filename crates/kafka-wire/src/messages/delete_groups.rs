//! DeleteGroups (key 42): deletes empty groups.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message};

message! {
    /// The request: deletes empty groups.
    DeleteGroupsRequest, versions 0..=2, flexible 2;
    /// The group names to delete.
    groups_names: Vec<String>, always();
}

impl Request for DeleteGroupsRequest {
    const API_KEY: ApiKey = ApiKey::DeleteGroups;
    type Response = DeleteGroupsResponse;
}

message! {
    /// The answer to [`DeleteGroupsRequest`].
    DeleteGroupsResponse, versions 0..=2, flexible 2;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The deletion results.
    results: Vec<DeletableGroupResult>, always();
}

message! {
    /// An element of [`DeleteGroupsResponse::results`].
    DeletableGroupResult, versions 0..=2, flexible 2;
    /// The group id.
    group_id: String, always();
    /// The deletion error, or 0 if the deletion succeeded.
    error_code: i16, always();
}
