//! ListPartitionReassignments: on one node nothing is ever moved.

use kafka_wire::{
    ErrorCode,
    messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse},
};

use crate::{access::Operation, broker::Context};

pub(crate) async fn handle(
    context: Context,
    _: ListPartitionReassignmentsRequest,
    _: i16,
) -> ListPartitionReassignmentsResponse {
    let allowed = context.allows_cluster(Operation::Describe);
    let code = if allowed { ErrorCode::None } else { ErrorCode::ClusterAuthorizationFailed };
    ListPartitionReassignmentsResponse { error_code: code.code(), error_message: None, ..Default::default() }
}
