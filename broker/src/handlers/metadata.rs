//! Metadata: the node, and the topics that the caller may know of. May make a topic that is asked for.

use std::{collections::BTreeMap, sync::Arc};

use kafka_wire::{
    ErrorCode,
    messages::{
        MetadataRequest, MetadataResponse,
        metadata::{
            MetadataRequestTopic, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
    },
};

use crate::{
    access::{Operation, ResourceKind},
    broker::{Context, NODE_ID},
    partition::Refusal,
    quotas::mutation::Mutation,
    topics::{NewTopic, Topic, check_name},
};

pub(crate) async fn handle(context: Context, request: MetadataRequest, version: i16) -> MetadataResponse {
    // No version knows the error of a change that comes too early: a topic is made, and its client waits afterwards.
    let mut quota = context.broker.quotas.mutation(&context, false);
    let all = version == 0 && request.topics.as_ref().is_some_and(Vec::is_empty);
    let topics = match request.topics {
        Some(wanted) if !all => {
            let mut topics = Vec::with_capacity(wanted.len());
            for topic in wanted {
                let may_create = request.allow_auto_topic_creation;
                topics.push(one((&context, &mut quota), topic, may_create, version).await);
            }
            topics
        }
        _ => {
            let visible = context.broker.topics.all().into_iter();
            let visible = visible.filter(|topic| context.may_see(ResourceKind::Topic, &topic.name));
            visible.map(|topic| describe(&context, &topic)).collect()
        }
    };
    let mut topics: Vec<MetadataResponseTopic> = topics;
    if request.include_topic_authorized_operations {
        for topic in topics.iter_mut().filter(|topic| topic.error_code == ErrorCode::None.code()) {
            let name = topic.name.as_deref().unwrap_or_default();
            topic.topic_authorized_operations = context.operations(ResourceKind::Topic, name);
        }
    }
    let wanted = request.include_cluster_authorized_operations;
    let cluster_authorized_operations = if wanted { context.cluster_operations() } else { i32::MIN };
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: NODE_ID,
            host: context.host(),
            port: context.port(),
            ..Default::default()
        }],
        cluster_id: Some(context.broker.cluster_id.clone()),
        controller_id: NODE_ID,
        topics,
        cluster_authorized_operations,
        throttle_time_ms: quota.throttle_time_ms,
        ..Default::default()
    }
}

/// From this version on a topic may be asked for by its id alone.
const ID_ALONE_SINCE: i16 = 12;

async fn one(
    (context, quota): (&Context, &mut Mutation),
    wanted: MetadataRequestTopic,
    may_create: bool,
    version: i16,
) -> MetadataResponseTopic {
    let failed = |name: Option<String>, code: ErrorCode| MetadataResponseTopic {
        error_code: code.code(),
        name,
        topic_id: wanted.topic_id,
        ..Default::default()
    };
    let topics = &context.broker.topics;
    if version < ID_ALONE_SINCE && (wanted.name.is_none() || !wanted.topic_id.is_nil()) {
        return failed(wanted.name.or_else(|| Some(String::new())), ErrorCode::InvalidRequest);
    }
    let Some(name) = wanted.name else {
        return match topics.by_id(wanted.topic_id) {
            Some(topic) if context.allows_topic(Operation::Describe, &topic.name) => {
                describe(context, &topic)
            }
            _ => failed(None, ErrorCode::UnknownTopicId),
        };
    };
    if !context.allows_topic(Operation::Describe, &name) {
        return failed(Some(name), ErrorCode::TopicAuthorizationFailed);
    }
    if let Err(refusal) = check_name(&name) {
        return failed(Some(name), refusal.code);
    }
    if let Some(topic) = topics.by_name(&name) {
        return describe(context, &topic);
    }
    if !may_create || !context.broker.settings.auto_create_topics {
        return failed(Some(name), ErrorCode::UnknownTopicOrPartition);
    }
    match create(context, quota, &name).await {
        Ok(topic) => describe(context, &topic),
        Err(refusal) => failed(Some(name), refusal.code),
    }
}

async fn create(context: &Context, quota: &mut Mutation, name: &str) -> Result<Arc<Topic>, Refusal> {
    if !context.allows_cluster(Operation::Create) && !context.allows_topic(Operation::Create, name) {
        return Err(ErrorCode::TopicAuthorizationFailed.into());
    }
    let partitions = context.broker.settings.default_partitions;
    let new = NewTopic { name: name.to_owned(), partitions, config: BTreeMap::new() };
    quota.take(&context.broker.quotas, usize::try_from(partitions).unwrap_or(0))?;
    match context.broker.topics.create(new).await {
        // Somebody else was faster.
        Err(refusal) if refusal.code == ErrorCode::TopicAlreadyExists => {
            context.broker.topics.by_name(name).ok_or_else(|| ErrorCode::UnknownTopicOrPartition.into())
        }
        outcome => outcome,
    }
}

fn describe(context: &Context, topic: &Topic) -> MetadataResponseTopic {
    let partitions = topic.partitions();
    let partitions = partitions.iter().map(|partition| MetadataResponsePartition {
        partition_index: partition.index,
        leader_id: NODE_ID,
        leader_epoch: context.broker.leader_epoch,
        replica_nodes: vec![NODE_ID],
        isr_nodes: vec![NODE_ID],
        ..Default::default()
    });
    MetadataResponseTopic {
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        partitions: partitions.collect(),
        ..Default::default()
    }
}
