//! The few requests that no benchmark client sends by itself: topics by the hundred, and the first
//! acknowledgement of a broker that is about to start. One request at a time; measures nothing.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use kafka_wire::messages::create_topics::CreatableTopic;
use kafka_wire::messages::metadata::MetadataRequestTopic;
use kafka_wire::messages::produce::{PartitionProduceData, TopicProduceData};
use kafka_wire::messages::{CreateTopicsRequest, MetadataRequest, ProduceRequest};
use kafka_wire::records::{BatchBuilder, Record};
use kafka_wire::{Request, frame};

/// Versions that both brokers have had for years.
const CREATE_TOPICS: i16 = 5;
const METADATA: i16 = 9;
const PRODUCE: i16 = 9;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);
const ACKS_ALL: i16 = -1;

/// A connection to a broker.
pub(super) struct Wire {
    stream: TcpStream,
    correlation_id: i32,
}

impl Wire {
    /// Connects, once.
    pub(super) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).context("cannot connect to the broker")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, correlation_id: 0 })
    }

    fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        self.correlation_id += 1;
        let encoded = frame::request(request, version, self.correlation_id, Some("pinnace-bench"))?;
        self.stream.write_all(&encoded.into_bytes()).context("cannot send a request")?;
        let mut length = [0; frame::LENGTH_BYTES];
        self.stream.read_exact(&mut length).context("the broker gave no answer")?;
        let length = frame::check_length(i32::from_be_bytes(length), frame::FRAME_BYTES_MAX)?;
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).context("the broker's answer is cut off")?;
        let (header, response) = frame::decode_response::<R>(Bytes::from(answer), version)?;
        ensure!(header.correlation_id == self.correlation_id, "the answer belongs to another request");
        Ok(response)
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
        let response = self.call(&request, CREATE_TOPICS)?;
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
        let response = self.call(&request, METADATA)?;
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
            timeout_ms: 30_000,
            topic_data: vec![data],
            ..Default::default()
        };
        let response = self.call(&request, PRODUCE)?;
        let mut partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        Ok(partitions.next().is_some_and(|partition| partition.error_code == 0))
    }
}
