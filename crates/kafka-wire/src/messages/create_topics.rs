//! CreateTopics (key 19): creates topics.

use uuid::Uuid;

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: creates topics.
    CreateTopicsRequest, versions 2..=7, flexible 5;
    /// The topics to create.
    topics: Vec<CreatableTopic>, always();
    /// How long to wait in milliseconds before timing out the request.
    timeout_ms: i32 = 60000, always();
    /// If true, check that the topics can be created as specified, but don't create anything.
    validate_only: bool, always();
}

message! {
    /// An element of [`CreateTopicsRequest::topics`].
    CreatableTopic, versions 2..=7, flexible 5;
    /// The topic name.
    name: String, always();
    /// The number of partitions to create in the topic, or -1 if we are either specifying a manual partition
    /// assignment or using the default partitions.
    num_partitions: i32, always();
    /// The number of replicas to create for each partition in the topic, or -1 if we are either specifying a
    /// manual partition assignment or using the default replication factor.
    replication_factor: i16, always();
    /// The manual partition assignment, or the empty array if we are using automatic assignment.
    assignments: Vec<CreatableReplicaAssignment>, always();
    /// The custom topic configurations to set.
    configs: Vec<CreatableTopicConfig>, always();
}

message! {
    /// An element of [`CreatableTopic::assignments`].
    CreatableReplicaAssignment, versions 2..=7, flexible 5;
    /// The partition index.
    partition_index: i32, always();
    /// The brokers to place the partition on.
    broker_ids: Vec<i32>, always();
}

message! {
    /// An element of [`CreatableTopic::configs`].
    CreatableTopicConfig, versions 2..=7, flexible 5;
    /// The configuration name.
    name: String, always();
    /// The configuration value.
    value: Option<String> = Some(Default::default()), always();
}

impl Request for CreateTopicsRequest {
    const API_KEY: ApiKey = ApiKey::CreateTopics;
    type Response = CreateTopicsResponse;
}

message! {
    /// The answer to [`CreateTopicsRequest`].
    CreateTopicsResponse, versions 2..=7, flexible 5;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// Results for each topic we tried to create.
    topics: Vec<CreatableTopicResult>, always();
}

message! {
    /// An element of [`CreateTopicsResponse::topics`].
    CreatableTopicResult, versions 2..=7, flexible 5;
    /// The topic name.
    name: String, always();
    /// The unique topic ID.
    topic_id: Uuid, since(7).ignorable();
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
    /// The error message, or null if there was no error.
    error_message: Option<String> = Some(Default::default()), always();
    /// Optional topic config error returned if configs are not returned in the response.
    topic_config_error_code: i16, since(5).tag(0).ignorable();
    /// Number of partitions of the topic.
    num_partitions: i32 = -1, since(5).ignorable();
    /// Replication factor of the topic.
    replication_factor: i16 = -1, since(5).ignorable();
    /// Configuration of the topic.
    configs: Option<Vec<CreatableTopicConfigs>> = Some(Default::default()), since(5).ignorable();
}

message! {
    /// An element of [`CreatableTopicResult::configs`].
    CreatableTopicConfigs, versions 2..=7, flexible 5;
    /// The configuration name.
    name: String, since(5);
    /// The configuration value.
    value: Option<String> = Some(Default::default()), since(5);
    /// True if the configuration is read-only.
    read_only: bool, since(5);
    /// The configuration source.
    config_source: i8 = -1, since(5).ignorable();
    /// True if this configuration is sensitive.
    is_sensitive: bool, since(5);
}
