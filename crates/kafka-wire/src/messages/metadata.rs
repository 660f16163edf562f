//! Metadata (key 3): names the nodes, and the partitions of topics.

use uuid::Uuid;

use crate::api_key::ApiKey;
use crate::schema::{Request, always, between, message, since};

message! {
    /// The request: names the nodes, and the partitions of topics.
    MetadataRequest, versions 0..=13, flexible 9;
    /// The topics to fetch metadata for.
    topics: Option<Vec<MetadataRequestTopic>> = Some(Default::default()), always().null_since(1);
    /// If this is true, the broker may auto-create topics that we requested which do not already exist, if it
    /// is configured to do so.
    allow_auto_topic_creation: bool = true, since(4);
    /// Whether to include cluster authorized operations.
    include_cluster_authorized_operations: bool, between(8, 10);
    /// Whether to include topic authorized operations.
    include_topic_authorized_operations: bool, since(8);
}

message! {
    /// An element of [`MetadataRequest::topics`].
    MetadataRequestTopic, versions 0..=13, flexible 9;
    /// The topic id.
    topic_id: Uuid, since(10).ignorable();
    /// The topic name.
    name: Option<String> = Some(Default::default()), always().null_since(10);
}

impl Request for MetadataRequest {
    const API_KEY: ApiKey = ApiKey::Metadata;
    type Response = MetadataResponse;
}

message! {
    /// The answer to [`MetadataRequest`].
    MetadataResponse, versions 0..=13, flexible 9;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, since(3).ignorable();
    /// A list of brokers present in the cluster.
    brokers: Vec<MetadataResponseBroker>, always();
    /// The cluster ID that responding broker belongs to.
    cluster_id: Option<String>, since(2).ignorable();
    /// The ID of the controller broker.
    controller_id: i32 = -1, since(1).ignorable();
    /// Each topic in the response.
    topics: Vec<MetadataResponseTopic>, always();
    /// 32-bit bitfield to represent authorized operations for this cluster.
    cluster_authorized_operations: i32 = i32::MIN, between(8, 10);
    /// The top-level error code, or 0 if there was no error.
    error_code: i16, since(13).ignorable();
}

message! {
    /// An element of [`MetadataResponse::brokers`].
    MetadataResponseBroker, versions 0..=13, flexible 9;
    /// The broker ID.
    node_id: i32, always();
    /// The broker hostname.
    host: String, always();
    /// The broker port.
    port: i32, always();
    /// The rack of the broker, or null if it has not been assigned to a rack.
    rack: Option<String>, since(1).ignorable();
}

message! {
    /// An element of [`MetadataResponse::topics`].
    MetadataResponseTopic, versions 0..=13, flexible 9;
    /// The topic error, or 0 if there was no error.
    error_code: i16, always();
    /// The topic name. Null for non-existing topics queried by ID. This is never null when ErrorCode is zero.
    /// One of Name and TopicId is always populated.
    name: Option<String> = Some(Default::default()), always().null_since(12);
    /// The topic id. Zero for non-existing topics queried by name. This is never zero when ErrorCode is zero.
    /// One of Name and TopicId is always populated.
    topic_id: Uuid, since(10).ignorable();
    /// True if the topic is internal.
    is_internal: bool, since(1).ignorable();
    /// Each partition in the topic.
    partitions: Vec<MetadataResponsePartition>, always();
    /// 32-bit bitfield to represent authorized operations for this topic.
    topic_authorized_operations: i32 = i32::MIN, since(8);
}

message! {
    /// An element of [`MetadataResponseTopic::partitions`].
    MetadataResponsePartition, versions 0..=13, flexible 9;
    /// The partition error, or 0 if there was no error.
    error_code: i16, always();
    /// The partition index.
    partition_index: i32, always();
    /// The ID of the leader broker.
    leader_id: i32, always();
    /// The leader epoch of this partition.
    leader_epoch: i32 = -1, since(7).ignorable();
    /// The set of all nodes that host this partition.
    replica_nodes: Vec<i32>, always();
    /// The set of nodes that are in sync with the leader for this partition.
    isr_nodes: Vec<i32>, always();
    /// The set of offline replicas of this partition.
    offline_replicas: Vec<i32>, since(5).ignorable();
}
