//! DescribeGroups: state and members of groups.

use bytes::Bytes;
use kafka_wire::{
    ErrorCode,
    messages::{
        DescribeGroupsRequest, DescribeGroupsResponse,
        describe_groups::{DescribedGroup, DescribedGroupMember},
    },
};

use crate::{
    access::{Operation, ResourceKind},
    broker::Context,
    groups::group::{Group, State},
};

/// From this version on an unknown group is an error.
const NOT_FOUND_SINCE: i16 = 6;

pub(crate) async fn handle(
    context: Context,
    request: DescribeGroupsRequest,
    version: i16,
) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter().map(|id| {
        let mut group = describe(&context, id, version);
        if request.include_authorized_operations && group.error_code == ErrorCode::None.code() {
            group.authorized_operations = context.operations(ResourceKind::Group, &group.group_id);
        }
        group
    });
    DescribeGroupsResponse { groups: groups.collect(), ..Default::default() }
}

fn describe(context: &Context, group_id: String, version: i16) -> DescribedGroup {
    if !context.allows_group(Operation::Describe, &group_id) {
        let error_code = ErrorCode::GroupAuthorizationFailed.code();
        return DescribedGroup { group_id, error_code, ..Default::default() };
    }
    let known = context.broker.groups.with_group(&group_id, |group, _| describe_known(group));
    if let Some(described) = known {
        return DescribedGroup { group_id, ..described };
    }
    let groups = &context.broker.groups;
    let is_consumer_group = groups.is_consumer_group(&group_id);
    if !is_consumer_group && groups.offsets.has(&group_id) {
        return DescribedGroup { group_id, group_state: "Empty".to_owned(), ..Default::default() };
    }
    let group_state = "Dead".to_owned();
    if version < NOT_FOUND_SINCE {
        return DescribedGroup { group_id, group_state, ..Default::default() };
    }
    let text = if is_consumer_group { "is not a classic group" } else { "not found" };
    DescribedGroup {
        error_code: ErrorCode::GroupIdNotFound.code(),
        error_message: Some(format!("Group {group_id} {text}.")),
        group_id,
        group_state,
        ..Default::default()
    }
}

/// Before all have their parts, members have neither metadata nor assignments to show.
fn describe_known(group: &mut Group) -> DescribedGroup {
    let settled = group.state() == State::Stable;
    let protocol = if settled { group.protocol().to_owned() } else { String::new() };
    let members = group.members().map(|(id, member)| DescribedGroupMember {
        member_id: id.clone(),
        group_instance_id: member.instance.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        member_metadata: if settled { member.metadata(&protocol) } else { Bytes::new() },
        member_assignment: if settled { member.assignment.clone() } else { Bytes::new() },
    });
    DescribedGroup {
        members: members.collect(),
        group_state: group.state().name().to_owned(),
        protocol_type: group.protocol_type().to_owned(),
        protocol_data: protocol,
        ..Default::default()
    }
}
