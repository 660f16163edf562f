//! AlterConfigs (key 33): replaces all settings of topics and brokers.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message};

message! {
    /// The request: replaces all settings of topics and brokers.
    AlterConfigsRequest, versions 0..=2, flexible 2;
    /// The updates for each resource.
    resources: Vec<AlterConfigsResource>, always();
    /// True if we should validate the request, but not change the configurations.
    validate_only: bool, always();
}

message! {
    /// An element of [`AlterConfigsRequest::resources`].
    AlterConfigsResource, versions 0..=2, flexible 2;
    /// The resource type.
    resource_type: i8, always();
    /// The resource name.
    resource_name: String, always();
    /// The configurations.
    configs: Vec<AlterableConfig>, always();
}

message! {
    /// An element of [`AlterConfigsResource::configs`].
    AlterableConfig, versions 0..=2, flexible 2;
    /// The configuration key name.
    name: String, always();
    /// The value to set for the configuration key.
    value: Option<String> = Some(Default::default()), always();
}

impl Request for AlterConfigsRequest {
    const API_KEY: ApiKey = ApiKey::AlterConfigs;
    type Response = AlterConfigsResponse;
}

message! {
    /// The answer to [`AlterConfigsRequest`].
    AlterConfigsResponse, versions 0..=2, flexible 2;
    /// Duration in milliseconds for which the request was throttled due to a quota violation, or zero if the
    /// request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The responses for each resource.
    responses: Vec<AlterConfigsResourceResponse>, always();
}

message! {
    /// An element of [`AlterConfigsResponse::responses`].
    AlterConfigsResourceResponse, versions 0..=2, flexible 2;
    /// The resource error code.
    error_code: i16, always();
    /// The resource error message, or null if there was no error.
    error_message: Option<String> = Some(Default::default()), always();
    /// The resource type.
    resource_type: i8, always();
    /// The resource name.
    resource_name: String, always();
}
