//! AlterConfigs: puts the given configs in place of all that a resource has of its own.

use std::collections::BTreeMap;

use kafka_wire::{
    ErrorCode,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse,
        alter_configs::{AlterConfigsResource, AlterConfigsResourceResponse},
    },
};

use super::change_configs::{self, Resource};
use crate::{broker::Context, partition::Refusal};

pub(crate) async fn handle(context: Context, request: AlterConfigsRequest, _: i16) -> AlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let same = |other: &&AlterConfigsResource| {
            other.resource_type == resource.resource_type && other.resource_name == resource.resource_name
        };
        let refusal = if request.resources.iter().filter(same).count() > 1 {
            Some(Refusal::new(ErrorCode::InvalidRequest, "the resource is in the request twice"))
        } else {
            alter(&context, resource, request.validate_only).await.err()
        };
        responses.push(AlterConfigsResourceResponse {
            error_code: refusal.as_ref().map_or(ErrorCode::None, |refusal| refusal.code).code(),
            error_message: refusal.and_then(|refusal| refusal.message),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        });
    }
    AlterConfigsResponse { responses, ..Default::default() }
}

async fn alter(context: &Context, resource: &AlterConfigsResource, only_check: bool) -> Result<(), Refusal> {
    let named = Resource { kind: resource.resource_type, name: &resource.resource_name };
    change_configs::current(context, named)?;
    let mut values = BTreeMap::new();
    for config in &resource.configs {
        let value = config
            .value
            .clone()
            .ok_or_else(|| Refusal::new(ErrorCode::InvalidConfig, format!("{} has no value", config.name)))?;
        if values.insert(config.name.clone(), value).is_some() {
            let text = format!("{} is in the request twice", config.name);
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
    }
    change_configs::replace(context, named, values, only_check).await
}
