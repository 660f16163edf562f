//! SyncGroup: the leader hands in who gets what, everybody gets its part.

use kafka_wire::{
    ErrorCode,
    messages::{SyncGroupRequest, SyncGroupResponse},
};

use super::join_group::check_group;
use crate::{broker::Context, groups::group::Sync};

pub(crate) async fn handle(context: Context, request: SyncGroupRequest, _: i16) -> SyncGroupResponse {
    let failed = |code: ErrorCode| SyncGroupResponse { error_code: code.code(), ..Default::default() };
    if let Err(code) = check_group(&context, &request.group_id) {
        return failed(code);
    }
    let sync = Sync {
        member: request.member_id,
        instance: request.group_instance_id,
        generation: request.generation_id,
        protocol_type: request.protocol_type,
        protocol: request.protocol_name,
        assignments: request.assignments.into_iter().map(|it| (it.member_id, it.assignment)).collect(),
    };
    let synced = context.broker.shutdown.or(context.broker.groups.sync(&request.group_id, sync)).await;
    match synced.unwrap_or(Err(ErrorCode::CoordinatorNotAvailable)) {
        Ok(synced) => SyncGroupResponse {
            protocol_type: Some(synced.protocol_type),
            protocol_name: Some(synced.protocol),
            assignment: synced.assignment,
            ..Default::default()
        },
        Err(code) => failed(code),
    }
}
