//! DescribeConfigs: configs of topics, of the broker and of groups, with where each value comes from.

use std::collections::BTreeMap;

use kafka_wire::{
    ErrorCode,
    messages::{
        DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs::{
            DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult,
            DescribeConfigsSynonym,
        },
    },
};

use super::change_configs::{self, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use crate::{
    access::Operation,
    broker::Context,
    dynamic_config::{GROUP_DEFINITIONS, Scope},
    partition::Refusal,
    settings::ConsumerGroupSettings,
    topic_config::{DEFINITIONS, Definition, Kind},
};

mod of_broker;

const SOURCE_TOPIC: i8 = 1;
const SOURCE_NODE: i8 = 2;
const SOURCE_ALL_NODES: i8 = 3;
const SOURCE_STATIC_BROKER: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;
const SOURCE_GROUP: i8 = 8;

pub(crate) async fn handle(
    context: Context,
    request: DescribeConfigsRequest,
    _: i16,
) -> DescribeConfigsResponse {
    let (synonyms, documentation) = (request.include_synonyms, request.include_documentation);
    let results = request.resources.into_iter().map(|resource| {
        let wanted = resource.configuration_keys.clone();
        let outcome = describe(&context, &resource);
        let (refusal, mut configs) = match outcome {
            Ok(configs) => (None, configs),
            Err(refusal) => (Some(refusal), Vec::new()),
        };
        if let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) {
            configs.retain(|config| wanted.contains(&config.name));
        }
        for config in &mut configs {
            if !synonyms {
                config.synonyms.clear();
            }
            if !documentation {
                config.documentation = None;
            }
        }
        DescribeConfigsResult {
            error_code: refusal.as_ref().map_or(ErrorCode::None, |refusal| refusal.code).code(),
            error_message: refusal.and_then(|refusal| refusal.message),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            configs,
        }
    });
    DescribeConfigsResponse { results: results.collect(), ..Default::default() }
}

fn describe(
    context: &Context,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let name = &resource.resource_name;
    let cluster = || {
        let allowed = context.allows_cluster(Operation::DescribeConfigs);
        if allowed { Ok(()) } else { Err(Refusal::from(ErrorCode::ClusterAuthorizationFailed)) }
    };
    match resource.resource_type {
        TOPIC => {
            if !context.allows_topic(Operation::DescribeConfigs, name) {
                return Err(ErrorCode::TopicAuthorizationFailed.into());
            }
            let topic = context.broker.topics.by_name(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
            Ok(of_topic(&Layers::of(context), &topic.config().set))
        }
        BROKER => {
            cluster()?;
            match change_configs::node(name)? {
                // What is set for all nodes, and nothing else, as in Kafka.
                Scope::AllNodes => Ok(of_broker::all_nodes(&context.broker.configs.get(Scope::AllNodes))),
                _ => Ok(of_broker::node(context)),
            }
        }
        BROKER_LOGGER => {
            cluster()?;
            change_configs::node(name)?;
            // The level is given with the environment at the start; none can be changed.
            Ok(Vec::new())
        }
        CLIENT_METRICS => cluster().map(|()| Vec::new()),
        GROUP => {
            if !context.allows_group(Operation::DescribeConfigs, name) {
                return Err(ErrorCode::GroupAuthorizationFailed.into());
            }
            let settings = &context.broker.settings.consumer_groups;
            Ok(of_group(&context.broker.configs.get(Scope::Group(name)), settings))
        }
        other => {
            let text =
                format!("resource type {other} has no configs: ask for 2 (topic), 4 (broker) or 32 (group)");
            Err(Refusal::new(ErrorCode::InvalidRequest, text))
        }
    }
}

/// Where a topic's configs come from that are not its own, by the broker's names for them.
#[derive(Default)]
pub(crate) struct Layers {
    node: BTreeMap<String, String>,
    all_nodes: BTreeMap<String, String>,
    /// By the topic's names.
    settings: BTreeMap<String, String>,
}

impl Layers {
    pub(crate) fn of(context: &Context) -> Self {
        let broker = &context.broker;
        Self {
            node: broker.configs.get(Scope::Node),
            all_nodes: broker.configs.get(Scope::AllNodes),
            settings: broker.settings.topic_defaults.clone(),
        }
    }

    /// All that give a config a value, the nearest first.
    fn synonyms(&self, definition: &Definition) -> Vec<DescribeConfigsSynonym> {
        let broker_name = definition.broker_name;
        let from = |name: &str, value: Option<&str>, source: i8| {
            let (name, value) = (name.to_owned(), Some(value?.to_owned()));
            Some(DescribeConfigsSynonym { name, value, source })
        };
        let value = |map: &BTreeMap<String, String>, name: &str| map.get(name).cloned();
        let default_name = if broker_name.is_empty() { definition.name } else { broker_name };
        let all = [
            from(broker_name, value(&self.node, broker_name).as_deref(), SOURCE_NODE),
            from(broker_name, value(&self.all_nodes, broker_name).as_deref(), SOURCE_ALL_NODES),
            from(broker_name, value(&self.settings, definition.name).as_deref(), SOURCE_STATIC_BROKER),
            from(default_name, Some(definition.default), SOURCE_DEFAULT),
        ];
        all.into_iter().flatten().collect()
    }
}

/// The configs of a topic: its own, the broker's, the built-in ones.
pub(crate) fn of_topic(
    layers: &Layers,
    set: &BTreeMap<String, String>,
) -> Vec<DescribeConfigsResourceResult> {
    let all = DEFINITIONS.iter().map(|definition| {
        let own = set.get(definition.name).map(|value| DescribeConfigsSynonym {
            name: definition.name.to_owned(),
            value: Some(value.clone()),
            source: SOURCE_TOPIC,
        });
        let synonyms = own.into_iter().chain(layers.synonyms(definition)).collect();
        described(definition.name, definition.kind, synonyms, definition.documentation)
    });
    all.collect()
}

fn of_group(
    set: &BTreeMap<String, String>,
    settings: &ConsumerGroupSettings,
) -> Vec<DescribeConfigsResourceResult> {
    let all = GROUP_DEFINITIONS.iter().map(|definition| {
        let synonym = |value: String, source: i8| DescribeConfigsSynonym {
            name: definition.name.to_owned(),
            value: Some(value),
            source,
        };
        let own = set.get(definition.name).map(|value| synonym(value.clone(), SOURCE_GROUP));
        let default_ms = (definition.setting)(&ConsumerGroupSettings::default()).ms;
        let broker_ms = (definition.setting)(settings).ms;
        let of_broker =
            (broker_ms != default_ms).then(|| synonym(broker_ms.to_string(), SOURCE_STATIC_BROKER));
        let default = synonym(default_ms.to_string(), SOURCE_DEFAULT);
        let synonyms = own.into_iter().chain(of_broker).chain([default]).collect();
        described(definition.name, Kind::Int, synonyms, definition.documentation)
    });
    all.collect()
}

fn described(
    name: &str,
    kind: Kind,
    synonyms: Vec<DescribeConfigsSynonym>,
    documentation: &str,
) -> DescribeConfigsResourceResult {
    let nearest = synonyms.first().cloned().unwrap_or_default();
    DescribeConfigsResourceResult {
        name: name.to_owned(),
        value: nearest.value,
        config_source: nearest.source,
        synonyms,
        config_type: kind as i8,
        documentation: Some(documentation.to_owned()),
        ..Default::default()
    }
}
