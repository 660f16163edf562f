//! Topics: describe, create, grow, delete.

use std::collections::BTreeMap;

use kafka_wire::messages::create_partitions::CreatePartitionsTopic;
use kafka_wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use kafka_wire::messages::delete_topics::DeleteTopicState;
use kafka_wire::messages::metadata::{
    MetadataRequestTopic, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_wire::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest,
};
use kafka_wire::{ApiKey, ErrorCode};
use uuid::Uuid;

use crate::admin::Admin;
use crate::error::{AdminError, check};

/// First version of DeleteTopics that takes a list of names or ids instead of names.
const DELETE_BY_STATE_VERSION_MIN: i16 = 6;
/// First version of Metadata whose request can forbid making the topic that is asked for.
const METADATA_NO_CREATION_VERSION_MIN: i16 = 4;

/// A topic that shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// How many copies; `None` is the broker's default.
    pub replicas: Option<i16>,
    /// Its configuration.
    pub config: BTreeMap<String, String>,
}

/// A topic that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id: another one under the same name is another topic. `None` on brokers before 2.8.
    pub id: Option<Uuid>,
    /// Whether the broker keeps it for itself.
    pub internal: bool,
    /// Its partitions, in order.
    pub partitions: Vec<Partition>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub index: i32,
    /// The node that leads it, if one does.
    pub leader: Option<i32>,
    /// The nodes that should hold it.
    pub replicas: Vec<i32>,
    /// The nodes that hold all of it.
    pub in_sync: Vec<i32>,
}

impl Topic {
    /// How many copies the partition should have that has fewest.
    #[must_use]
    pub fn replicas_least(&self) -> usize {
        self.partitions.iter().map(|partition| partition.replicas.len()).min().unwrap_or(0)
    }

    /// How many copies the partition should have that has most.
    #[must_use]
    pub fn replicas(&self) -> usize {
        self.partitions.iter().map(|partition| partition.replicas.len()).max().unwrap_or(0)
    }

    /// How many partitions lack a copy.
    #[must_use]
    pub fn under_replicated(&self) -> usize {
        self.partitions.iter().filter(|partition| partition.in_sync.len() < partition.replicas.len()).count()
    }
}

impl Admin {
    /// All topics, those that the broker keeps for itself included.
    pub async fn list_topics(&self) -> Result<Vec<Topic>, AdminError> {
        self.metadata(None).await?.into_iter().map(|answer| to_topic(answer, "the topics")).collect()
    }

    /// One topic; `None` if it does not exist.
    pub async fn describe_topic(&self, name: &str) -> Result<Option<Topic>, AdminError> {
        self.describe_topics(&[name]).await?.pop().ok_or_else(|| silent(ApiKey::Metadata, name))?
    }

    /// Several topics, in the order asked for; `Ok(None)` for one that does not exist.
    pub async fn describe_topics(
        &self,
        names: &[&str],
    ) -> Result<Vec<Result<Option<Topic>, AdminError>>, AdminError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let asked = names
            .iter()
            .map(|name| MetadataRequestTopic { name: Some((*name).to_owned()), ..Default::default() });
        let answers = self.metadata(Some(asked.collect())).await?;
        let mut found: BTreeMap<_, _> =
            answers.into_iter().filter_map(|answer| Some((answer.name.clone()?, answer))).collect();
        let described = names.iter().map(|name| {
            let answer = found.remove(*name).ok_or_else(|| silent(ApiKey::Metadata, name))?;
            match to_topic(answer, name) {
                Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => Ok(None),
                other => other.map(Some),
            }
        });
        Ok(described.collect())
    }

    async fn metadata(
        &self,
        topics: Option<Vec<MetadataRequestTopic>>,
    ) -> Result<Vec<MetadataResponseTopic>, AdminError> {
        let answer = self
            .call_in(|version| MetadataRequest {
                topics,
                allow_auto_topic_creation: version < METADATA_NO_CREATION_VERSION_MIN,
                ..Default::default()
            })
            .await?;
        check(answer.error_code, None, || "describe topics".to_owned())?;
        Ok(answer.topics)
    }

    /// Makes one topic and gives its id (`None` on brokers before 2.8).
    pub async fn create_topic(&self, topic: NewTopic) -> Result<Option<Uuid>, AdminError> {
        let name = topic.name.clone();
        self.create_topics(vec![topic]).await?.pop().ok_or_else(|| silent(ApiKey::CreateTopics, &name))?
    }

    /// Makes topics; one result per topic, in order.
    pub async fn create_topics(
        &self,
        topics: Vec<NewTopic>,
    ) -> Result<Vec<Result<Option<Uuid>, AdminError>>, AdminError> {
        let names: Vec<_> = topics.iter().map(|topic| topic.name.clone()).collect();
        let request = CreateTopicsRequest {
            topics: topics.into_iter().map(to_creatable).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only: false,
        };
        let answer = self.call(request).await?;
        let results = names.iter().map(|name| {
            let result = answer.topics.iter().find(|result| result.name == *name);
            let result = result.ok_or_else(|| silent(ApiKey::CreateTopics, name))?;
            check(result.error_code, result.error_message.clone(), || format!("create topic {name}"))?;
            Ok(Some(result.topic_id).filter(|id| !id.is_nil()))
        });
        Ok(results.collect())
    }

    /// Gives a topic more partitions: `partitions` is how many it then has.
    pub async fn grow_topic(&self, name: &str, partitions: i32) -> Result<(), AdminError> {
        // `None`: the broker chooses where the new ones live.
        let topic = CreatePartitionsTopic { name: name.to_owned(), count: partitions, assignments: None };
        let request = CreatePartitionsRequest {
            topics: vec![topic],
            timeout_ms: self.timeout_ms(),
            validate_only: false,
        };
        let result = self.call(request).await?.results.pop();
        let result = result.ok_or_else(|| silent(ApiKey::CreatePartitions, name))?;
        check(result.error_code, result.error_message, || {
            format!("give topic {name} {partitions} partitions")
        })
    }

    /// Deletes a topic with its messages.
    pub async fn delete_topic(&self, name: &str) -> Result<(), AdminError> {
        let timeout_ms = self.timeout_ms();
        let answer = self
            .call_in(|version| {
                let mut request = DeleteTopicsRequest { timeout_ms, ..Default::default() };
                if version >= DELETE_BY_STATE_VERSION_MIN {
                    let state = DeleteTopicState { name: Some(name.to_owned()), ..Default::default() };
                    request.topics.push(state);
                } else {
                    request.topic_names.push(name.to_owned());
                }
                request
            })
            .await?;
        let result = answer.responses.into_iter().next();
        let result = result.ok_or_else(|| silent(ApiKey::DeleteTopics, name))?;
        check(result.error_code, result.error_message, || format!("delete topic {name}"))
    }
}

pub(crate) fn silent(api: ApiKey, object: &str) -> AdminError {
    AdminError::Silent { api, object: object.to_owned() }
}

fn to_creatable(topic: NewTopic) -> CreatableTopic {
    let configs = topic.config.into_iter();
    CreatableTopic {
        name: topic.name,
        num_partitions: topic.partitions,
        replication_factor: topic.replicas.unwrap_or(-1),
        assignments: Vec::new(),
        configs: configs.map(|(name, value)| CreatableTopicConfig { name, value: Some(value) }).collect(),
    }
}

fn to_topic(answer: MetadataResponseTopic, asked: &str) -> Result<Topic, AdminError> {
    let name = answer.name.unwrap_or_default();
    check(answer.error_code, None, || {
        format!("describe topic {}", if name.is_empty() { asked } else { &name })
    })?;
    let mut partitions: Vec<_> = answer.partitions.into_iter().map(to_partition).collect();
    partitions.sort_by_key(|partition| partition.index);
    let id = Some(answer.topic_id).filter(|id| !id.is_nil());
    Ok(Topic { name, id, internal: answer.is_internal, partitions })
}

fn to_partition(answer: MetadataResponsePartition) -> Partition {
    Partition {
        index: answer.partition_index,
        leader: Some(answer.leader_id).filter(|id| *id >= 0),
        replicas: answer.replica_nodes,
        in_sync: answer.isr_nodes,
    }
}
