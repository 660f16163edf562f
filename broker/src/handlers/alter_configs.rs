//! AlterConfigs: puts the given configs in place of all that a resource has of its own.

use std::collections::BTreeMap;

use kafka_wire::{
    ErrorCode,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse,
        alter_configs::{AlterConfigsResource, AlterConfigsResourceResponse},
    },
};

use super::{
    change_configs::{self, Resource},
    repeated::repeated,
};
use crate::{broker::Context, partition::Refusal};

pub(crate) async fn handle(context: Context, request: AlterConfigsRequest, _: i16) -> AlterConfigsResponse {
    let twice = repeated(request.resources.iter().map(named));
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let outcome = if twice.contains(&named(resource)) {
            Err(change_configs::named_twice())
        } else {
            alter(&context, resource, request.validate_only).await
        };
        let (error_code, error_message) = change_configs::told(outcome);
        responses.push(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        });
    }
    AlterConfigsResponse { responses, ..Default::default() }
}

fn named(resource: &AlterConfigsResource) -> Resource<'_> {
    Resource { kind: resource.resource_type, name: &resource.resource_name }
}

async fn alter(context: &Context, resource: &AlterConfigsResource, only_check: bool) -> Result<(), Refusal> {
    let resource_named = named(resource);
    change_configs::current(context, resource_named)?;
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
    change_configs::replace(context, resource_named, values, only_check).await
}
