//! IncrementalAlterConfigs: sets, removes, appends to and takes from configs, those of one resource all or none.

use std::collections::BTreeSet;

use kafka_wire::{
    ErrorCode,
    messages::{
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
        incremental_alter_configs::{AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig},
    },
};

use super::{
    change_configs::{self, Resource, Values},
    repeated::repeated,
};
use crate::{broker::Context, partition::Refusal, topic_config};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(crate) async fn handle(
    context: Context,
    request: IncrementalAlterConfigsRequest,
    _: i16,
) -> IncrementalAlterConfigsResponse {
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
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

fn named(resource: &AlterConfigsResource) -> Resource<'_> {
    Resource { kind: resource.resource_type, name: &resource.resource_name }
}

async fn alter(context: &Context, resource: &AlterConfigsResource, only_check: bool) -> Result<(), Refusal> {
    let resource_named = named(resource);
    let mut set = change_configs::current(context, resource_named)?;
    let mut seen = BTreeSet::new();
    for config in &resource.configs {
        if !seen.insert(config.name.as_str()) {
            let text = format!("{} is in the request twice", config.name);
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
        apply(&mut set, resource_named, config)?;
    }
    change_configs::replace(context, resource_named, set, only_check).await
}

fn apply(set: &mut Values, resource: Resource<'_>, config: &AlterableConfig) -> Result<(), Refusal> {
    let invalid = |text: String| Refusal::new(ErrorCode::InvalidConfig, text);
    let name = &config.name;
    if resource.kind == change_configs::TOPIC && topic_config::find(name).is_none() {
        return Err(invalid(format!("{name} is not a topic config of this broker: remove it")));
    }
    match (config.config_operation, &config.value) {
        (DELETE, _) => {
            set.remove(name);
        }
        (SET, Some(value)) => {
            set.insert(name.clone(), value.clone());
        }
        (APPEND | SUBTRACT, Some(value)) => {
            if !change_configs::is_list(resource, name) {
                return Err(invalid(format!("{name} is not a list: use set")));
            }
            let now = set.get(name).cloned().unwrap_or_else(|| change_configs::default_list(resource, name));
            set.insert(name.clone(), joined(&now, value, config.config_operation == APPEND));
        }
        (SET | APPEND | SUBTRACT, None) => return Err(invalid(format!("{name} has no value"))),
        (other, _) => {
            let text = format!("{name}: there is no operation {other}");
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
    }
    Ok(())
}

/// The list with the items of `change` added, once each, or taken out.
fn joined(now: &str, change: &str, add: bool) -> String {
    let items = |text: &str| -> Vec<String> {
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    };
    let (mut list, change) = (items(now), items(change));
    if add {
        for item in change {
            if !list.contains(&item) {
                list.push(item);
            }
        }
    } else {
        list.retain(|item| !change.contains(item));
    }
    list.join(",")
}

#[cfg(test)]
mod tests {
    use super::joined;

    /// Goal: items are appended once and taken out wherever they stand.
    #[test]
    fn lists_are_appended_to_and_taken_from() {
        assert_eq!(joined("delete", "compact", true), "delete,compact");
        assert_eq!(joined("delete, compact", "compact", true), "delete,compact");
        assert_eq!(joined("delete,compact", "delete", false), "compact");
        assert_eq!(joined("", "compact", true), "compact");
    }
}
