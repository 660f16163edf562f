//! IncrementalAlterConfigs: sets and removes configs of topics, those of one topic all or none.

use std::collections::BTreeMap;

use kafka_wire::{
    ErrorCode,
    messages::{
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
        incremental_alter_configs::{AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig},
    },
};

use crate::{access::Operation, broker::Context, partition::Refusal, topic_config};

const TOPIC: i8 = 2;
const SET: i8 = 0;
const DELETE: i8 = 1;

pub(crate) async fn handle(
    context: Context,
    request: IncrementalAlterConfigsRequest,
    _: i16,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let refusal = alter(&context, &resource, request.validate_only).await.err();
        responses.push(AlterConfigsResourceResponse {
            error_code: refusal.as_ref().map_or(ErrorCode::None, |refusal| refusal.code).code(),
            error_message: refusal.and_then(|refusal| refusal.message),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
        });
    }
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

async fn alter(context: &Context, resource: &AlterConfigsResource, only_check: bool) -> Result<(), Refusal> {
    if resource.resource_type != TOPIC {
        let text =
            "only configs of topics (resource type 2) change while the broker runs: use its settings file";
        return Err(Refusal::new(ErrorCode::InvalidRequest, text));
    }
    let name = &resource.resource_name;
    if !context.allows_topic(Operation::AlterConfigs, name) {
        return Err(ErrorCode::TopicAuthorizationFailed.into());
    }
    let topic = context.broker.topics.by_name(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let mut set = topic.config().set.clone();
    for config in &resource.configs {
        apply(&mut set, config)?;
    }
    context.broker.topics.configure(name, set, only_check).await
}

fn apply(set: &mut BTreeMap<String, String>, config: &AlterableConfig) -> Result<(), Refusal> {
    let invalid = |text: String| Refusal::new(ErrorCode::InvalidConfig, text);
    if topic_config::find(&config.name).is_none() {
        return Err(invalid(format!("{} is not a topic config of this broker: remove it", config.name)));
    }
    match (config.config_operation, &config.value) {
        (SET, Some(value)) => set.insert(config.name.clone(), value.clone()),
        (DELETE, _) => set.remove(&config.name),
        (SET, None) => return Err(invalid(format!("{} has no value", config.name))),
        _ => return Err(invalid(format!("{}: lists cannot be appended to here, use set", config.name))),
    };
    Ok(())
}
