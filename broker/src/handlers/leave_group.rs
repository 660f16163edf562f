//! LeaveGroup: members go, by themselves or sent by an administrator.

use kafka_wire::{
    ErrorCode,
    messages::{LeaveGroupRequest, LeaveGroupResponse, leave_group::MemberResponse},
};

use super::join_group::check_group;
use crate::broker::Context;

/// From this version on several members may leave at once.
const SEVERAL_SINCE: i16 = 3;

pub(crate) async fn handle(context: Context, request: LeaveGroupRequest, version: i16) -> LeaveGroupResponse {
    let failed = |code: ErrorCode| LeaveGroupResponse { error_code: code.code(), ..Default::default() };
    if let Err(code) = check_group(&context, &request.group_id) {
        return failed(code);
    }
    let group = &request.group_id;
    if version < SEVERAL_SINCE {
        let outcome = leave(&context, group, &request.member_id, None).await;
        return failed(outcome.err().unwrap_or(ErrorCode::None));
    }
    let mut members = Vec::with_capacity(request.members.len());
    for member in request.members {
        let outcome = leave(&context, group, &member.member_id, member.group_instance_id.as_deref()).await;
        members.push(MemberResponse {
            error_code: outcome.as_ref().err().copied().unwrap_or(ErrorCode::None).code(),
            member_id: outcome.unwrap_or(member.member_id),
            group_instance_id: member.group_instance_id,
        });
    }
    LeaveGroupResponse { members, ..Default::default() }
}

async fn leave(
    context: &Context,
    group: &str,
    member: &str,
    instance: Option<&str>,
) -> Result<String, ErrorCode> {
    context.broker.groups.leave(group, member, instance).await
}
