//! What AlterConfigs and IncrementalAlterConfigs share: which configs a resource may have, and the change itself.

use std::collections::BTreeMap;

use kafka_wire::ErrorCode;

use crate::{
    access::Operation,
    broker::{Context, NODE_ID},
    dynamic_config::Scope,
    partition::Refusal,
    topic_config::{self, Kind},
};

pub(crate) const TOPIC: i8 = 2;
pub(crate) const BROKER: i8 = 4;
pub(crate) const BROKER_LOGGER: i8 = 8;
pub(crate) const CLIENT_METRICS: i8 = 16;
pub(crate) const GROUP: i8 = 32;

/// A resource as a request names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resource<'a> {
    pub(crate) kind: i8,
    pub(crate) name: &'a str,
}

/// The text configs of a resource, by name.
pub(crate) type Values = BTreeMap<String, String>;

/// The error code and text of an outcome.
pub(crate) fn told(outcome: Result<(), Refusal>) -> (i16, Option<String>) {
    match outcome {
        Ok(()) => (ErrorCode::None.code(), None),
        Err(refusal) => (refusal.code.code(), refusal.message),
    }
}

/// For a resource that a request names more than once: nobody could say which of its parts counts.
pub(crate) fn named_twice() -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, "the resource is in the request twice")
}

/// What the resource has of its own, when the caller may change it.
pub(crate) fn current(context: &Context, resource: Resource<'_>) -> Result<Values, Refusal> {
    let Resource { kind, name } = resource;
    match kind {
        TOPIC => {
            if !context.allows_topic(Operation::AlterConfigs, name) {
                return Err(ErrorCode::TopicAuthorizationFailed.into());
            }
            let topic = context.broker.topics.by_name(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
            Ok(topic.config().set.clone())
        }
        BROKER => {
            if !context.allows_cluster(Operation::AlterConfigs) {
                return Err(ErrorCode::ClusterAuthorizationFailed.into());
            }
            Ok(context.broker.configs.get(node(name)?))
        }
        GROUP => {
            if !context.allows_group(Operation::AlterConfigs, name) {
                return Err(ErrorCode::GroupAuthorizationFailed.into());
            }
            if name.is_empty() {
                return Err(Refusal::new(ErrorCode::InvalidRequest, "the name of the group is empty"));
            }
            Ok(context.broker.configs.get(Scope::Group(name)))
        }
        other => {
            let text = format!(
                "configs of resource type {other} cannot be changed here, only of 2 (topic), 4 (broker) and 32 (group)"
            );
            Err(Refusal::new(ErrorCode::InvalidRequest, text))
        }
    }
}

/// Gives the resource these configs instead of what it had.
pub(crate) async fn replace(
    context: &Context,
    resource: Resource<'_>,
    values: Values,
    only_check: bool,
) -> Result<(), Refusal> {
    let broker = &context.broker;
    match resource.kind {
        TOPIC => broker.topics.configure(resource.name, values, only_check).await,
        GROUP => broker.configs.replace(Scope::Group(resource.name), values, only_check).await,
        _ => {
            broker.configs.replace(node(resource.name)?, values, only_check).await?;
            if !only_check {
                let defaults = broker.configs.topic_defaults(&broker.settings.topic_defaults);
                broker.topics.set_defaults(&defaults).await?;
            }
            Ok(())
        }
    }
}

/// The node that a resource's name means; empty is all of them.
pub(crate) fn node(name: &str) -> Result<Scope<'static>, Refusal> {
    match name {
        "" => Ok(Scope::AllNodes),
        name if name == NODE_ID.to_string() => Ok(Scope::Node),
        name => {
            let text = format!("there is no node {name}: the only one is {NODE_ID}");
            Err(Refusal::new(ErrorCode::InvalidRequest, text))
        }
    }
}

/// Whether a config of this resource is a list; only those are appended to.
pub(crate) fn is_list(resource: Resource<'_>, name: &str) -> bool {
    let topic_name = match resource.kind {
        TOPIC => Some(name),
        BROKER => topic_config::broker_name_to_topic(name),
        _ => None,
    };
    topic_name.and_then(topic_config::find).is_some_and(|definition| definition.kind == Kind::List)
}

/// A list config that is appended to starts from what holds when nothing is set.
pub(crate) fn default_list(resource: Resource<'_>, name: &str) -> String {
    let topic_name =
        if resource.kind == TOPIC { Some(name) } else { topic_config::broker_name_to_topic(name) };
    topic_name
        .and_then(topic_config::find)
        .map_or_else(String::new, |definition| definition.default.to_owned())
}
