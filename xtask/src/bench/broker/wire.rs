//! The few requests that no benchmark client sends by itself: topics by the hundred, and the first
//! acknowledgement of a broker that is about to start. One request at a time; measures nothing.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use kafka_wire::messages::create_topics::CreatableTopic;
use kafka_wire::messages::metadata::MetadataRequestTopic;
use kafka_wire::messages::produce::{PartitionProduceData, TopicProduceData};
use kafka_wire::messages::{CreateTopicsRequest, MetadataRequest, ProduceRequest};
use kafka_wire::records::{BatchBuilder, Record};

use crate::link::{Broken, Link};

/// Versions that both brokers have had for years.
const CREATE_TOPICS: i16 = 5;
const METADATA: i16 = 9;
const PRODUCE: i16 = 9;
const ACKS_ALL: i16 = -1;
const PRODUCE_TIMEOUT_MS: i32 = 30_000;

/// A connection to a broker.
pub(super) struct Wire(Link);

impl Wire {
    /// Connects, once.
    pub(super) fn connect(address: SocketAddr) -> Result<Self, Broken> {
        Link::open(address).map(Self)
    }

    /// Makes topics in one request.
    pub(super) fn create(&mut self, names: &[String], partitions: i32) -> Result<()> {
        let topic = |name: &String| CreatableTopic {
            name: name.clone(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: names.iter().map(topic).collect(), ..Default::default() };
        let response = self.0.call(&request, CREATE_TOPICS)?;
        for topic in response.topics {
            let (name, code) = (&topic.name, topic.error_code);
            ensure!(code == 0, "topic {name} was not made: error {code}, {:?}", topic.error_message);
        }
        Ok(())
    }

    /// How many partitions of these topics have a leader.
    pub(super) fn led(&mut self, names: &[String]) -> Result<usize> {
        let topic = |name: &String| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
        let topics = Some(names.iter().map(topic).collect());
        let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
        let response = self.0.call(&request, METADATA)?;
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        Ok(partitions.filter(|partition| partition.error_code == 0 && partition.leader_id >= 0).count())
    }

    /// Sends one message to partition 0 and waits until it is acknowledged; whether it was.
    pub(super) fn produce(&mut self, topic: &str) -> Result<bool> {
        let record = Record { value: Some(Bytes::from_static(b"x")), ..Default::default() };
        let records = BatchBuilder::default().build(&[record]).context("cannot build a batch")?;
        let partition = PartitionProduceData { index: 0, records: Some(records) };
        let data = TopicProduceData {
            name: topic.to_owned(),
            partition_data: vec![partition],
            ..Default::default()
        };
        let request = ProduceRequest {
            acks: ACKS_ALL,
            timeout_ms: PRODUCE_TIMEOUT_MS,
            topic_data: vec![data],
            ..Default::default()
        };
        let response = self.0.call(&request, PRODUCE)?;
        let mut partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        Ok(partitions.next().is_some_and(|partition| partition.error_code == 0))
    }
}
