//! DeleteAcls (key 31): removes access rules.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message};

message! {
    /// The request: removes access rules.
    DeleteAclsRequest, versions 1..=3, flexible 2;
    /// The filters to use when deleting ACLs.
    filters: Vec<DeleteAclsFilter>, always();
}

message! {
    /// An element of [`DeleteAclsRequest::filters`].
    DeleteAclsFilter, versions 1..=3, flexible 2;
    /// The resource type.
    resource_type_filter: i8, always();
    /// The resource name.
    resource_name_filter: Option<String> = Some(Default::default()), always();
    /// The pattern type.
    pattern_type_filter: i8 = 3, always();
    /// The principal filter, or null to accept all principals.
    principal_filter: Option<String> = Some(Default::default()), always();
    /// The host filter, or null to accept all hosts.
    host_filter: Option<String> = Some(Default::default()), always();
    /// The ACL operation.
    operation: i8, always();
    /// The permission type.
    permission_type: i8, always();
}

impl Request for DeleteAclsRequest {
    const API_KEY: ApiKey = ApiKey::DeleteAcls;
    type Response = DeleteAclsResponse;
}

message! {
    /// The answer to [`DeleteAclsRequest`].
    DeleteAclsResponse, versions 1..=3, flexible 2;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The results for each filter.
    filter_results: Vec<DeleteAclsFilterResult>, always();
}

message! {
    /// An element of [`DeleteAclsResponse::filter_results`].
    DeleteAclsFilterResult, versions 1..=3, flexible 2;
    /// The error code, or 0 if the filter succeeded.
    error_code: i16, always();
    /// The error message, or null if the filter succeeded.
    error_message: Option<String> = Some(Default::default()), always();
    /// The ACLs which matched this filter.
    matching_acls: Vec<DeleteAclsMatchingAcl>, always();
}

message! {
    /// An element of [`DeleteAclsFilterResult::matching_acls`].
    DeleteAclsMatchingAcl, versions 1..=3, flexible 2;
    /// The deletion error code, or 0 if the deletion succeeded.
    error_code: i16, always();
    /// The deletion error message, or null if the deletion succeeded.
    error_message: Option<String> = Some(Default::default()), always();
    /// The ACL resource type.
    resource_type: i8, always();
    /// The ACL resource name.
    resource_name: String, always();
    /// The ACL resource pattern type.
    pattern_type: i8 = 3, always();
    /// The ACL principal.
    principal: String, always();
    /// The ACL host.
    host: String, always();
    /// The ACL operation.
    operation: i8, always();
    /// The ACL permission type.
    permission_type: i8, always();
}
