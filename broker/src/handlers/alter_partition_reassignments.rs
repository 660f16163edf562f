//! AlterPartitionReassignments: replicas can be on the one node only, where they are.

use kafka_wire::{
    ErrorCode,
    messages::{
        AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
        alter_partition_reassignments::{
            ReassignablePartition, ReassignablePartitionResponse, ReassignableTopicResponse,
        },
    },
};

use crate::{
    access::Operation,
    broker::{Context, NODE_ID},
    partition::Refusal,
    topics::Topic,
};

pub(crate) async fn handle(
    context: Context,
    request: AlterPartitionReassignmentsRequest,
    _: i16,
) -> AlterPartitionReassignmentsResponse {
    let allow_replication_factor_change = request.allow_replication_factor_change;
    if !context.allows_cluster(Operation::Alter) {
        return AlterPartitionReassignmentsResponse {
            allow_replication_factor_change,
            error_code: ErrorCode::ClusterAuthorizationFailed.code(),
            error_message: None,
            ..Default::default()
        };
    }
    let responses = request.topics.into_iter().map(|wanted| {
        let topic = context.broker.topics.by_name(&wanted.name);
        let partitions = wanted.partitions.iter().map(|wanted| {
            let refusal = reassign(topic.as_deref(), wanted).err();
            ReassignablePartitionResponse {
                partition_index: wanted.partition_index,
                error_code: refusal.as_ref().map_or(ErrorCode::None, |refusal| refusal.code).code(),
                error_message: refusal.and_then(|refusal| refusal.message),
            }
        });
        ReassignableTopicResponse { partitions: partitions.collect(), name: wanted.name }
    });
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change,
        error_message: None,
        responses: responses.collect(),
        ..Default::default()
    }
}

fn reassign(topic: Option<&Topic>, wanted: &ReassignablePartition) -> Result<(), Refusal> {
    let partition = topic.and_then(|topic| topic.partition(wanted.partition_index));
    partition.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    match wanted.replicas.as_deref() {
        None => Err(Refusal::new(ErrorCode::NoReassignmentInProgress, "no reassignment is in progress")),
        Some([node]) if *node == NODE_ID => Ok(()),
        Some(_) => {
            let text = format!("there is one node: the replicas can only be [{NODE_ID}]");
            Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text))
        }
    }
}
