//! A compacted topic in the simulation: one writer of few keys, somebody who compacts, and the rule that the newest value
//! of each key can be read, whatever the disk did.

use std::{collections::BTreeMap, sync::Arc};

use kafka_wire::{
    messages::{
        CreateTopicsRequest, FetchRequest, ProduceRequest,
        create_topics::{CreatableTopic, CreatableTopicConfig},
        fetch::{FetchPartition, FetchTopic},
        produce::{PartitionProduceData, TopicProduceData},
    },
    records::{BatchBuilder, Batches, Record, Records},
};
use record_log::storage::memory::MemoryStorage;

use super::world::{World, context};
use crate::{
    broker::{Broker, Context},
    compaction::dirtiest,
    partition::compaction::Turn,
};

const TOPIC: &str = "table";
const KEYS: u64 = 6;
const CONFIGS: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "16384"),
    ("segment.ms", "40"),
    ("min.cleanable.dirty.ratio", "0.1"),
    ("delete.retention.ms", "60"),
];
const ALREADY_EXISTS: i16 = 36;

/// A record that was sent: its number, and whether it is a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    number: u64,
    is_tombstone: bool,
    /// `None` until it is acknowledged.
    offset: Option<i64>,
}

/// What is known of the table.
#[derive(Debug, Default)]
pub(super) struct Table {
    next: u64,
    /// By key: the last that is known to be there, then those that nobody was told about.
    sent: BTreeMap<u64, Vec<Sent>>,
}

fn record(key: u64, sent: Sent) -> Record {
    let value = (!sent.is_tombstone).then(|| {
        let mut value = format!("{} ", sent.number).into_bytes();
        value.resize(value.len() + usize::try_from(sent.number * 31 % 700).expect("it is small"), b'.');
        value.into()
    });
    // A tombstone has its number where it has no value.
    let headers = vec![kafka_wire::records::RecordHeader { key: sent.number.to_string(), value: None }];
    let timestamp_ms = runtime::clock::unix_ms();
    Record { key: Some(format!("key {key}").into()), value, headers, timestamp_ms, ..Record::default() }
}

/// Compares the table with what the lives before were told.
pub(super) async fn look(world: &World, context: &Context) -> Result<(), String> {
    make(world, context).await?;
    let found = read(world, context).await?;
    let mut table = world.table.borrow_mut();
    for key in 0..KEYS {
        let sent = table.sent.entry(key).or_default();
        let there = found.get(&key).copied();
        let known = sent.iter().find(|sent| there.is_some_and(|there| there.number == sent.number));
        let fits = match (known, there) {
            (Some(known), Some(there)) => {
                known.is_tombstone == there.is_tombstone
                    && known.offset.is_none_or(|offset| there.offset == Some(offset))
            }
            (None, Some(_)) => false,
            // Nothing is there: nothing ever was, or the last one was a tombstone whose time was up.
            (_, None) => {
                sent.first().is_none_or(|sent| sent.offset.is_none()) || sent.iter().any(|it| it.is_tombstone)
            }
        };
        if !fits {
            return Err(format!("key {key} of the table has {there:?}, and was sent {sent:?}"));
        }
        world.note((key, there.map(|there| (there.number, there.offset))));
        *sent = there.into_iter().collect();
    }
    Ok(())
}

async fn make(world: &World, context: &Context) -> Result<(), String> {
    let configs = CONFIGS.iter().map(|(name, value)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
    });
    let topic = CreatableTopic {
        name: TOPIC.to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        configs: configs.collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    match world.call(context, &request, 7).await.topics[0].error_code {
        0 | ALREADY_EXISTS => Ok(()),
        code => Err(format!("topic {TOPIC} was not made: error {code}")),
    }
}

/// The newest record of each key; the reader gets to the end.
async fn read(world: &World, context: &Context) -> Result<BTreeMap<u64, Sent>, String> {
    let (mut found, mut offset) = (BTreeMap::new(), 0);
    loop {
        let partition =
            FetchPartition { fetch_offset: offset, partition_max_bytes: 5_000, ..Default::default() };
        let topic = FetchTopic { topic: TOPIC.to_owned(), partitions: vec![partition], ..Default::default() };
        let request = FetchRequest { topics: vec![topic], ..Default::default() };
        let answer = world.call(context, &request, 11).await.responses.remove(0).partitions.remove(0);
        if answer.error_code != 0 {
            return Err(format!("a fetch of the table at {offset}: error {}", answer.error_code));
        }
        let before = offset;
        for batch in Batches::new(answer.records.unwrap_or_default()) {
            let (header, bytes) = batch.map_err(|error| error.to_string())?;
            header.check_checksum(&bytes).map_err(|error| error.to_string())?;
            for it in Records::open(&bytes, 1 << 20).map_err(|error| error.to_string())? {
                let it = it.map_err(|error| error.to_string())?;
                let (key, sent) = parsed(&it).ok_or_else(|| format!("{it:?} is what nobody sent"))?;
                found.insert(key, sent);
            }
            offset = header.next_offset();
        }
        if offset >= answer.high_watermark {
            return Ok(found);
        }
        if offset == before {
            return Err(format!("a reader of the table stays at {offset} of {}", answer.high_watermark));
        }
    }
}

fn parsed(found: &Record) -> Option<(u64, Sent)> {
    let key = std::str::from_utf8(found.key.as_ref()?).ok()?.strip_prefix("key ")?.parse().ok()?;
    let number = found.headers.first()?.key.parse().ok()?;
    let sent = Sent { number, is_tombstone: found.value.is_none(), offset: Some(found.offset) };
    (record(key, sent).value == found.value).then_some((key, sent))
}

/// Writes one record after the other as long as the life lasts.
pub(super) async fn write(world: &World, broker: &Arc<Broker>, storage: &MemoryStorage) {
    let context = context(broker);
    loop {
        world.pause(4).await;
        let (key, is_tombstone) = (world.below(KEYS), world.below(5) == 0);
        let sent = {
            let mut table = world.table.borrow_mut();
            table.next += 1;
            let sent = Sent { number: table.next, is_tombstone, offset: None };
            table.sent.entry(key).or_default().push(sent);
            sent
        };
        let built = BatchBuilder::default().build(&[record(key, sent)]).expect("it is small");
        let data = PartitionProduceData { index: 0, records: Some(built) };
        let data =
            TopicProduceData { name: TOPIC.to_owned(), partition_data: vec![data], ..Default::default() };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 1_000, topic_data: vec![data], ..Default::default() };
        let answer = world.call(&context, &request, 9).await;
        let part = &answer.responses[0].partition_responses[0];
        world.note((sent.number, part.error_code, part.base_offset));
        if part.error_code == 0 {
            let known = Sent { offset: Some(part.base_offset), ..sent };
            world.table.borrow_mut().sent.insert(key, vec![known]);
        } else if !world.excused(storage) {
            return world.wrong(&format!("a record of the table was refused: {part:?}"));
        }
    }
}

/// Compacts whatever is due, in steps.
pub(super) async fn compact(world: &World, broker: &Arc<Broker>) {
    loop {
        world.pause(40).await;
        let (Some(partition), _) = dirtiest(&broker.topics, &std::collections::HashSet::new()) else {
            continue;
        };
        // Memory for five keys: it takes several goes.
        let memory = if world.below(2) == 0 { 500 } else { 1 << 20 };
        let Some(mut pass) = partition.begin_compaction(memory) else { continue };
        while partition.compact(&mut pass) == Turn::More {
            world.pause(2).await;
        }
        world.compactions.set(world.compactions.get() + 1);
    }
}
