//! ListGroups: the groups that the caller may know of.

use kafka_wire::messages::{ListGroupsRequest, ListGroupsResponse, list_groups::ListedGroup};

use crate::{
    access::ResourceKind,
    broker::{CLUSTER_NAME, Context},
};

pub(crate) async fn handle(context: Context, request: ListGroupsRequest, _: i16) -> ListGroupsResponse {
    let picks = |filter: &[String], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let may_see_all = context.may_see(ResourceKind::Cluster, CLUSTER_NAME);
    let listed = context.broker.groups.list().into_iter();
    let listed = listed.filter(|group| {
        picks(&request.states_filter, group.state)
            && picks(&request.types_filter, group.group_type)
            && (may_see_all || context.may_see(ResourceKind::Group, &group.id))
    });
    let groups = listed.map(|group| ListedGroup {
        group_id: group.id,
        protocol_type: group.protocol_type,
        group_state: group.state.to_owned(),
        group_type: group.group_type.to_owned(),
    });
    ListGroupsResponse { groups: groups.collect(), ..Default::default() }
}
