//! DescribeConfigs (key 32): reads settings of topics and brokers.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: reads settings of topics and brokers.
    DescribeConfigsRequest, versions 1..=4, flexible 4;
    /// The resources whose configurations we want to describe.
    resources: Vec<DescribeConfigsResource>, always();
    /// True if we should include all synonyms.
    include_synonyms: bool, always();
    /// True if we should include configuration documentation.
    include_documentation: bool, since(3);
}

message! {
    /// An element of [`DescribeConfigsRequest::resources`].
    DescribeConfigsResource, versions 1..=4, flexible 4;
    /// The resource type.
    resource_type: i8, always();
    /// The resource name.
    resource_name: String, always();
    /// The configuration keys to list, or null to list all configuration keys.
    configuration_keys: Option<Vec<String>> = Some(Default::default()), always();
}

impl Request for DescribeConfigsRequest {
    const API_KEY: ApiKey = ApiKey::DescribeConfigs;
    type Response = DescribeConfigsResponse;
}

message! {
    /// The answer to [`DescribeConfigsRequest`].
    DescribeConfigsResponse, versions 1..=4, flexible 4;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The results for each resource.
    results: Vec<DescribeConfigsResult>, always();
}

message! {
    /// An element of [`DescribeConfigsResponse::results`].
    DescribeConfigsResult, versions 1..=4, flexible 4;
    /// The error code, or 0 if we were able to successfully describe the configurations.
    error_code: i16, always();
    /// The error message, or null if we were able to successfully describe the configurations.
    error_message: Option<String> = Some(Default::default()), always();
    /// The resource type.
    resource_type: i8, always();
    /// The resource name.
    resource_name: String, always();
    /// Each listed configuration.
    configs: Vec<DescribeConfigsResourceResult>, always();
}

message! {
    /// An element of [`DescribeConfigsResult::configs`].
    DescribeConfigsResourceResult, versions 1..=4, flexible 4;
    /// The configuration name.
    name: String, always();
    /// The configuration value.
    value: Option<String> = Some(Default::default()), always();
    /// True if the configuration is read-only.
    read_only: bool, always();
    /// The configuration source.
    config_source: i8 = -1, always();
    /// True if this configuration is sensitive.
    is_sensitive: bool, always();
    /// The synonyms for this configuration key.
    synonyms: Vec<DescribeConfigsSynonym>, always();
    /// The configuration data type. Type can be one of the following values - BOOLEAN, STRING, INT, SHORT,
    /// LONG, DOUBLE, LIST, CLASS, PASSWORD.
    config_type: i8, since(3).ignorable();
    /// The configuration documentation.
    documentation: Option<String> = Some(Default::default()), since(3).ignorable();
}

message! {
    /// An element of [`DescribeConfigsResourceResult::synonyms`].
    DescribeConfigsSynonym, versions 1..=4, flexible 4;
    /// The synonym name.
    name: String, always();
    /// The synonym value.
    value: Option<String> = Some(Default::default()), always();
    /// The synonym source.
    source: i8, always();
}
