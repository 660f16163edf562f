//! DescribeConfigs: configs of topics, with where each value comes from; and a few of the broker.

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

use crate::{
    access::Operation,
    broker::{Context, NODE_ID},
    partition::Refusal,
    settings::Settings,
    topic_config::{DEFINITIONS, Kind},
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SOURCE_TOPIC: i8 = 1;
const SOURCE_STATIC_BROKER: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

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
    let settings = &context.broker.settings;
    match resource.resource_type {
        TOPIC => {
            if !context.allows_topic(Operation::DescribeConfigs, name) {
                return Err(ErrorCode::TopicAuthorizationFailed.into());
            }
            let topic = context.broker.topics.by_name(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
            Ok(of_topic(&settings.topic_defaults, &topic.config().set))
        }
        BROKER => {
            if !context.allows_cluster(Operation::DescribeConfigs) {
                return Err(ErrorCode::ClusterAuthorizationFailed.into());
            }
            if !name.is_empty() && *name != NODE_ID.to_string() {
                let text = format!("there is no node {name}: the only one is {NODE_ID}");
                return Err(Refusal::new(ErrorCode::InvalidRequest, text));
            }
            Ok(of_broker(settings))
        }
        other => {
            let text = format!("resource type {other} has no configs here: ask for 2 (topic) or 4 (broker)");
            Err(Refusal::new(ErrorCode::InvalidRequest, text))
        }
    }
}

/// The configs of a topic: its own, the broker's settings, the built-in ones.
pub(crate) fn of_topic(
    defaults: &BTreeMap<String, String>,
    set: &BTreeMap<String, String>,
) -> Vec<DescribeConfigsResourceResult> {
    let all = DEFINITIONS.iter().map(|definition| {
        let mut synonyms = Vec::new();
        let mut synonym = |value: Option<&str>, source: i8| {
            if let Some(value) = value {
                let (name, value) = (definition.name.to_owned(), Some(value.to_owned()));
                synonyms.push(DescribeConfigsSynonym { name, value, source });
            }
        };
        synonym(set.get(definition.name).map(String::as_str), SOURCE_TOPIC);
        synonym(defaults.get(definition.name).map(String::as_str), SOURCE_STATIC_BROKER);
        synonym(Some(definition.default), SOURCE_DEFAULT);
        let nearest = synonyms.first().cloned().unwrap_or_default();
        DescribeConfigsResourceResult {
            name: definition.name.to_owned(),
            value: nearest.value,
            config_source: nearest.source,
            synonyms,
            config_type: definition.kind as i8,
            documentation: Some(definition.documentation.to_owned()),
            ..Default::default()
        }
    });
    all.collect()
}

fn of_broker(settings: &Settings) -> Vec<DescribeConfigsResourceResult> {
    let values = [
        ("auto.create.topics.enable", Kind::Boolean, settings.auto_create_topics.to_string()),
        ("broker.id", Kind::Int, NODE_ID.to_string()),
        ("default.replication.factor", Kind::Int, "1".to_owned()),
        ("group.initial.rebalance.delay.ms", Kind::Int, settings.initial_rebalance_delay_ms.to_string()),
        ("group.max.session.timeout.ms", Kind::Int, settings.session_timeout_ms_max.to_string()),
        ("group.min.session.timeout.ms", Kind::Int, settings.session_timeout_ms_min.to_string()),
        ("max.connections", Kind::Int, settings.connections_max.to_string()),
        ("socket.request.max.bytes", Kind::Int, settings.request_bytes_max.to_string()),
        ("num.partitions", Kind::Int, settings.default_partitions.to_string()),
        ("offsets.retention.minutes", Kind::Int, (settings.offsets_retention_ms / 60_000).to_string()),
    ];
    let all = values.into_iter().map(|(name, kind, value)| DescribeConfigsResourceResult {
        name: name.to_owned(),
        value: Some(value),
        read_only: true,
        config_source: SOURCE_STATIC_BROKER,
        config_type: kind as i8,
        ..Default::default()
    });
    all.collect()
}
