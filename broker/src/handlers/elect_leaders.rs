//! ElectLeaders: the one node leads every partition already.

use kafka_wire::{
    ErrorCode,
    messages::{
        ElectLeadersRequest, ElectLeadersResponse,
        elect_leaders::{PartitionResult, ReplicaElectionResult},
    },
};

use crate::{access::Operation, broker::Context};

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

pub(crate) async fn handle(context: Context, request: ElectLeadersRequest, _: i16) -> ElectLeadersResponse {
    if !context.allows_cluster(Operation::Alter) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return ElectLeadersResponse { error_code, ..Default::default() };
    }
    if !(PREFERRED..=UNCLEAN).contains(&request.election_type) {
        return ElectLeadersResponse { error_code: ErrorCode::InvalidRequest.code(), ..Default::default() };
    }
    // Asked for all partitions, Kafka names only those that had an election.
    let wanted = request.topic_partitions.unwrap_or_default();
    let results = wanted.into_iter().map(|wanted| {
        let topic = context.broker.topics.by_name(&wanted.topic);
        let partitions = wanted.partitions.into_iter().map(|partition_id| {
            let there = topic.as_ref().is_some_and(|topic| topic.partition(partition_id).is_some());
            let (code, text) = if there {
                (ErrorCode::ElectionNotNeeded, "the leader is the preferred one")
            } else {
                (ErrorCode::UnknownTopicOrPartition, "there is no such partition")
            };
            PartitionResult { partition_id, error_code: code.code(), error_message: Some(text.to_owned()) }
        });
        ReplicaElectionResult { partition_result: partitions.collect(), topic: wanted.topic }
    });
    ElectLeadersResponse { replica_election_results: results.collect(), ..Default::default() }
}
