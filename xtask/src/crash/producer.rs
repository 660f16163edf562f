//! A producer with sequence numbers: up to five requests under way, sent again as they were after each kill.
//! Now and then it dies with the broker, and what it had under way is of nobody's knowledge.

use std::collections::VecDeque;

use kafka_wire::messages::produce::{PartitionProduceData, TopicProduceData};
use kafka_wire::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse};
use kafka_wire::records::{BatchBuilder, Codec, Record};

use super::text;
use super::world::{World, count, lock};
use crate::link::{Broken, Link};
use crate::wait;
use testkit::chance::Chance;
use testkit::history::{Acknowledged, Message};

const PRODUCE_VERSION: i16 = 9;
const INIT_VERSION: i16 = 4;
/// What Kafka remembers of each producer.
const UNDER_WAY_MAX: usize = 5;
/// Messages of a batch.
const BATCH_MAX: u64 = 12;
const CODECS: [Codec; 6] = [Codec::None, Codec::None, Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4];

/// A request and what it holds.
struct Parcel {
    request: ProduceRequest,
    /// Track, first number, count.
    parts: Vec<(usize, u32, u32)>,
}

struct Producer<'a> {
    world: &'a World,
    chance: Chance,
    writer: u32,
    producer_id: Option<i64>,
    under_way: VecDeque<Parcel>,
}

/// Produces until the end.
pub(crate) fn run(world: &World, part: u64) {
    let chance = Chance::new(world.seed, part);
    let mut producer = Producer { world, chance, writer: 0, producer_id: None, under_way: VecDeque::new() };
    let mut seen = 0;
    while let Some((life, mut link)) = world.connect(seen) {
        seen = life;
        if producer.chance.one_in(20) {
            producer.producer_id = None;
            producer.under_way.clear();
        }
        if let Err(broken) = producer.work(&mut link, life) {
            world.lost(life, "producing", broken);
        }
    }
}

impl Producer<'_> {
    fn work(&mut self, link: &mut Link, life: u64) -> Result<(), Broken> {
        let producer_id = match self.producer_id {
            Some(known) => known,
            None => self.begin(link)?,
        };
        let mut asked = VecDeque::new();
        for parcel in &self.under_way {
            asked.push_back(link.send(&parcel.request, PRODUCE_VERSION)?);
            count(&self.world.counts.resent);
        }
        loop {
            let room = self.under_way.len() < UNDER_WAY_MAX;
            if room && (asked.is_empty() || self.chance.one_in(2)) {
                let parcel = self.pack(producer_id)?;
                // It counts as sent before the first byte is.
                self.under_way.push_back(parcel);
                let request = self.under_way.back().map(|parcel| &parcel.request);
                asked.push_back(link.send(request.expect("it was just added"), PRODUCE_VERSION)?);
            } else if let Some(first) = asked.pop_front() {
                let response = link.receive::<ProduceRequest>(first, PRODUCE_VERSION)?;
                self.take(&response, life)?;
            }
        }
    }

    fn begin(&mut self, link: &mut Link) -> Result<i64, Broken> {
        let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
        let answer = link.call(&request, INIT_VERSION)?;
        if answer.error_code != 0 {
            return Err(Broken::Wrong(format!("no producer id: error {}", answer.error_code)));
        }
        self.writer = u32::try_from(count(&self.world.counts.writers)).unwrap_or(u32::MAX);
        self.producer_id = Some(answer.producer_id);
        Ok(answer.producer_id)
    }

    /// Batches for one to three partitions.
    fn pack(&mut self, producer_id: i64) -> Result<Parcel, Broken> {
        let tracks = self.world.tracks.len();
        let first = usize::try_from(self.chance.below(tracks as u64)).unwrap_or(0);
        let wanted = 1 + usize::try_from(self.chance.below(3)).unwrap_or(0);
        let mut request = ProduceRequest { acks: -1, timeout_ms: 30_000, ..Default::default() };
        let mut parts = Vec::new();
        for at in (first..first + wanted.min(tracks)).map(|at| at % tracks) {
            let Some(track) = self.world.tracks.get(at) else { continue };
            let size = 1 + u32::try_from(self.chance.below(BATCH_MAX)).unwrap_or(0);
            let number = lock(&track.line).send(self.writer, size);
            let message = |number| Message { writer: self.writer, number };
            let records: Vec<Record> = (number..number + size)
                .map(|number| text::record(at, message(number), wait::unix_ms()))
                .collect();
            let codec = CODECS.get(usize::try_from(self.chance.below(6)).unwrap_or(0));
            let builder = BatchBuilder {
                codec: codec.copied().unwrap_or_default(),
                producer_id,
                producer_epoch: 0,
                base_sequence: i32::try_from(number).unwrap_or(i32::MAX),
                ..BatchBuilder::default()
            };
            let built = builder.build(&records);
            let built = built.map_err(|error| Broken::Wrong(format!("a batch of ours: {error}")))?;
            let data = PartitionProduceData { index: track.partition, records: Some(built) };
            let topic = track.topic.to_owned();
            request.topic_data.push(TopicProduceData {
                name: topic,
                partition_data: vec![data],
                ..Default::default()
            });
            parts.push((at, number, size));
        }
        Ok(Parcel { request, parts })
    }

    /// The answer to the oldest request.
    fn take(&mut self, response: &ProduceResponse, life: u64) -> Result<(), Broken> {
        let Some(parcel) = self.under_way.pop_front() else { return Ok(()) };
        let answers = response.responses.iter().flat_map(|topic| {
            topic.partition_responses.iter().map(|partition| (topic.name.as_str(), partition))
        });
        let mut answered = 0;
        for (topic, answer) in answers {
            let wrong =
                |what: &str| Broken::Wrong(format!("{topic}/{} was {what}: {answer:?}", answer.index));
            let (at, track) =
                self.world.track_at(topic, answer.index).ok_or_else(|| wrong("not asked for"))?;
            if answer.error_code != 0 {
                return Err(wrong("refused"));
            }
            let part = parcel.parts.iter().find(|(part, ..)| *part == at);
            let (_, number, count) = *part.ok_or_else(|| wrong("not in the request"))?;
            let first = Message { writer: self.writer, number };
            lock(&track.line).acknowledge(Acknowledged { first, count, offset: answer.base_offset, life });
            answered += 1;
        }
        if answered == parcel.parts.len() {
            return Ok(());
        }
        Err(Broken::Wrong(format!("{answered} of {} partitions were answered", parcel.parts.len())))
    }
}
