//! Reading partitions back and handing what is there to the judge.

use kafka_wire::messages::FetchRequest;
use kafka_wire::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_wire::messages::fetch::{FetchPartition, FetchTopic, PartitionData};
use kafka_wire::messages::{DeleteRecordsRequest, OffsetFetchRequest, offset_fetch::OffsetFetchRequestTopic};
use kafka_wire::records::{Batches, Records};

use super::text;
use super::world::{Track, World, lock};
use crate::link::{Broken, Link};
use testkit::history::Message;

const FETCH_VERSION: i16 = 11;
const FETCH_BYTES: i32 = 1024 * 1024;
const OFFSET_FETCH_VERSION: i16 = 5;
const DELETE_VERSION: i16 = 1;
/// Bytes of records after decompression.
const UNPACKED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Verified messages that are kept of each partition when the rest is let go of.
const KEPT: i64 = 2_000;

/// What a fetch of one partition brought.
pub(crate) struct Fetched {
    pub(crate) messages: Vec<(i64, Message)>,
    pub(crate) start: i64,
    pub(crate) high_watermark: i64,
    /// The offset to fetch from is below the start.
    pub(crate) out_of_range: bool,
}

/// Fetches from an offset; waits up to `wait_ms` when there is nothing.
pub(crate) fn fetch(
    link: &mut Link,
    (at, track): (usize, &Track),
    offset: i64,
    wait_ms: i32,
) -> Result<Fetched, Broken> {
    let partition = FetchPartition {
        partition: track.partition,
        fetch_offset: offset,
        partition_max_bytes: FETCH_BYTES,
        ..Default::default()
    };
    let topic =
        FetchTopic { topic: track.topic.to_owned(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        max_wait_ms: wait_ms,
        min_bytes: 1,
        max_bytes: FETCH_BYTES,
        topics: vec![topic],
        ..Default::default()
    };
    let mut answer = link.call(&request, FETCH_VERSION)?;
    let found = answer.responses.pop().and_then(|mut topic| topic.partitions.pop());
    let found =
        found.ok_or_else(|| Broken::Wrong("a fetch was answered without its partition".to_owned()))?;
    const OUT_OF_RANGE: i16 = 1;
    let out_of_range = found.error_code == OUT_OF_RANGE;
    if found.error_code != 0 && !out_of_range {
        return Err(Broken::Wrong(format!(
            "a fetch of {}/{} failed: {found:?}",
            track.topic, track.partition
        )));
    }
    let messages = messages(at, offset, &found).map_err(Broken::Wrong)?;
    Ok(Fetched {
        messages,
        start: found.log_start_offset,
        high_watermark: found.high_watermark,
        out_of_range,
    })
}

fn messages(at: usize, offset: i64, found: &PartitionData) -> Result<Vec<(i64, Message)>, String> {
    let mut messages = Vec::new();
    for batch in Batches::new(found.records.clone().unwrap_or_default()) {
        let (header, bytes) = batch.map_err(|error| format!("a batch that was read: {error}"))?;
        header.check_checksum(&bytes).map_err(|error| format!("offset {}: {error}", header.base_offset))?;
        let records = Records::open(&bytes, UNPACKED_BYTES_MAX).map_err(|error| error.to_string())?;
        for record in records {
            let record = record.map_err(|error| error.to_string())?;
            if record.offset >= offset {
                messages.push((record.offset, text::message(at, &record)?));
            }
        }
    }
    Ok(messages)
}

/// Reads every partition to its end and settles what was acknowledged before this life. `from_start` reads what
/// was read before, too.
pub(crate) fn verify(world: &World, link: &mut Link, life: u64, from_start: bool) -> Result<(), Broken> {
    for (at, track) in world.tracks.iter().enumerate() {
        let name = |what: String| Broken::Wrong(format!("{}/{}: {what}", track.topic, track.partition));
        let mut offset = {
            let line = lock(&track.line);
            if from_start { line.start() } else { line.frontier() }
        };
        let mut end = None;
        loop {
            let fetched = fetch(link, (at, track), offset, 0)?;
            let mut line = lock(&track.line);
            if fetched.start >= 0 {
                line.starts_at(fetched.start).map_err(name)?;
            }
            if fetched.out_of_range {
                // Retention went past it.
                if fetched.start <= offset {
                    return Err(name(format!("offset {offset} is out of range and was not")));
                }
                offset = line.frontier();
                continue;
            }
            // Producers go on: what was there at first is what has to be there.
            let end = *end.get_or_insert(fetched.high_watermark);
            for (offset, message) in &fetched.messages {
                line.read(*offset, *message).map_err(name)?;
            }
            match fetched.messages.last() {
                Some((last, _)) => offset = last + 1,
                None if offset < end => {
                    return Err(name(format!("nothing is read at {offset}, below {end}")));
                }
                None => {}
            }
            if offset >= end {
                if line.frontier() > offset {
                    return Err(name(format!("ends at {offset}, was read to {} before", line.frontier())));
                }
                line.settle(life).map_err(name)?;
                break;
            }
        }
    }
    Ok(())
}

/// Has the log let go of most of what was verified, so that a long run stays small.
pub(crate) fn let_go(world: &World, link: &mut Link) -> Result<(), Broken> {
    for track in &world.tracks {
        let offset = lock(&track.line).frontier() - KEPT;
        if offset <= lock(&track.line).start() {
            continue;
        }
        let partition = DeleteRecordsPartition { partition_index: track.partition, offset };
        let topic = DeleteRecordsTopic { name: track.topic.to_owned(), partitions: vec![partition] };
        let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 30_000 };
        let answer = link.call(&request, DELETE_VERSION)?;
        let result = answer.topics.first().and_then(|topic| topic.partitions.first());
        match result {
            Some(result) if result.error_code == 0 && result.low_watermark >= offset => {
                lock(&track.line).starts_at(offset).map_err(Broken::Wrong)?;
            }
            _ => return Err(Broken::Wrong(format!("deleting records before {offset}: {result:?}"))),
        }
    }
    Ok(())
}

/// The committed offset of each track of a group, compared with what was acknowledged before; -1 is none.
pub(crate) fn committed(
    world: &World,
    link: &mut Link,
    group: &'static str,
    tracks: &[usize],
) -> Result<Vec<(usize, i64)>, Broken> {
    let known: Vec<_> = {
        let committed = lock(&world.committed);
        tracks.iter().map(|at| (*at, committed.get(&(group, *at)).copied().unwrap_or_default())).collect()
    };
    let topics = known.iter().filter_map(|(at, _)| {
        let track = world.tracks.get(*at)?;
        Some(OffsetFetchRequestTopic {
            name: track.topic.to_owned(),
            partition_indexes: vec![track.partition],
        })
    });
    let request = OffsetFetchRequest {
        group_id: group.to_owned(),
        topics: Some(topics.collect()),
        ..Default::default()
    };
    let answer = link.call(&request, OFFSET_FETCH_VERSION)?;
    let mut found = Vec::new();
    for (at, before) in known {
        let Some(track) = world.tracks.get(at) else { continue };
        let topics = answer.topics.iter().filter(|topic| topic.name == track.topic);
        let mut partitions = topics.flat_map(|topic| &topic.partitions);
        let partition = partitions.find(|found| found.partition_index == track.partition);
        let offset = partition.filter(|found| found.error_code == 0).map(|found| found.committed_offset);
        // Looked at again: it may have grown since the request was sent.
        let sent = lock(&world.committed).get(&(group, at)).map_or(0, |committed| committed.sent);
        match offset {
            Some(offset) if offset.max(0) >= before.acknowledged && offset <= sent => {
                found.push((at, offset))
            }
            _ => {
                let name = format!("{}/{}", track.topic, track.partition);
                let what =
                    format!("group {group} has {partition:?} for {name}: {before:?} before, {sent} sent");
                return Err(Broken::Wrong(what));
            }
        }
    }
    Ok(found)
}
