//! ListGroups: the groups that the caller may know of.

use kafka_wire::messages::{ListGroupsRequest, ListGroupsResponse, list_groups::ListedGroup};

use crate::{
    access::ResourceKind,
    broker::{CLUSTER_NAME, Context},
};

const TYPE: &str = "classic";

pub(crate) async fn handle(context: Context, request: ListGroupsRequest, _: i16) -> ListGroupsResponse {
    let picks = |filter: &[String], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let may_see_all = context.may_see(ResourceKind::Cluster, CLUSTER_NAME);
    let listed = context.broker.groups.list().into_iter();
    let listed = listed.filter(|(id, state, _)| {
        picks(&request.states_filter, state.name())
            && picks(&request.types_filter, TYPE)
            && (may_see_all || context.may_see(ResourceKind::Group, id))
    });
    let groups = listed.map(|(group_id, state, protocol_type)| ListedGroup {
        group_id,
        protocol_type,
        group_state: state.name().to_owned(),
        group_type: TYPE.to_owned(),
    });
    ListGroupsResponse { groups: groups.collect(), ..Default::default() }
}
