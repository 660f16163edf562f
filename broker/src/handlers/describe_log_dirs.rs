//! DescribeLogDirs: how large partitions are, and how full the disk is.

use kafka_wire::{
    ErrorCode,
    messages::{
        DescribeLogDirsRequest, DescribeLogDirsResponse,
        describe_log_dirs::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic},
    },
};

use crate::{access::Operation, broker::Context, topics::Topic};

/// The one folder; its real place is nobody's business outside.
pub(crate) const FOLDER: &str = "/data";

pub(crate) async fn handle(
    context: Context,
    request: DescribeLogDirsRequest,
    _: i16,
) -> DescribeLogDirsResponse {
    if !context.allows_cluster(Operation::Describe) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return DescribeLogDirsResponse { error_code, ..Default::default() };
    }
    let topics = context.broker.topics.all().into_iter().filter_map(|topic| {
        let wanted = match &request.topics {
            None => None,
            Some(wanted) => Some(&wanted.iter().find(|it| *it.topic == *topic.name)?.partitions),
        };
        Some(describe(&topic, wanted))
    });
    let metrics = &context.broker.metrics;
    let total_bytes = metrics.disk.capacity_bytes.get();
    let result = DescribeLogDirsResult {
        log_dir: FOLDER.to_owned(),
        topics: topics.collect(),
        total_bytes,
        usable_bytes: total_bytes.saturating_sub(metrics.disk.used_bytes.get()),
        ..Default::default()
    };
    DescribeLogDirsResponse { results: vec![result], ..Default::default() }
}

fn describe(topic: &Topic, wanted: Option<&Vec<i32>>) -> DescribeLogDirsTopic {
    let partitions = topic.partitions();
    let picked = partitions.iter().filter(|it| wanted.is_none_or(|wanted| wanted.contains(&it.index)));
    let partitions = picked.map(|partition| DescribeLogDirsPartition {
        partition_index: partition.index,
        partition_size: i64::try_from(partition.size()).unwrap_or(i64::MAX),
        ..Default::default()
    });
    DescribeLogDirsTopic { name: topic.name.to_string(), partitions: partitions.collect() }
}
