//! ElectLeaders (key 43): asks for an election of partition leaders.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: asks for an election of partition leaders.
    ElectLeadersRequest, versions 0..=2, flexible 2;
    /// Type of elections to conduct for the partition. A value of '0' elects the preferred replica. A value of
    /// '1' elects the first live replica if there are no in-sync replica.
    election_type: i8, since(1);
    /// The topic partitions to elect leaders.
    topic_partitions: Option<Vec<TopicPartitions>> = Some(Default::default()), always();
    /// The time in ms to wait for the election to complete.
    timeout_ms: i32 = 60000, always();
}

message! {
    /// An element of [`ElectLeadersRequest::topic_partitions`].
    TopicPartitions, versions 0..=2, flexible 2;
    /// The name of a topic.
    topic: String, always();
    /// The partitions of this topic whose leader should be elected.
    partitions: Vec<i32>, always();
}

impl Request for ElectLeadersRequest {
    const API_KEY: ApiKey = ApiKey::ElectLeaders;
    type Response = ElectLeadersResponse;
}

message! {
    /// The answer to [`ElectLeadersRequest`].
    ElectLeadersResponse, versions 0..=2, flexible 2;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The top level response error code.
    error_code: i16, since(1);
    /// The election results, or an empty array if the requester did not have permission and the request asks
    /// for all partitions.
    replica_election_results: Vec<ReplicaElectionResult>, always();
}

message! {
    /// An element of [`ElectLeadersResponse::replica_election_results`].
    ReplicaElectionResult, versions 0..=2, flexible 2;
    /// The topic name.
    topic: String, always();
    /// The results for each partition.
    partition_result: Vec<PartitionResult>, always();
}

message! {
    /// An element of [`ReplicaElectionResult::partition_result`].
    PartitionResult, versions 0..=2, flexible 2;
    /// The partition id.
    partition_id: i32, always();
    /// The result error, or zero if there was no error.
    error_code: i16, always();
    /// The result message, or null if there was no error.
    error_message: Option<String> = Some(Default::default()), always();
}
