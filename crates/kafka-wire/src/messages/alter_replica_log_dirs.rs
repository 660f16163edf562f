//! AlterReplicaLogDirs (key 34): moves replicas between the log folders of a node.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message};

message! {
    /// The request: moves replicas between the log folders of a node.
    AlterReplicaLogDirsRequest, versions 1..=2, flexible 2;
    /// The alterations to make for each directory.
    dirs: Vec<AlterReplicaLogDir>, always();
}

message! {
    /// An element of [`AlterReplicaLogDirsRequest::dirs`].
    AlterReplicaLogDir, versions 1..=2, flexible 2;
    /// The absolute directory path.
    path: String, always();
    /// The topics to add to the directory.
    topics: Vec<AlterReplicaLogDirTopic>, always();
}

message! {
    /// An element of [`AlterReplicaLogDir::topics`].
    AlterReplicaLogDirTopic, versions 1..=2, flexible 2;
    /// The topic name.
    name: String, always();
    /// The partition indexes.
    partitions: Vec<i32>, always();
}

impl Request for AlterReplicaLogDirsRequest {
    const API_KEY: ApiKey = ApiKey::AlterReplicaLogDirs;
    type Response = AlterReplicaLogDirsResponse;
}

message! {
    /// The answer to [`AlterReplicaLogDirsRequest`].
    AlterReplicaLogDirsResponse, versions 1..=2, flexible 2;
    /// Duration in milliseconds for which the request was throttled due to a quota violation, or zero if the
    /// request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The results for each topic.
    results: Vec<AlterReplicaLogDirTopicResult>, always();
}

message! {
    /// An element of [`AlterReplicaLogDirsResponse::results`].
    AlterReplicaLogDirTopicResult, versions 1..=2, flexible 2;
    /// The name of the topic.
    topic_name: String, always();
    /// The results for each partition.
    partitions: Vec<AlterReplicaLogDirPartitionResult>, always();
}

message! {
    /// An element of [`AlterReplicaLogDirTopicResult::partitions`].
    AlterReplicaLogDirPartitionResult, versions 1..=2, flexible 2;
    /// The partition index.
    partition_index: i32, always();
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
}
