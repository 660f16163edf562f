//! The configs of the node: what topics have by default, what was changed, and what it was started with.

use std::collections::BTreeMap;

use kafka_wire::messages::describe_configs::{DescribeConfigsResourceResult, DescribeConfigsSynonym};

use super::{Layers, SOURCE_ALL_NODES, SOURCE_DEFAULT, SOURCE_NODE, SOURCE_STATIC_BROKER, described};
use crate::{
    broker::{Context, NODE_ID},
    dynamic_config::NO_EFFECT,
    handlers::describe_log_dirs::FOLDER,
    settings::Settings,
    topic_config::{DEFINITIONS, Kind},
};

const NO_EFFECT_TEXT: &str = "Taken for compatibility; changes nothing here.";

/// What was changed for all nodes.
pub(super) fn all_nodes(set: &BTreeMap<String, String>) -> Vec<DescribeConfigsResourceResult> {
    let all = set.iter().map(|(name, value)| {
        let definition = DEFINITIONS.iter().find(|definition| definition.broker_name == name);
        let (kind, text) =
            definition.map_or((Kind::Long, NO_EFFECT_TEXT), |found| (found.kind, found.documentation));
        described(name, kind, vec![synonym(name, value, SOURCE_ALL_NODES)], text)
    });
    all.collect()
}

/// Everything of the node.
pub(super) fn node(context: &Context) -> Vec<DescribeConfigsResourceResult> {
    let layers = Layers::of(context);
    let changeable = DEFINITIONS.iter().filter(|definition| !definition.broker_name.is_empty());
    let changeable = changeable.map(|definition| {
        described(
            definition.broker_name,
            definition.kind,
            layers.synonyms(definition),
            definition.documentation,
        )
    });
    let ignored = NO_EFFECT.iter().map(|(name, kind, default)| {
        let set = |map: &BTreeMap<String, String>, source: i8| {
            map.get(*name).map(|value| synonym(name, value, source))
        };
        let own = set(&layers.node, SOURCE_NODE).into_iter().chain(set(&layers.all_nodes, SOURCE_ALL_NODES));
        let synonyms = own.chain([synonym(name, default, SOURCE_DEFAULT)]).collect();
        described(name, *kind, synonyms, NO_EFFECT_TEXT)
    });
    let mut all: Vec<_> = changeable.chain(ignored).chain(fixed(context)).collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

fn synonym(name: &str, value: &str, source: i8) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym { name: name.to_owned(), value: Some(value.to_owned()), source }
}

/// What only the start decides.
fn fixed(context: &Context) -> Vec<DescribeConfigsResourceResult> {
    let protocol = context.caller.protocol.name();
    let listener = format!("{protocol}://{}:{}", context.host(), context.port());
    let place = [
        ("advertised.listeners", Kind::List, listener.clone()),
        ("broker.id", Kind::Int, NODE_ID.to_string()),
        ("default.replication.factor", Kind::Int, "1".to_owned()),
        ("listeners", Kind::List, listener),
        ("log.dirs", Kind::List, FOLDER.to_owned()),
        ("node.id", Kind::Int, NODE_ID.to_string()),
        ("offsets.topic.replication.factor", Kind::Int, "1".to_owned()),
    ];
    let place =
        place.into_iter().map(|(name, kind, value)| read_only(name, kind, &value, SOURCE_STATIC_BROKER));
    let (now, default) = (settings(&context.broker.settings), settings(&Settings::default()));
    let told = now.into_iter().zip(default).map(|((name, kind, value), (.., default))| {
        let source = if value == default { SOURCE_DEFAULT } else { SOURCE_STATIC_BROKER };
        read_only(name, kind, &value, source)
    });
    place.chain(told).collect()
}

fn settings(settings: &Settings) -> [(&'static str, Kind, String); 19] {
    let consumer = settings.consumer_groups;
    [
        ("auto.create.topics.enable", Kind::Boolean, settings.auto_create_topics.to_string()),
        ("connections.max.idle.ms", Kind::Long, settings.idle_timeout.as_millis().to_string()),
        ("group.consumer.heartbeat.interval.ms", Kind::Int, consumer.heartbeat.ms.to_string()),
        ("group.consumer.max.heartbeat.interval.ms", Kind::Int, consumer.heartbeat.ms_max.to_string()),
        ("group.consumer.max.session.timeout.ms", Kind::Int, consumer.session.ms_max.to_string()),
        ("group.consumer.min.heartbeat.interval.ms", Kind::Int, consumer.heartbeat.ms_min.to_string()),
        ("group.consumer.min.session.timeout.ms", Kind::Int, consumer.session.ms_min.to_string()),
        ("group.consumer.session.timeout.ms", Kind::Int, consumer.session.ms.to_string()),
        ("group.initial.rebalance.delay.ms", Kind::Int, settings.initial_rebalance_delay_ms.to_string()),
        ("group.max.session.timeout.ms", Kind::Int, settings.session_timeout_ms_max.to_string()),
        ("group.min.session.timeout.ms", Kind::Int, settings.session_timeout_ms_min.to_string()),
        ("max.connections", Kind::Int, settings.connections_max.to_string()),
        ("num.partitions", Kind::Int, settings.default_partitions.to_string()),
        ("offsets.retention.minutes", Kind::Int, (settings.offsets_retention_ms / 60_000).to_string()),
        ("producer.id.expiration.ms", Kind::Int, settings.producer_expiration_ms.to_string()),
        ("quota.window.num", Kind::Int, settings.quotas.windows.count.to_string()),
        ("quota.window.size.seconds", Kind::Int, settings.quotas.windows.seconds.to_string()),
        ("socket.request.max.bytes", Kind::Int, settings.request_bytes_max.to_string()),
        ("transactional.id.expiration.ms", Kind::Int, settings.transactions.expiration_ms.to_string()),
    ]
}

fn read_only(name: &str, kind: Kind, value: &str, source: i8) -> DescribeConfigsResourceResult {
    let synonyms = vec![synonym(name, value, source)];
    DescribeConfigsResourceResult { read_only: true, ..described(name, kind, synonyms, "Set at the start.") }
}
