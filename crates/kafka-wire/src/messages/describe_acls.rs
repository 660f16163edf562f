//! DescribeAcls (key 29): lists access rules.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message};

message! {
    /// The request: lists access rules.
    DescribeAclsRequest, versions 1..=3, flexible 2;
    /// The resource type.
    resource_type_filter: i8, always();
    /// The resource name, or null to match any resource name.
    resource_name_filter: Option<String> = Some(Default::default()), always();
    /// The resource pattern to match.
    pattern_type_filter: i8 = 3, always();
    /// The principal to match, or null to match any principal.
    principal_filter: Option<String> = Some(Default::default()), always();
    /// The host to match, or null to match any host.
    host_filter: Option<String> = Some(Default::default()), always();
    /// The operation to match.
    operation: i8, always();
    /// The permission type to match.
    permission_type: i8, always();
}

impl Request for DescribeAclsRequest {
    const API_KEY: ApiKey = ApiKey::DescribeAcls;
    type Response = DescribeAclsResponse;
}

message! {
    /// The answer to [`DescribeAclsRequest`].
    DescribeAclsResponse, versions 1..=3, flexible 2;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
    /// The error message, or null if there was no error.
    error_message: Option<String> = Some(Default::default()), always();
    /// Each Resource that is referenced in an ACL.
    resources: Vec<DescribeAclsResource>, always();
}

message! {
    /// An element of [`DescribeAclsResponse::resources`].
    DescribeAclsResource, versions 1..=3, flexible 2;
    /// The resource type.
    resource_type: i8, always();
    /// The resource name.
    resource_name: String, always();
    /// The resource pattern type.
    pattern_type: i8 = 3, always();
    /// The ACLs.
    acls: Vec<AclDescription>, always();
}

message! {
    /// An element of [`DescribeAclsResource::acls`].
    AclDescription, versions 1..=3, flexible 2;
    /// The ACL principal.
    principal: String, always();
    /// The ACL host.
    host: String, always();
    /// The ACL operation.
    operation: i8, always();
    /// The ACL permission type.
    permission_type: i8, always();
}
