//! CreateAcls (key 30): adds access rules.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message};

message! {
    /// The request: adds access rules.
    CreateAclsRequest, versions 1..=3, flexible 2;
    /// The ACLs that we want to create.
    creations: Vec<AclCreation>, always();
}

message! {
    /// An element of [`CreateAclsRequest::creations`].
    AclCreation, versions 1..=3, flexible 2;
    /// The type of the resource.
    resource_type: i8, always();
    /// The resource name for the ACL.
    resource_name: String, always();
    /// The pattern type for the ACL.
    resource_pattern_type: i8 = 3, always();
    /// The principal for the ACL.
    principal: String, always();
    /// The host for the ACL.
    host: String, always();
    /// The operation type for the ACL (read, write, etc.).
    operation: i8, always();
    /// The permission type for the ACL (allow, deny, etc.).
    permission_type: i8, always();
}

impl Request for CreateAclsRequest {
    const API_KEY: ApiKey = ApiKey::CreateAcls;
    type Response = CreateAclsResponse;
}

message! {
    /// The answer to [`CreateAclsRequest`].
    CreateAclsResponse, versions 1..=3, flexible 2;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The results for each ACL creation.
    results: Vec<AclCreationResult>, always();
}

message! {
    /// An element of [`CreateAclsResponse::results`].
    AclCreationResult, versions 1..=3, flexible 2;
    /// The result error, or zero if there was no error.
    error_code: i16, always();
    /// The result message, or null if there was no error.
    error_message: Option<String> = Some(Default::default()), always();
}
