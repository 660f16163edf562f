//! DescribeQuorum (key 55): tells how the cluster's own metadata is replicated.

use uuid::Uuid;

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: tells how the cluster's own metadata is replicated.
    DescribeQuorumRequest, versions 0..=2, flexible 0;
    /// The topics to describe.
    topics: Vec<TopicData>, always();
}

message! {
    /// An element of [`DescribeQuorumRequest::topics`].
    TopicData, versions 0..=2, flexible 0;
    /// The topic name.
    topic_name: String, always();
    /// The partitions to describe.
    partitions: Vec<PartitionData>, always();
}

message! {
    /// An element of [`TopicData::partitions`].
    PartitionData, versions 0..=2, flexible 0;
    /// The partition index.
    partition_index: i32, always();
}

impl Request for DescribeQuorumRequest {
    const API_KEY: ApiKey = ApiKey::DescribeQuorum;
    type Response = DescribeQuorumResponse;
}

message! {
    /// The answer to [`DescribeQuorumRequest`].
    DescribeQuorumResponse, versions 0..=2, flexible 0;
    /// The top level error code.
    error_code: i16, always();
    /// The error message, or null if there was no error.
    error_message: Option<String>, since(2).ignorable();
    /// The response from the describe quorum API.
    topics: Vec<DescribedTopic>, always();
    /// The nodes in the quorum.
    nodes: Vec<Node>, since(2);
}

message! {
    /// An element of [`DescribeQuorumResponse::topics`].
    DescribedTopic, versions 0..=2, flexible 0;
    /// The topic name.
    topic_name: String, always();
    /// The partition data.
    partitions: Vec<DescribedPartition>, always();
}

message! {
    /// An element of [`DescribedTopic::partitions`].
    DescribedPartition, versions 0..=2, flexible 0;
    /// The partition index.
    partition_index: i32, always();
    /// The partition error code.
    error_code: i16, always();
    /// The error message, or null if there was no error.
    error_message: Option<String>, since(2).ignorable();
    /// The ID of the current leader or -1 if the leader is unknown.
    leader_id: i32, always();
    /// The latest known leader epoch.
    leader_epoch: i32, always();
    /// The high water mark.
    high_watermark: i64, always();
    /// The current voters of the partition.
    current_voters: Vec<ReplicaState>, always();
    /// The observers of the partition.
    observers: Vec<ReplicaState>, always();
}

message! {
    /// An element of [`DescribedPartition::current_voters`] and [`DescribedPartition::observers`].
    ReplicaState, versions 0..=2, flexible 0;
    /// The ID of the replica.
    replica_id: i32, always();
    /// The replica directory ID of the replica.
    replica_directory_id: Uuid, since(2);
    /// The last known log end offset of the follower or -1 if it is unknown.
    log_end_offset: i64, always();
    /// The last known leader wall clock time when a follower fetched from the leader, or -1.
    last_fetch_timestamp: i64 = -1, since(1).ignorable();
    /// The leader wall clock append time of the offset for which the follower made the most recent fetch, or -1.
    last_caught_up_timestamp: i64 = -1, since(1).ignorable();
}

message! {
    /// An element of [`DescribeQuorumResponse::nodes`].
    Node, versions 0..=2, flexible 0;
    /// The ID of the associated node.
    node_id: i32, since(2);
    /// The listeners of this controller.
    listeners: Vec<Listener>, since(2);
}

message! {
    /// An element of [`Node::listeners`].
    Listener, versions 0..=2, flexible 0;
    /// The name of the endpoint.
    name: String, since(2);
    /// The hostname.
    host: String, since(2);
    /// The port.
    port: u16, since(2);
}
