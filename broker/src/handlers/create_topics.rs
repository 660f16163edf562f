//! CreateTopics: each topic by itself; a refusal names the topic's field and what to change.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use kafka_wire::{
    ErrorCode,
    messages::{
        CreateTopicsRequest, CreateTopicsResponse,
        create_topics::{CreatableTopic, CreatableTopicConfigs, CreatableTopicResult},
    },
};
use uuid::Uuid;

use super::{
    describe_configs::{self, Layers},
    repeated::repeated,
};
use crate::{
    access::Operation, broker::Context, partition::Refusal, quotas::mutation::Mutation,
    topic_config::TopicConfig, topics::NewTopic,
};

/// From this version on a request may be told to come again later.
const THROTTLED_SINCE: i16 = 6;

pub(crate) async fn handle(
    context: Context,
    request: CreateTopicsRequest,
    version: i16,
) -> CreateTopicsResponse {
    let mut quota = context.broker.quotas.mutation(&context, version >= THROTTLED_SINCE);
    let twice = repeated(request.topics.iter().map(|topic| topic.name.as_str()));
    let twice: HashSet<String> = twice.into_iter().map(str::to_owned).collect();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let name = topic.name.clone();
        let outcome = if twice.contains(&name) {
            Err(Refusal::new(ErrorCode::InvalidRequest, format!("topic {name} is in the request twice")))
        } else {
            create((&context, &mut quota), topic, request.validate_only).await
        };
        let may_see_config = outcome.is_ok() && context.allows_topic(Operation::DescribeConfigs, &name);
        let mut result = answer(name, outcome);
        if result.error_code == ErrorCode::None.code() && !may_see_config {
            result.topic_config_error_code = ErrorCode::TopicAuthorizationFailed.code();
            (result.num_partitions, result.replication_factor, result.configs) = (-1, -1, Some(Vec::new()));
        }
        topics.push(result);
    }
    CreateTopicsResponse { topics, throttle_time_ms: quota.throttle_time_ms }
}

/// A topic that was made, or could be.
struct Made {
    id: Uuid,
    partitions: i32,
    configs: Vec<CreatableTopicConfigs>,
}

async fn create(
    (context, quota): (&Context, &mut Mutation),
    topic: CreatableTopic,
    only_check: bool,
) -> Result<Made, Refusal> {
    if !context.allows_cluster(Operation::Create) && !context.allows_topic(Operation::Create, &topic.name) {
        return Err(ErrorCode::TopicAuthorizationFailed.into());
    }
    let partitions = count_partitions(context, &topic)?;
    let mut config = BTreeMap::new();
    for entry in topic.configs {
        let empty = || Refusal::new(ErrorCode::InvalidConfig, format!("{} has no value", entry.name));
        config.insert(entry.name.clone(), entry.value.ok_or_else(empty)?);
    }
    let new = NewTopic { name: topic.name, partitions, config };
    if only_check {
        let config = context.broker.topics.check(&new)?;
        return Ok(Made { id: Uuid::nil(), partitions, configs: configs(context, &config) });
    }
    if quota.is_limited() {
        // What cannot be made costs nothing.
        context.broker.topics.check(&new)?;
        quota.take(&context.broker.quotas, usize::try_from(partitions).unwrap_or(0))?;
    }
    let made = context.broker.topics.create(new).await?;
    Ok(Made { id: made.id, partitions, configs: configs(context, &made.config()) })
}

fn count_partitions(context: &Context, topic: &CreatableTopic) -> Result<i32, Refusal> {
    if !topic.assignments.is_empty() {
        if topic.num_partitions != -1 || topic.replication_factor != -1 {
            let text = "with assignments, num_partitions and replication_factor must be -1";
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
        let here = |ids: &[i32]| ids == [crate::broker::NODE_ID];
        if !topic.assignments.iter().all(|it| here(&it.broker_ids)) {
            let text = "there is one node: every assignment must name it alone";
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
        }
        let count = i32::try_from(topic.assignments.len()).unwrap_or(i32::MAX);
        let indexes: BTreeSet<i32> = topic.assignments.iter().map(|it| it.partition_index).collect();
        if !indexes.iter().copied().eq(0..count) {
            let text = "the assignments must be of partitions 0, 1, 2 and so on, each once";
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
        }
        return Ok(count);
    }
    if topic.replication_factor != -1 && topic.replication_factor != 1 {
        let text =
            format!("replication_factor {}: there is one node, so it must be 1", topic.replication_factor);
        return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, text));
    }
    let default = context.broker.settings.default_partitions;
    Ok(if topic.num_partitions == -1 { default } else { topic.num_partitions })
}

fn answer(name: String, outcome: Result<Made, Refusal>) -> CreatableTopicResult {
    match outcome {
        Ok(made) => CreatableTopicResult {
            name,
            topic_id: made.id,
            error_message: None,
            num_partitions: made.partitions,
            replication_factor: 1,
            configs: Some(made.configs),
            ..Default::default()
        },
        Err(refusal) => CreatableTopicResult {
            name,
            error_code: refusal.code.code(),
            error_message: refusal.message,
            configs: None,
            ..Default::default()
        },
    }
}

fn configs(context: &Context, config: &TopicConfig) -> Vec<CreatableTopicConfigs> {
    let all = describe_configs::of_topic(&Layers::of(context), &config.set).into_iter();
    all.map(|it| CreatableTopicConfigs {
        name: it.name,
        value: it.value,
        config_source: it.config_source,
        ..Default::default()
    })
    .collect()
}
