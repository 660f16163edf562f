//! DescribeLogDirs (key 35): tells the sizes of partitions on disk.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: tells the sizes of partitions on disk.
    DescribeLogDirsRequest, versions 1..=5, flexible 2;
    /// Each topic that we want to describe log directories for, or null for all topics.
    topics: Option<Vec<DescribableLogDirTopic>> = Some(Default::default()), always();
}

message! {
    /// An element of [`DescribeLogDirsRequest::topics`].
    DescribableLogDirTopic, versions 1..=5, flexible 2;
    /// The topic name.
    topic: String, always();
    /// The partition indexes.
    partitions: Vec<i32>, always();
}

impl Request for DescribeLogDirsRequest {
    const API_KEY: ApiKey = ApiKey::DescribeLogDirs;
    type Response = DescribeLogDirsResponse;
}

message! {
    /// The answer to [`DescribeLogDirsRequest`].
    DescribeLogDirsResponse, versions 1..=5, flexible 2;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The error code, or 0 if there was no error.
    error_code: i16, since(3).ignorable();
    /// The log directories.
    results: Vec<DescribeLogDirsResult>, always();
}

message! {
    /// An element of [`DescribeLogDirsResponse::results`].
    DescribeLogDirsResult, versions 1..=5, flexible 2;
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
    /// The absolute log directory path.
    log_dir: String, always();
    /// The topics.
    topics: Vec<DescribeLogDirsTopic>, always();
    /// The total size in bytes of the volume the log directory is in.
    total_bytes: i64 = -1, since(4).ignorable();
    /// The usable size in bytes of the volume the log directory is in.
    usable_bytes: i64 = -1, since(4).ignorable();
    /// True if this log directory is cordoned.
    is_cordoned: bool, since(5).ignorable();
}

message! {
    /// An element of [`DescribeLogDirsResult::topics`].
    DescribeLogDirsTopic, versions 1..=5, flexible 2;
    /// The topic name.
    name: String, always();
    /// The partitions.
    partitions: Vec<DescribeLogDirsPartition>, always();
}

message! {
    /// An element of [`DescribeLogDirsTopic::partitions`].
    DescribeLogDirsPartition, versions 1..=5, flexible 2;
    /// The partition index.
    partition_index: i32, always();
    /// The size of the log segments in this partition in bytes.
    partition_size: i64, always();
    /// The lag of the log's LEO w.r.t. partition's HW (if it is the current log for the partition) or current
    /// replica's LEO (if it is the future log for the partition).
    offset_lag: i64, always();
    /// True if this log is created by AlterReplicaLogDirsRequest and will replace the current log of the
    /// replica in the future.
    is_future_key: bool, always();
}
