//! JoinGroup: a member comes, and waits for the others.

use bytes::Bytes;
use kafka_wire::{
    ErrorCode,
    messages::{JoinGroupRequest, JoinGroupResponse, join_group::JoinGroupResponseMember},
};

use crate::{
    access::Operation,
    broker::Context,
    broker::new_id,
    groups::group::{Join, Joined},
};

/// The first version whose clients can be told an id before they join.
const ID_REQUIRED_SINCE: i16 = 4;
/// The first version where there may be no protocol.
const NULL_PROTOCOL_SINCE: i16 = 7;
/// The first version whose clients can be told not to assign.
const SKIP_SINCE: i16 = 9;
/// Characters of an id that a client chose.
const ID_LENGTH_MAX: usize = 1_000;

pub(crate) async fn handle(context: Context, request: JoinGroupRequest, version: i16) -> JoinGroupResponse {
    let group = request.group_id.clone();
    let answer = match check(&context, &request) {
        Ok(()) => {
            let join = context.broker.groups.join(&group, to_join(&context, request, version));
            let ended = || Err((ErrorCode::CoordinatorNotAvailable, String::new()));
            context.broker.shutdown.or(join).await.unwrap_or_else(ended)
        }
        Err(code) => Err((code, request.member_id)),
    };
    match answer {
        Ok(joined) => accepted(joined),
        Err((code, member_id)) => JoinGroupResponse {
            error_code: code.code(),
            member_id,
            protocol_name: (version < NULL_PROTOCOL_SINCE).then(String::new),
            ..Default::default()
        },
    }
}

fn check(context: &Context, request: &JoinGroupRequest) -> Result<(), ErrorCode> {
    check_group(context, &request.group_id)?;
    let too_long = |id: &str| id.len() > ID_LENGTH_MAX;
    if too_long(&request.member_id) || request.group_instance_id.as_deref().is_some_and(too_long) {
        return Err(ErrorCode::InvalidRequest);
    }
    Ok(())
}

/// Whether a group may be called so, and the caller may use it.
pub(crate) fn check_group(context: &Context, group: &str) -> Result<(), ErrorCode> {
    if group.is_empty() || group.len() > ID_LENGTH_MAX || group.contains('\0') {
        return Err(ErrorCode::InvalidGroupId);
    }
    if context.allows_group(Operation::Read, group) {
        Ok(())
    } else {
        Err(ErrorCode::GroupAuthorizationFailed)
    }
}

fn to_join(context: &Context, request: JoinGroupRequest, version: i16) -> Join {
    let base = request.group_instance_id.as_deref().unwrap_or(&context.client_id);
    let fresh_id = format!("{base}-{}", new_id());
    // Bytes of their own: a slice would keep the whole request in memory.
    let protocols = request.protocols.into_iter().map(|it| (it.name, Bytes::copy_from_slice(&it.metadata)));
    Join {
        member: request.member_id,
        instance: request.group_instance_id,
        client_id: context.client_id.to_string(),
        client_host: context.caller.host.clone(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        protocol_type: request.protocol_type,
        protocols: protocols.collect(),
        id_required: version >= ID_REQUIRED_SINCE,
        can_skip: version >= SKIP_SINCE,
        fresh_id,
    }
}

fn accepted(joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| JoinGroupResponseMember {
        member_id: member.id,
        group_instance_id: member.instance,
        metadata: member.metadata,
    });
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: Some(joined.protocol_type),
        protocol_name: Some(joined.protocol),
        leader: joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: joined.member,
        members: members.collect(),
        ..Default::default()
    }
}
