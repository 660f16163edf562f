//! Heartbeat: a member is alive.

use kafka_wire::{
    ErrorCode,
    messages::{HeartbeatRequest, HeartbeatResponse},
};

use super::join_group::check_group;
use crate::broker::Context;

pub(crate) async fn handle(context: Context, request: HeartbeatRequest, _: i16) -> HeartbeatResponse {
    let code = beat(&context, &request).err().unwrap_or(ErrorCode::None);
    HeartbeatResponse { error_code: code.code(), ..Default::default() }
}

fn beat(context: &Context, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
    check_group(context, &request.group_id)?;
    let caller = (request.member_id.as_str(), request.group_instance_id.as_deref());
    let beat = context.broker.groups.with_group(&request.group_id, |group, now_ms| {
        group.handle_heartbeat(caller, request.generation_id, now_ms)
    });
    beat.unwrap_or(Err(ErrorCode::UnknownMemberId))
}
