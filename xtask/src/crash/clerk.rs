//! Keeps the broker's own table busy: topics that come and go, offsets of a group without members. What was
//! acknowledged of it is looked for after every kill.

use std::collections::BTreeMap;

use kafka_wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use kafka_wire::messages::delete_topics::DeleteTopicState;
use kafka_wire::messages::metadata::MetadataRequestTopic;
use kafka_wire::messages::produce::{PartitionProduceData, TopicProduceData};
use kafka_wire::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest, MetadataResponse, ProduceRequest,
};
use kafka_wire::records::{BatchBuilder, Record};
use uuid::Uuid;

use super::member;
use super::reader;
use super::world::{World, count};
use crate::link::{Broken, Link};
use crate::wait;
use testkit::chance::Chance;

/// The group without members.
const GROUP: &str = "clerk";
const CREATE_VERSION: i16 = 7;
const DELETE_VERSION: i16 = 6;
const METADATA_VERSION: i16 = 12;
const PRODUCE_VERSION: i16 = 9;
/// Topics that are there at a time.
const TOPICS_MAX: usize = 8;

const UNKNOWN_TOPIC: i16 = 3;
const TOPIC_EXISTS: i16 = 36;

/// What is known of a topic that comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// A request to make it got no answer.
    Asked,
    There(Uuid),
    /// A request to delete it got no answer.
    Leaving(Uuid),
    Gone,
}

struct Clerk<'a> {
    world: &'a World,
    chance: Chance,
    topics: BTreeMap<String, Known>,
    offset: i64,
}

/// Makes a topic; `None` when it is there already.
pub(crate) fn create(
    link: &mut Link,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> Result<Option<Uuid>, Broken> {
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
    });
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.collect(),
        ..Default::default()
    };
    let answer =
        link.call(&CreateTopicsRequest { topics: vec![topic], ..Default::default() }, CREATE_VERSION)?;
    match answer.topics.first() {
        Some(made) if made.error_code == 0 => Ok(Some(made.topic_id)),
        Some(made) if made.error_code == TOPIC_EXISTS => Ok(None),
        other => Err(Broken::Wrong(format!("topic {name} was not made: {other:?}"))),
    }
}

/// What the broker says of topics.
pub(crate) fn metadata<'n>(
    link: &mut Link,
    names: impl Iterator<Item = &'n str>,
) -> Result<MetadataResponse, Broken> {
    let wanted = |name: &str| MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() };
    let request = MetadataRequest {
        topics: Some(names.map(wanted).collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    link.call(&request, METADATA_VERSION)
}

/// Works until the end.
pub(crate) fn run(world: &World, part: u64) {
    let chance = Chance::new(world.seed, part);
    let mut clerk = Clerk { world, chance, topics: BTreeMap::new(), offset: 0 };
    let mut seen = 0;
    while let Some((life, mut link)) = world.connect(seen) {
        seen = life;
        if let Err(broken) = clerk.work(&mut link) {
            world.lost(life, "keeping the table busy", broken);
        }
    }
}

impl Clerk<'_> {
    fn work(&mut self, link: &mut Link) -> Result<(), Broken> {
        self.look(link)?;
        let all: Vec<usize> = (0..self.world.tracks.len()).collect();
        loop {
            match self.chance.below(6) {
                0 if self.topics.len() < TOPICS_MAX => self.make(link)?,
                1 => self.delete(link)?,
                2 => self.write(link)?,
                _ => {
                    self.offset += 1;
                    let offsets: Vec<(usize, i64)> = all.iter().map(|at| (*at, self.offset)).collect();
                    let code = member::commit(self.world, link, (GROUP, -1, ""), &offsets)?;
                    if code != 0 {
                        return Err(Broken::Wrong(format!("a commit without a member: error {code}")));
                    }
                }
            }
        }
    }

    /// Compares what is there with what was acknowledged, and learns how unanswered requests came out.
    fn look(&mut self, link: &mut Link) -> Result<(), Broken> {
        let all: Vec<usize> = (0..self.world.tracks.len()).collect();
        reader::committed(self.world, link, GROUP, &all)?;
        if self.topics.is_empty() {
            return Ok(());
        }
        let answer = metadata(link, self.topics.keys().map(String::as_str))?;
        for topic in &answer.topics {
            let name = topic.name.clone().unwrap_or_default();
            let Some(known) = self.topics.get_mut(&name) else { continue };
            let there = (topic.error_code == 0).then_some(topic.topic_id);
            if topic.error_code != 0 && topic.error_code != UNKNOWN_TOPIC {
                return Err(Broken::Wrong(format!("metadata of topic {name}: error {}", topic.error_code)));
            }
            *known = match (*known, there) {
                (Known::Asked, Some(id)) => Known::There(id),
                (Known::There(before) | Known::Leaving(before), Some(id)) if before == id => Known::There(id),
                (Known::Asked | Known::Leaving(_) | Known::Gone, None) => Known::Gone,
                (known, there) => {
                    return Err(Broken::Wrong(format!("topic {name} was {known:?} and is {there:?}")));
                }
            };
        }
        self.topics.retain(|_, known| *known != Known::Gone);
        Ok(())
    }

    fn make(&mut self, link: &mut Link) -> Result<(), Broken> {
        let name = format!("brief-{}", count(&self.world.counts.topics_made));
        self.topics.insert(name.clone(), Known::Asked);
        let partitions = 1 + i32::try_from(self.chance.below(3)).unwrap_or(0);
        let id = create(link, &name, partitions, &[])?;
        let id = id.ok_or_else(|| Broken::Wrong(format!("topic {name} was there already")))?;
        self.topics.insert(name, Known::There(id));
        Ok(())
    }

    fn pick(&mut self) -> Option<(String, Uuid)> {
        let which = usize::try_from(self.chance.below(self.topics.len() as u64)).ok()?;
        let (name, known) = self.topics.iter().nth(which)?;
        match known {
            Known::There(id) => Some((name.clone(), *id)),
            _ => None,
        }
    }

    fn delete(&mut self, link: &mut Link) -> Result<(), Broken> {
        let Some((name, id)) = self.pick() else { return Ok(()) };
        self.topics.insert(name.clone(), Known::Leaving(id));
        let topic = DeleteTopicState { name: Some(name.clone()), ..Default::default() };
        let request = DeleteTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        let answer = link.call(&request, DELETE_VERSION)?;
        match answer.responses.first() {
            Some(gone) if gone.error_code == 0 => {
                // It is asked for once more after the next kill.
                self.topics.insert(name, Known::Gone);
                Ok(())
            }
            other => Err(Broken::Wrong(format!("topic {name} was not deleted: {other:?}"))),
        }
    }

    /// A topic that is deleted should have files.
    fn write(&mut self, link: &mut Link) -> Result<(), Broken> {
        let Some((name, _)) = self.pick() else { return Ok(()) };
        let record =
            Record { timestamp_ms: wait::unix_ms(), value: Some(vec![7; 50].into()), ..Default::default() };
        let built = BatchBuilder::default().build(&[record]);
        let built = built.map_err(|error| Broken::Wrong(format!("a batch of ours: {error}")))?;
        let data = PartitionProduceData { index: 0, records: Some(built) };
        let topic = TopicProduceData { name, partition_data: vec![data], ..Default::default() };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
        let answer = link.call(&request, PRODUCE_VERSION)?;
        let partition = answer.responses.first().and_then(|topic| topic.partition_responses.first());
        match partition {
            Some(partition) if partition.error_code == 0 => Ok(()),
            other => Err(Broken::Wrong(format!("writing to a brief topic: {other:?}"))),
        }
    }
}
