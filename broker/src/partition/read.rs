//! Reading a partition: records from an offset, and offsets from a time. Files are read without the lock.

use bytes::Bytes;
use kafka_wire::{
    ErrorCode,
    records::{Batches, Record, Records},
};
use record_log::{Location, Log, ReadError, Slice, batch};

use super::{Partition, Refusal, State, producers::Known, transactions::Aborted};
use crate::disk::DiskFile;

/// Bytes of one batch after decompression, to look for a time in it.
pub(super) const UNPACKED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where a partition begins and ends for readers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) start: i64,
    /// All below is durable.
    pub(crate) high_watermark: i64,
    /// All below is decided as well: it belongs to no open transaction.
    pub(crate) last_stable: i64,
}

/// Which records a reader wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// All that are durable.
    Uncommitted,
    /// Those of no transaction or a committed one; the reader skips the aborted ones that it is told of.
    Committed,
}

impl Isolation {
    /// What the protocol calls `isolation_level`.
    pub(crate) fn from_level(level: i8) -> Self {
        if level == 1 { Self::Committed } else { Self::Uncommitted }
    }
}

impl Bounds {
    /// Where a reader's records end.
    pub(crate) fn end(self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::Uncommitted => self.high_watermark,
            Isolation::Committed => self.last_stable,
        }
    }
}

/// What a fetch of one partition gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) bytes: Bytes,
    /// The offset after the last record; what was asked for when there is none.
    pub(crate) next_offset: i64,
    pub(crate) bounds: Bounds,
    /// The aborted transactions with records in `bytes`, for readers of committed records.
    pub(crate) aborted: Vec<Aborted>,
    /// Between the batches offsets may be missing.
    is_compacted: bool,
}

/// Where a fetch reads.
pub(super) struct Found {
    location: Option<Location<DiskFile>>,
    bounds: Bounds,
    /// How many compactions had ended.
    compactions: u64,
    is_compacted: bool,
}

/// An offset that belongs to a time; both -1 when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timed {
    pub(crate) timestamp_ms: i64,
    pub(crate) offset: i64,
    /// Of the record, or of the one before when there is none yet.
    pub(crate) leader_epoch: i32,
}

/// What ListOffsets means by a timestamp below 0.
pub(crate) const LATEST: i64 = -1;
pub(crate) const EARLIEST: i64 = -2;
pub(crate) const MAX_TIMESTAMP: i64 = -3;
pub(crate) const EARLIEST_LOCAL: i64 = -4;
pub(crate) const LATEST_TIERED: i64 = -5;
pub(crate) const EARLIEST_PENDING_UPLOAD: i64 = -6;

impl Timed {
    const NONE: Self = Self { timestamp_ms: -1, offset: -1, leader_epoch: -1 };

    fn at(offset: i64, leader_epoch: i32) -> Self {
        Self { timestamp_ms: -1, offset, leader_epoch }
    }
}

fn bounds(state: &mut State) -> Bounds {
    let Some(log) = &state.log else { return Bounds::default() };
    let (start, high_watermark) = (log.start_offset(), log.synced_offset());
    let last_stable = state.producers.transactions.last_stable(start, high_watermark);
    Bounds { start, high_watermark, last_stable }
}

impl Partition {
    /// Where the partition begins and ends.
    pub(crate) fn bounds(&self) -> Bounds {
        bounds(&mut self.lock())
    }

    /// The producers that it knows.
    pub(crate) fn producers(&self) -> Vec<Known> {
        let mut all: Vec<Known> = self.lock().producers.known().collect();
        // In an order that a simulation repeats.
        all.sort_unstable_by_key(|known| known.producer_id);
        all
    }

    /// Reads from `offset` on, the first batch whatever its size. Nothing yet is no error.
    pub(crate) fn fetch(
        &self,
        offset: i64,
        max_bytes: usize,
        isolation: Isolation,
    ) -> Result<Fetched, (Refusal, Bounds)> {
        let fetched = self.look(offset, max_bytes, isolation)?;
        self.metrics.fetched_messages.inc_by(messages(offset, &fetched));
        self.metrics.fetched_bytes.inc_by(u64::try_from(fetched.bytes.len()).unwrap_or(0));
        Ok(fetched)
    }

    /// Reads without counting.
    pub(super) fn look(
        &self,
        offset: i64,
        max_bytes: usize,
        isolation: Isolation,
    ) -> Result<Fetched, (Refusal, Bounds)> {
        loop {
            let found = self.begin_look(offset)?;
            if let Some(fetched) = self.finish_look(found, (offset, max_bytes), isolation)? {
                return Ok(fetched);
            }
        }
    }

    /// Finds where to read.
    pub(super) fn begin_look(&self, offset: i64) -> Result<Found, (Refusal, Bounds)> {
        let mut state = self.lock();
        let bounds = bounds(&mut state);
        if state.gone {
            return Err((ErrorCode::UnknownTopicOrPartition.into(), bounds));
        }
        if let Some(reason) = &state.unusable {
            return Err((Refusal::new(ErrorCode::KafkaStorageError, reason.clone()), bounds));
        }
        let located = match &mut state.log {
            Some(log) => log.locate(offset),
            None if offset == 0 => Ok(None),
            None => Err(ReadError::OutOfRange { offset, start: 0, end: 0 }),
        };
        let location = located.map_err(|error| (self.unreadable(&error), bounds))?;
        let is_compacted = state.config.compaction.is_some();
        Ok(Found { location, bounds, compactions: state.compactions.count, is_compacted })
    }

    /// Reads; `None` when a compaction ended meanwhile, and what was read may be of transactions that are forgotten.
    pub(super) fn finish_look(
        &self,
        found: Found,
        (offset, max_bytes): (i64, usize),
        isolation: Isolation,
    ) -> Result<Option<Fetched>, (Refusal, Bounds)> {
        let Found { location, bounds, compactions, is_compacted } = found;
        let end = bounds.end(isolation);
        let Some(location) = location.filter(|_| offset < end) else {
            return Ok(Some(Fetched { next_offset: offset, bounds, ..Default::default() }));
        };
        let slice = location.read(max_bytes).map_err(|error| {
            self.met(&error);
            (self.unreadable(&error), bounds)
        })?;
        let (bytes, next_offset) = before(slice, end);
        let aborted = match isolation {
            Isolation::Uncommitted => Vec::new(),
            Isolation::Committed => {
                let state = self.lock();
                if state.compactions.count != compactions {
                    return Ok(None);
                }
                state.producers.transactions.aborted_between(offset, next_offset)
            }
        };
        Ok(Some(Fetched { bytes, next_offset, bounds, aborted, is_compacted }))
    }

    /// Damage that a reader met makes the partition read-only.
    pub(super) fn met(&self, error: &ReadError) {
        if let ReadError::Damaged { .. } | ReadError::Missing { .. } = error
            && let Some(log) = &mut self.lock().log
        {
            self.damaged(log, &crate::error_text(error));
        }
    }

    fn unreadable(&self, error: &ReadError) -> Refusal {
        let text = crate::error_text(error);
        match error {
            ReadError::OutOfRange { .. } => Refusal::new(ErrorCode::OffsetOutOfRange, text),
            ReadError::Damaged { .. } | ReadError::Missing { .. } => {
                tracing::error!(topic = %self.topic, partition = self.index, text, "damaged bytes were asked for");
                Refusal::new(ErrorCode::CorruptMessage, text)
            }
            ReadError::Storage { .. } => {
                tracing::error!(topic = %self.topic, partition = self.index, text, "cannot read");
                Refusal::new(ErrorCode::KafkaStorageError, text)
            }
        }
    }

    /// The offset that a ListOffsets timestamp stands for.
    pub(crate) fn offset_at(&self, timestamp: i64, isolation: Isolation) -> Result<Timed, Refusal> {
        let bounds = self.bounds();
        // A reader is not sent to a record that it cannot see yet.
        let visible = |timed: Timed| if timed.offset < bounds.end(isolation) { timed } else { Timed::NONE };
        match timestamp {
            LATEST => Ok(Timed::at(bounds.end(isolation), self.ground.leader_epoch)),
            EARLIEST | EARLIEST_LOCAL => {
                let first = self.batch_at(bounds.start)?;
                let epoch = first.map_or(self.ground.leader_epoch, |first| first.partition_leader_epoch);
                Ok(Timed::at(bounds.start, epoch))
            }
            // Nothing is ever moved to another tier.
            LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Ok(Timed::NONE),
            MAX_TIMESTAMP => {
                let newest = self.lock().log.as_mut().map_or(Ok(None), Log::max_timestamp);
                let newest = newest.map_err(|error| self.unreadable(&error))?;
                newest.map_or(Ok(Timed::NONE), |(timestamp_ms, _)| self.first_at(timestamp_ms)).map(visible)
            }
            time_ms if time_ms >= 0 => self.first_at(time_ms).map(visible),
            _ => Err(ErrorCode::UnsupportedVersion.into()),
        }
    }

    /// The first record at or after a time.
    fn first_at(&self, time_ms: i64) -> Result<Timed, Refusal> {
        let (search, start) = match &mut self.lock().log {
            Some(log) => (log.search_time(time_ms), log.start_offset()),
            None => (Ok(None), 0),
        };
        let found = search.and_then(|search| search.map_or(Ok(None), |search| search.run()));
        let Some(slice) = found.map_err(|error| self.unreadable(&error))? else { return Ok(Timed::NONE) };
        Ok(first_record_at(&slice.bytes, time_ms, start).unwrap_or(Timed::NONE))
    }
}

/// How many were given. Where offsets may be missing, they say too much.
fn messages(offset: i64, fetched: &Fetched) -> u64 {
    if !fetched.is_compacted {
        return u64::try_from(fetched.next_offset.saturating_sub(offset)).unwrap_or(0);
    }
    let headers = Batches::new(fetched.bytes.clone()).filter_map(Result::ok);
    headers.map(|(header, _)| u64::from(header.record_count.unsigned_abs())).sum()
}

/// The batches below `end`, which is where a batch begins, and the offset behind them.
fn before(slice: Slice, end: i64) -> (Bytes, i64) {
    if slice.next_offset <= end {
        return (slice.bytes, slice.next_offset);
    }
    let mut kept = 0;
    while let Some(header) = slice.bytes.get(kept..).and_then(batch::header) {
        if header.base_offset >= end {
            break;
        }
        kept += header.size;
    }
    (slice.bytes.slice(..kept.min(slice.bytes.len())), end)
}

/// The first record of a batch at or after a time. When its records cannot be unpacked, it is the batch's first:
/// a reader then starts a little early and misses nothing.
fn first_record_at(batch: &Bytes, time_ms: i64, start: i64) -> Option<Timed> {
    let matches = |it: &Record| it.timestamp_ms >= time_ms && it.offset >= start;
    if let Ok(mut records) = Records::open(batch, UNPACKED_BYTES_MAX)
        && let Some(Ok(record)) = records.find(|record| record.as_ref().is_ok_and(matches))
    {
        let leader_epoch = records.header().partition_leader_epoch;
        return Some(Timed { timestamp_ms: record.timestamp_ms, offset: record.offset, leader_epoch });
    }
    let header = batch::header(batch)?;
    Some(Timed {
        timestamp_ms: header.base_timestamp_ms.max(time_ms.min(header.max_timestamp_ms)),
        offset: header.base_offset.max(start),
        leader_epoch: header.partition_leader_epoch,
    })
}
