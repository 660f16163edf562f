//! Those who write, those who keep the table busy, and the one who looks back after a start.

use std::{collections::VecDeque, sync::Arc};

use kafka_wire::{
    messages::{
        CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, InitProducerIdRequest, MetadataRequest,
        OffsetFetchRequest, ProduceRequest,
        create_topics::{CreatableTopic, CreatableTopicConfig},
        delete_topics::DeleteTopicState,
        fetch::{FetchPartition, FetchTopic, PartitionData},
        metadata::MetadataRequestTopic,
        offset_fetch::OffsetFetchRequestTopic,
        produce::{PartitionProduceData, TopicProduceData},
    },
    records::{BatchBuilder, Batches, Record, Records},
};
use record_log::storage::memory::MemoryStorage;
use testkit::history::{Acknowledged, Message};
use uuid::Uuid;

use super::{
    consumer_groups, groups, table,
    world::{COPY_TOPICS, Known, TOPICS, Track, World, context},
};
use crate::broker::{Broker, Context};

/// The group without members.
const CLERK: &str = "clerk";
const BRIEF_MAX: usize = 5;
const UNKNOWN_TOPIC: i16 = 3;

/// A producer over all lives.
#[derive(Default)]
pub(super) struct Producer {
    id: Option<i64>,
    writer: u32,
    under_way: VecDeque<Parcel>,
}

#[derive(Clone)]
struct Parcel {
    request: ProduceRequest,
    parts: Vec<(usize, u32, u32)>,
}

/// Compares everything with what the lives before were told.
pub(super) async fn look_back(world: &World, broker: &Arc<Broker>, storage: &MemoryStorage) {
    let context = context(broker);
    if let Err(what) = look(world, &context).await
        && !world.excused(storage)
    {
        world.wrong(&what);
    }
}

async fn look(world: &World, context: &Context) -> Result<(), String> {
    make_topics(world, context).await?;
    for (at, track) in world.tracks.iter().enumerate() {
        let name = |what: String| format!("{}/{}: {what}", track.topic, track.partition);
        let mut offset = track.line.borrow().start();
        loop {
            let found = fetch(world, context, track, offset).await;
            let mut line = track.line.borrow_mut();
            if found.log_start_offset >= 0 {
                line.starts_at(found.log_start_offset).map_err(name)?;
            }
            if found.error_code == 1 && found.log_start_offset > offset {
                offset = line.start();
                continue;
            }
            if found.error_code != 0 {
                return Err(name(format!("a fetch at {offset}: error {}", found.error_code)));
            }
            let before = offset;
            for (at, message) in messages(at, offset, &found)? {
                line.read(at, message).map_err(name)?;
                offset = at + 1;
            }
            if offset >= found.high_watermark || offset == before {
                world.note((at, offset, found.high_watermark));
                if offset < line.frontier() || offset < found.high_watermark {
                    return Err(name(format!("ends at {offset}, was read to {} before", line.frontier())));
                }
                line.settle(world.life()).map_err(name)?;
                break;
            }
        }
    }
    let all: Vec<usize> = (0..world.tracks.len()).collect();
    for group in [CLERK, groups::GROUP, consumer_groups::GROUP] {
        committed(world, context, group, &all).await?;
    }
    table::look(world, context).await?;
    consumer_groups::look(world, context).await?;
    look_at_topics(world, context).await
}

/// The topics of the producers: made at first, with the same ids ever after.
async fn make_topics(world: &World, context: &Context) -> Result<(), String> {
    let mut ids = VecDeque::new();
    for (name, partitions, key, value) in TOPICS.into_iter().chain(COPY_TOPICS) {
        let known = world.identity.borrow().is_some();
        let config = CreatableTopicConfig { name: key.to_owned(), value: Some(value.to_owned()) };
        let small =
            CreatableTopicConfig { name: "segment.bytes".to_owned(), value: Some("16384".to_owned()) };
        let mut configs = vec![config];
        configs.extend((key != "segment.bytes").then_some(small));
        if !known {
            let code = create(world, context, name, partitions, configs).await.0;
            // It is there when the life that made it was cut off before the answer.
            if code != 0 && code != 36 {
                return Err(format!("topic {name} was not made: error {code}"));
            }
        }
        ids.push_back(topic_id(world, context, name).await?.ok_or_else(|| format!("topic {name} is gone"))?);
    }
    let cluster = context.broker.cluster_id.clone();
    let mut identity = world.identity.borrow_mut();
    match &*identity {
        Some(before) if *before != (cluster.clone(), ids.clone()) => Err(format!("ids changed: {before:?}")),
        _ => {
            *identity = Some((cluster, ids));
            Ok(())
        }
    }
}

async fn create(
    world: &World,
    context: &Context,
    name: &str,
    partitions: i32,
    configs: Vec<CreatableTopicConfig>,
) -> (i16, Uuid) {
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: 1,
        configs,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let answer = world.call(context, &request, 7).await;
    let made = answer.topics.first().expect("one was asked for");
    world.note((name, made.error_code));
    (made.error_code, made.topic_id)
}

async fn topic_id(world: &World, context: &Context, name: &str) -> Result<Option<Uuid>, String> {
    let topic = MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() };
    let request =
        MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: false, ..Default::default() };
    let answer = world.call(context, &request, 12).await;
    let topic = answer.topics.first().expect("one was asked for");
    match topic.error_code {
        0 => Ok(Some(topic.topic_id)),
        UNKNOWN_TOPIC => Ok(None),
        code => Err(format!("metadata of {name}: error {code}")),
    }
}

async fn look_at_topics(world: &World, context: &Context) -> Result<(), String> {
    let names: Vec<(String, Known)> =
        world.topics.borrow().iter().map(|(name, known)| (name.clone(), *known)).collect();
    for (name, known) in names {
        let there = topic_id(world, context, &name).await?;
        let now = match (known, there) {
            (Known::Asked, Some(id)) => Some(Known::There(id)),
            (Known::There(before) | Known::Leaving(before), Some(id)) if before == id => {
                Some(Known::There(id))
            }
            (Known::Asked | Known::Leaving(_), None) => None,
            _ => return Err(format!("topic {name} was {known:?} and is {there:?}")),
        };
        world.note((&name, now.is_some()));
        match now {
            Some(now) => world.topics.borrow_mut().insert(name, now),
            None => world.topics.borrow_mut().remove(&name),
        };
    }
    Ok(())
}

/// Fetches what is there at an offset.
pub(super) async fn fetch(world: &World, context: &Context, track: &Track, offset: i64) -> PartitionData {
    let partition = FetchPartition {
        partition: track.partition,
        fetch_offset: offset,
        partition_max_bytes: 20_000,
        ..Default::default()
    };
    let topic =
        FetchTopic { topic: track.topic.to_owned(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { max_wait_ms: 0, min_bytes: 1, topics: vec![topic], ..Default::default() };
    let mut answer = world.call(context, &request, 11).await;
    answer.responses.remove(0).partitions.remove(0)
}

fn record(track: usize, message: Message) -> Record {
    let mut value = format!("{track} {} {} ", message.writer, message.number).into_bytes();
    let length = usize::try_from(message.number * 37 % 900).expect("it is small");
    value.resize(value.len() + length, u8::try_from(message.number % 251).expect("it is small"));
    Record { timestamp_ms: runtime::clock::unix_ms(), value: Some(value.into()), ..Record::default() }
}

/// The messages of a fetch, each whole.
pub(super) fn messages(
    track: usize,
    offset: i64,
    found: &PartitionData,
) -> Result<Vec<(i64, Message)>, String> {
    let mut messages = Vec::new();
    for batch in Batches::new(found.records.clone().unwrap_or_default()) {
        let (header, bytes) = batch.map_err(|error| error.to_string())?;
        header.check_checksum(&bytes).map_err(|error| error.to_string())?;
        for found in Records::open(&bytes, 1 << 24).map_err(|error| error.to_string())? {
            let found = found.map_err(|error| error.to_string())?;
            let value = found.value.clone().unwrap_or_default();
            let text = String::from_utf8_lossy(&value);
            let mut words = text.split(' ').skip(1).map(|word| word.parse().ok());
            let message = words.next().flatten().zip(words.next().flatten());
            let message = message.map(|(writer, number)| Message { writer, number });
            let sent = message.filter(|message| record(track, *message).value == found.value);
            let sent = sent.ok_or_else(|| format!("offset {} has what nobody sent", found.offset))?;
            if found.offset >= offset {
                messages.push((found.offset, sent));
            }
        }
    }
    Ok(messages)
}

/// The committed offsets of a group; never less than what was acknowledged.
pub(super) async fn committed(
    world: &World,
    context: &Context,
    group: &'static str,
    tracks: &[usize],
) -> Result<Vec<(usize, i64)>, String> {
    let mut found = Vec::new();
    for at in tracks {
        let track = &world.tracks[*at];
        let before = world.committed.borrow().get(&(group, *at)).copied().unwrap_or_default();
        let topic = OffsetFetchRequestTopic {
            name: track.topic.to_owned(),
            partition_indexes: vec![track.partition],
        };
        let request = OffsetFetchRequest {
            group_id: group.to_owned(),
            topics: Some(vec![topic]),
            ..Default::default()
        };
        let answer = world.call(context, &request, 5).await;
        let partition = &answer.topics.first().expect("one was asked for").partitions[0];
        let offset = partition.committed_offset;
        let sent = world.committed.borrow().get(&(group, *at)).map_or(0, |committed| committed.sent);
        world.note((group, at, offset));
        if partition.error_code != 0 || offset.max(0) < before.acknowledged || offset > sent {
            return Err(format!("group {group} has {partition:?}, {before:?} before, {sent} sent"));
        }
        found.push((*at, offset));
    }
    Ok(found)
}

/// Writes as long as the life lasts: up to five requests under way, sent again as they were after every end.
pub(super) async fn produce(world: &World, broker: &Arc<Broker>, storage: &MemoryStorage, which: usize) {
    let context = context(broker);
    if world.below(10) == 0 {
        world.producers.borrow_mut()[which] = Producer::default();
    }
    loop {
        world.pause(6).await;
        let id = world.producers.borrow()[which].id;
        let Some(id) = id else {
            let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
            let answer = world.call(&context, &request, 4).await;
            if answer.error_code == 0 {
                let writer = world.writers.get();
                world.writers.set(writer + 1);
                let producer = Producer { id: Some(answer.producer_id), writer, under_way: VecDeque::new() };
                world.producers.borrow_mut()[which] = producer;
            } else if !world.excused(storage) {
                return world.wrong(&format!("no producer id: error {}", answer.error_code));
            }
            continue;
        };
        let more = world.below(3);
        for _ in 0..=more {
            if world.producers.borrow()[which].under_way.len() < 5 {
                let parcel = pack(world, which, id);
                world.producers.borrow_mut()[which].under_way.push_back(parcel);
            }
        }
        // All at once, as over one connection: each is begun before the answers of those before are there.
        // One at a time where the disk may refuse one and take the next: a producer that the partition does not
        // know yet may begin with any number, as with Kafka.
        let limit = if world.excused(storage) { 1 } else { 5 };
        let parcels: Vec<Parcel> =
            world.producers.borrow()[which].under_way.iter().take(limit).cloned().collect();
        let calls = parcels.iter().map(|parcel| world.call(&context, &parcel.request, 9));
        for answer in futures::future::join_all(calls).await {
            if !take(world, storage, which, &answer) {
                break;
            }
        }
    }
}

fn pack(world: &World, which: usize, id: i64) -> Parcel {
    let writer = world.producers.borrow()[which].writer;
    let mut request = ProduceRequest { acks: -1, timeout_ms: 1_000, ..Default::default() };
    let mut parts = Vec::new();
    let first = world.index(world.tracks.len());
    for at in (first..first + 1 + world.index(2)).map(|at| at % world.tracks.len()) {
        let track = &world.tracks[at];
        let count = 1 + u32::try_from(world.below(6)).expect("it is small");
        let number = track.line.borrow_mut().send(writer, count);
        let records: Vec<Record> =
            (number..number + count).map(|number| record(at, Message { writer, number })).collect();
        let builder = BatchBuilder {
            producer_id: id,
            producer_epoch: 0,
            base_sequence: i32::try_from(number).expect("it is small"),
            ..BatchBuilder::default()
        };
        let built = builder.build(&records).expect("it is small");
        let data = PartitionProduceData { index: track.partition, records: Some(built) };
        let topic = track.topic.to_owned();
        let data = TopicProduceData { name: topic, partition_data: vec![data], ..Default::default() };
        request.topic_data.push(data);
        parts.push((at, number, count));
    }
    Parcel { request, parts }
}

/// Takes note of an answer; `false` when something in it was refused and has to be sent again.
fn take(
    world: &World,
    storage: &MemoryStorage,
    which: usize,
    answer: &kafka_wire::messages::ProduceResponse,
) -> bool {
    let producer = &mut world.producers.borrow_mut()[which];
    let parcel = producer.under_way.front().expect("it was sent");
    let parts = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    let mut done = true;
    for (part, (at, number, count)) in parts.zip(&parcel.parts) {
        world.note((which, at, number, part.error_code, part.base_offset));
        if part.error_code == 0 {
            let first = Message { writer: producer.writer, number: *number };
            let acknowledged =
                Acknowledged { first, count: *count, offset: part.base_offset, life: world.life() };
            world.tracks[*at].line.borrow_mut().acknowledge(acknowledged);
        } else {
            done = false;
            if !world.excused(storage) {
                world.wrong(&format!("a batch was refused: {part:?}"));
            }
        }
    }
    if done {
        producer.under_way.pop_front();
    }
    done
}

/// Keeps the table busy: topics that come and go, offsets of a group without members.
pub(super) async fn keep(world: &World, broker: &Arc<Broker>, storage: &MemoryStorage) {
    let context = context(broker);
    loop {
        world.pause(8).await;
        let excused = |code: i16| code == 0 || world.excused(storage);
        match world.below(5) {
            0 if world.topics.borrow().len() < BRIEF_MAX => {
                let name = format!("brief-{}", world.named.replace(world.named.get() + 1));
                world.topics.borrow_mut().insert(name.clone(), Known::Asked);
                let (code, id) = create(world, &context, &name, 2, Vec::new()).await;
                if code == 0 {
                    world.topics.borrow_mut().insert(name, Known::There(id));
                } else if !excused(code) {
                    return world.wrong(&format!("topic {name} was not made: error {code}"));
                }
            }
            1 => {
                let known = world.topics.borrow().iter().next().map(|(name, known)| (name.clone(), *known));
                let Some((name, Known::There(id))) = known else { continue };
                world.topics.borrow_mut().insert(name.clone(), Known::Leaving(id));
                let topic = DeleteTopicState { name: Some(name.clone()), ..Default::default() };
                let request = DeleteTopicsRequest { topics: vec![topic], ..Default::default() };
                let code = world.call(&context, &request, 6).await.responses[0].error_code;
                world.note((&name, code));
                if code == 0 {
                    // From now on it must not be there; a new one never has its name.
                    world.topics.borrow_mut().remove(&name);
                } else if !excused(code) {
                    return world.wrong(&format!("topic {name} was not deleted: error {code}"));
                }
            }
            _ => {
                let all: Vec<(usize, i64)> = (0..world.tracks.len())
                    .map(|at| {
                        let known = world.committed.borrow().get(&(CLERK, at)).copied();
                        (at, known.unwrap_or_default().sent + 1)
                    })
                    .collect();
                let version = groups::COMMIT_VERSION;
                let code = groups::commit(world, &context, (CLERK, -1, ""), &all, version).await;
                if !excused(code) {
                    return world.wrong(&format!("a commit without a member: error {code}"));
                }
            }
        }
    }
}
