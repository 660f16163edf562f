//! DeleteGroups: groups without members, with their offsets.

use kafka_wire::{
    ErrorCode,
    messages::{DeleteGroupsRequest, DeleteGroupsResponse, delete_groups::DeletableGroupResult},
};

use crate::{access::Operation, broker::Context};

pub(crate) async fn handle(context: Context, request: DeleteGroupsRequest, _: i16) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names {
        let outcome = if context.allows_group(Operation::Delete, &group_id) {
            context.broker.groups.delete(&group_id, &context.broker.transactions.pending).await
        } else {
            Err(ErrorCode::GroupAuthorizationFailed)
        };
        let error_code = outcome.err().unwrap_or(ErrorCode::None).code();
        results.push(DeletableGroupResult { group_id, error_code });
    }
    DeleteGroupsResponse { results, ..Default::default() }
}
