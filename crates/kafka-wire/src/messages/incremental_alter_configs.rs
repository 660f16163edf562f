//! IncrementalAlterConfigs (key 44): changes single settings of topics and brokers.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message};

message! {
    /// The request: changes single settings of topics and brokers.
    IncrementalAlterConfigsRequest, versions 0..=1, flexible 1;
    /// The incremental updates for each resource.
    resources: Vec<AlterConfigsResource>, always();
    /// True if we should validate the request, but not change the configurations.
    validate_only: bool, always();
}

message! {
    /// An element of [`IncrementalAlterConfigsRequest::resources`].
    AlterConfigsResource, versions 0..=1, flexible 1;
    /// The resource type.
    resource_type: i8, always();
    /// The resource name.
    resource_name: String, always();
    /// The configurations.
    configs: Vec<AlterableConfig>, always();
}

message! {
    /// An element of [`AlterConfigsResource::configs`].
    AlterableConfig, versions 0..=1, flexible 1;
    /// The configuration key name.
    name: String, always();
    /// The type (Set, Delete, Append, Subtract) of operation.
    config_operation: i8, always();
    /// The value to set for the configuration key.
    value: Option<String> = Some(Default::default()), always();
}

impl Request for IncrementalAlterConfigsRequest {
    const API_KEY: ApiKey = ApiKey::IncrementalAlterConfigs;
    type Response = IncrementalAlterConfigsResponse;
}

message! {
    /// The answer to [`IncrementalAlterConfigsRequest`].
    IncrementalAlterConfigsResponse, versions 0..=1, flexible 1;
    /// Duration in milliseconds for which the request was throttled due to a quota violation, or zero if the
    /// request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The responses for each resource.
    responses: Vec<AlterConfigsResourceResponse>, always();
}

message! {
    /// An element of [`IncrementalAlterConfigsResponse::responses`].
    AlterConfigsResourceResponse, versions 0..=1, flexible 1;
    /// The resource error code.
    error_code: i16, always();
    /// The resource error message, or null if there was no error.
    error_message: Option<String> = Some(Default::default()), always();
    /// The resource type.
    resource_type: i8, always();
    /// The resource name.
    resource_name: String, always();
}
