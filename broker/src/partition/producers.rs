//! Sequence numbers of idempotent producers: what is a repeat, what is a gap, what comes next.
//!
//! The table is pure; at the bottom is how it survives a restart: a file beside each segment that was
//! started, and the batch headers since.

use std::{
    collections::{HashMap, VecDeque},
    io,
};

use kafka_wire::ErrorCode;
use record_log::{
    Log,
    batch::{self, BatchHeader},
    storage::{File, Storage},
};
use runtime::clock;
use serde::{Deserialize, Serialize};

use crate::disk::DiskStorage;

/// Batches remembered for each producer: what may be in flight at a time.
const BATCHES: usize = 5;
/// Producers remembered for each partition; the one that was quiet longest goes first.
const PRODUCERS_MAX: usize = 100_000;
/// A producer that was quiet for so long is forgotten.
pub(crate) const EXPIRY_MS: i64 = 24 * 3_600_000;
/// Bytes read at a time to catch up with a log.
const CATCH_UP_BYTES: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Batch {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    last_offset: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Producer {
    epoch: i16,
    batches: VecDeque<Batch>,
    last_ms: i64,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Append it.
    Next,
    /// It is there already, from this offset to that.
    Repeat(i64, i64),
}

/// The producers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
}

/// Sequence numbers go round after `i32::MAX`.
fn advance(sequence: i32, by: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(by);
    i32::try_from(sum % (i64::from(i32::MAX) + 1)).unwrap_or(0)
}

impl Producers {
    /// Looks at the header of a batch of an idempotent producer.
    pub(crate) fn check(&self, header: &BatchHeader) -> Result<Verdict, ErrorCode> {
        let Some(producer) = self.by_id.get(&header.producer_id) else { return Ok(Verdict::Next) };
        if header.producer_epoch < producer.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if header.producer_epoch > producer.epoch {
            let starts = header.base_sequence == 0;
            return if starts { Ok(Verdict::Next) } else { Err(ErrorCode::OutOfOrderSequenceNumber) };
        }
        let last = header.last_sequence();
        let repeat = producer
            .batches
            .iter()
            .find(|batch| batch.first_sequence == header.base_sequence && batch.last_sequence == last);
        if let Some(batch) = repeat {
            return Ok(Verdict::Repeat(batch.base_offset, batch.last_offset));
        }
        let next = producer.batches.back().map_or(0, |batch| advance(batch.last_sequence, 1));
        if header.base_sequence == next {
            Ok(Verdict::Next)
        } else {
            Err(ErrorCode::OutOfOrderSequenceNumber)
        }
    }

    /// Takes note of a batch that was appended; its header has its offset. The times in it are the client's.
    pub(crate) fn took(&mut self, header: &BatchHeader, now_ms: i64) {
        if header.producer_id < 0 {
            return;
        }
        if self.by_id.len() >= PRODUCERS_MAX && !self.by_id.contains_key(&header.producer_id) {
            let quietest = self.by_id.iter().min_by_key(|(_, producer)| producer.last_ms).map(|(id, _)| *id);
            quietest.and_then(|id| self.by_id.remove(&id));
        }
        let fresh = || Producer { epoch: header.producer_epoch, batches: VecDeque::new(), last_ms: 0 };
        let producer = self.by_id.entry(header.producer_id).or_insert_with(fresh);
        if producer.epoch != header.producer_epoch {
            *producer = fresh();
        }
        if producer.batches.len() == BATCHES {
            producer.batches.pop_front();
        }
        producer.last_ms = producer.last_ms.max(now_ms);
        producer.batches.push_back(Batch {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
        });
    }

    /// Forgets producers that were quiet since `before_ms`.
    pub(crate) fn expire(&mut self, before_ms: i64) {
        self.by_id.retain(|_, producer| producer.last_ms >= before_ms);
    }
}

fn file_name(offset: i64) -> String {
    format!("{offset:020}.producers")
}

fn parse_name(name: &str) -> Option<i64> {
    name.strip_suffix(".producers")?.parse().ok()
}

/// Writes down what is known at `offset`, where a new segment is about to start, and removes older files.
pub(crate) fn write(
    storage: &DiskStorage,
    folder: &str,
    offset: i64,
    producers: &Producers,
) -> io::Result<()> {
    let bytes = serde_json::to_vec(producers).map_err(io::Error::other)?;
    let bytes = batch::wrap(&bytes, 0).map_err(|_| io::Error::other("too many producers"))?;
    let path = format!("{folder}/{}", file_name(offset));
    let file = storage.open(&path)?;
    file.truncate(0)?;
    file.write_at(0, &bytes)?;
    file.sync()?;
    storage.sync_folder(folder)?;
    for older in storage.list(folder)?.iter().filter(|name| parse_name(name).is_some_and(|at| at < offset)) {
        storage.remove(&format!("{folder}/{older}"))?;
    }
    Ok(())
}

fn load(storage: &DiskStorage, folder: &str, offset: i64) -> Option<Producers> {
    let file = storage.open(&format!("{folder}/{}", file_name(offset))).ok()?;
    let mut bytes = vec![0; usize::try_from(file.length().ok()?).ok()?];
    let read = file.read_at(0, &mut bytes).ok()?;
    let whole = bytes.get(..read).filter(|bytes| batch::is_intact(bytes))?;
    serde_json::from_slice(whole.get(batch::HEADER_BYTES..)?).ok()
}

/// What the producers of a log that was just opened have sent; `headers` are those of its last segment.
pub(crate) fn restore(
    storage: &DiskStorage,
    folder: &str,
    log: &mut Log<DiskStorage>,
    headers: &[BatchHeader],
) -> Producers {
    let active = log.active_base_offset();
    let names = storage.list(folder).unwrap_or_default();
    let mut known: Vec<i64> = names.iter().filter_map(|name| parse_name(name)).collect();
    known.retain(|offset| *offset <= active);
    known.sort_unstable();
    let found = known.iter().rev().find_map(|offset| Some((*offset, load(storage, folder, *offset)?)));
    let (from, mut producers) = found.unwrap_or_else(|| (log.start_offset(), Producers::default()));
    catch_up(log, from, active, &mut producers);
    for header in headers {
        producers.took(header, clock::unix_ms());
    }
    producers
}

/// Reads the batches from one offset up to another. Damage ends it: less is known then, and a repeat that
/// is not recognised is told as a gap.
fn catch_up(log: &mut Log<DiskStorage>, mut from: i64, to: i64, producers: &mut Producers) {
    while from < to {
        let Ok(Some(location)) = log.locate(from) else { return };
        let Ok(slice) = location.read(CATCH_UP_BYTES) else { return };
        let mut rest = &slice.bytes[..];
        while let Some(header) = batch::header(rest) {
            if header.base_offset < to {
                producers.took(&header, clock::unix_ms());
            }
            rest = rest.get(header.size..).unwrap_or_default();
        }
        from = slice.next_offset;
    }
}

#[cfg(test)]
mod tests;
