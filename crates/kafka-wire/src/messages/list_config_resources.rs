//! ListConfigResources (key 74): names the resources that have configs.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: names the resources that have configs.
    ListConfigResourcesRequest, versions 0..=1, flexible 0;
    /// The list of resource type. If the list is empty, it uses default supported config resource types.
    resource_types: Vec<i8>, since(1);
}

impl Request for ListConfigResourcesRequest {
    const API_KEY: ApiKey = ApiKey::ListConfigResources;
    type Response = ListConfigResourcesResponse;
}

message! {
    /// The answer to [`ListConfigResourcesRequest`].
    ListConfigResourcesResponse, versions 0..=1, flexible 0;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
    /// Each config resource in the response.
    config_resources: Vec<ConfigResource>, always();
}

message! {
    /// An element of [`ListConfigResourcesResponse::config_resources`].
    ConfigResource, versions 0..=1, flexible 0;
    /// The resource name.
    resource_name: String, always();
    /// The resource type.
    resource_type: i8 = 16, since(1).ignorable();
}
