//! ListConfigResources: what has configs that can be asked for.

use kafka_wire::{
    ErrorCode,
    messages::{
        ListConfigResourcesRequest, ListConfigResourcesResponse, list_config_resources::ConfigResource,
    },
};

use super::change_configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use crate::{
    access::Operation,
    broker::{Context, NODE_ID},
};

const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

pub(crate) async fn handle(
    context: Context,
    request: ListConfigResourcesRequest,
    version: i16,
) -> ListConfigResourcesResponse {
    let failed =
        |code: ErrorCode| ListConfigResourcesResponse { error_code: code.code(), ..Default::default() };
    if !context.allows_cluster(Operation::DescribeConfigs) {
        return failed(ErrorCode::ClusterAuthorizationFailed);
    }
    // Version 0 was for metrics that clients send, which this broker does not ask for.
    let wanted = match request.resource_types {
        _ if version == 0 => vec![CLIENT_METRICS],
        wanted if wanted.is_empty() => ALL.to_vec(),
        wanted => wanted,
    };
    if !wanted.iter().all(|kind| ALL.contains(kind)) {
        return failed(ErrorCode::UnsupportedVersion);
    }
    let mut config_resources = Vec::new();
    for resource_type in ALL.into_iter().filter(|kind| wanted.contains(kind)) {
        let names = match resource_type {
            TOPIC => {
                let topics = context.broker.topics.all();
                topics.iter().map(|topic| topic.name.to_string()).collect()
            }
            BROKER | BROKER_LOGGER => vec![NODE_ID.to_string()],
            GROUP => context.broker.configs.groups(),
            _ => Vec::new(),
        };
        let named = names.into_iter().map(|resource_name| ConfigResource { resource_name, resource_type });
        config_resources.extend(named);
    }
    ListConfigResourcesResponse { config_resources, ..Default::default() }
}
