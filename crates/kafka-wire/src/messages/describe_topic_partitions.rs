//! DescribeTopicPartitions (key 75): names the partitions of topics, a page at a time.

use uuid::Uuid;

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message};

message! {
    /// The request: names the partitions of topics, a page at a time.
    DescribeTopicPartitionsRequest, versions 0..=0, flexible 0;
    /// The topics to fetch details for.
    topics: Vec<TopicRequest>, always();
    /// The maximum number of partitions included in the response.
    response_partition_limit: i32 = 2000, always();
    /// The first topic and partition index to fetch details for.
    cursor: Option<Cursor>, always();
}

message! {
    /// An element of [`DescribeTopicPartitionsRequest::topics`].
    TopicRequest, versions 0..=0, flexible 0;
    /// The topic name.
    name: String, always();
}

message! {
    /// Where a page begins: [`DescribeTopicPartitionsRequest::cursor`] and
    /// [`DescribeTopicPartitionsResponse::next_cursor`].
    Cursor, versions 0..=0, flexible 0;
    /// The name for the first topic to process.
    topic_name: String, always();
    /// The partition index to start with.
    partition_index: i32, always();
}

impl Request for DescribeTopicPartitionsRequest {
    const API_KEY: ApiKey = ApiKey::DescribeTopicPartitions;
    type Response = DescribeTopicPartitionsResponse;
}

message! {
    /// The answer to [`DescribeTopicPartitionsRequest`].
    DescribeTopicPartitionsResponse, versions 0..=0, flexible 0;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// Each topic in the response.
    topics: Vec<DescribeTopicPartitionsResponseTopic>, always();
    /// The next topic and partition index to fetch details for.
    next_cursor: Option<Cursor>, always();
}

message! {
    /// An element of [`DescribeTopicPartitionsResponse::topics`].
    DescribeTopicPartitionsResponseTopic, versions 0..=0, flexible 0;
    /// The topic error, or 0 if there was no error.
    error_code: i16, always();
    /// The topic name.
    name: Option<String> = Some(Default::default()), always();
    /// The topic id.
    topic_id: Uuid, always();
    /// True if the topic is internal.
    is_internal: bool, always();
    /// Each partition in the topic.
    partitions: Vec<DescribeTopicPartitionsResponsePartition>, always();
    /// 32-bit bitfield to represent authorized operations for this topic.
    topic_authorized_operations: i32 = i32::MIN, always();
}

message! {
    /// An element of [`DescribeTopicPartitionsResponseTopic::partitions`].
    DescribeTopicPartitionsResponsePartition, versions 0..=0, flexible 0;
    /// The partition error, or 0 if there was no error.
    error_code: i16, always();
    /// The partition index.
    partition_index: i32, always();
    /// The ID of the leader broker.
    leader_id: i32, always();
    /// The leader epoch of this partition.
    leader_epoch: i32 = -1, always();
    /// The set of all nodes that host this partition.
    replica_nodes: Vec<i32>, always();
    /// The set of nodes that are in sync with the leader for this partition.
    isr_nodes: Vec<i32>, always();
    /// The new eligible leader replicas otherwise.
    eligible_leader_replicas: Option<Vec<i32>>, always();
    /// The last known ELR.
    last_known_elr: Option<Vec<i32>>, always();
    /// The set of offline replicas of this partition.
    offline_replicas: Vec<i32>, always();
}
