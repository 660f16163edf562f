//! AlterReplicaLogDirs: there is one folder, so a partition that shall be in it is there already.

use kafka_wire::{
    ErrorCode,
    messages::{
        AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse,
        alter_replica_log_dirs::{AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult},
    },
};

use super::describe_log_dirs::FOLDER;
use crate::{access::Operation, broker::Context};

pub(crate) async fn handle(
    context: Context,
    request: AlterReplicaLogDirsRequest,
    _: i16,
) -> AlterReplicaLogDirsResponse {
    let allowed = context.allows_cluster(Operation::Alter);
    let topics = request.dirs.into_iter().flat_map(|folder| {
        let path = folder.path;
        folder.topics.into_iter().map(move |topic| (path.clone(), topic))
    });
    let results = topics.map(|(path, topic)| {
        let known = context.broker.topics.by_name(&topic.name);
        let partitions = topic.partitions.into_iter().map(|partition_index| {
            let there = known.as_ref().is_some_and(|topic| topic.partition(partition_index).is_some());
            let code = match (allowed, there) {
                (false, _) => ErrorCode::ClusterAuthorizationFailed,
                _ if path != FOLDER => ErrorCode::LogDirNotFound,
                (true, false) => ErrorCode::ReplicaNotAvailable,
                (true, true) => ErrorCode::None,
            };
            AlterReplicaLogDirPartitionResult { partition_index, error_code: code.code() }
        });
        AlterReplicaLogDirTopicResult { partitions: partitions.collect(), topic_name: topic.name }
    });
    AlterReplicaLogDirsResponse { results: results.collect(), ..Default::default() }
}
