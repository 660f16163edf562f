//! Reading a partition: records from an offset, and offsets from a time. Files are read without the lock.

use bytes::Bytes;
use kafka_wire::{ErrorCode, records::Records};
use record_log::{Log, ReadError, batch};

use super::{Partition, Refusal};
use crate::disk::DiskStorage;

/// Bytes of one batch after decompression, to look for a time in it.
const UNPACKED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where a partition begins and ends for readers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) start: i64,
    /// All below is durable.
    pub(crate) high_watermark: i64,
}

/// What a fetch of one partition gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) bytes: Bytes,
    pub(crate) bounds: Bounds,
}

/// An offset that belongs to a time; both -1 when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timed {
    pub(crate) timestamp_ms: i64,
    pub(crate) offset: i64,
}

impl Timed {
    const NONE: Self = Self { timestamp_ms: -1, offset: -1 };

    fn at(offset: i64) -> Self {
        Self { timestamp_ms: -1, offset }
    }
}

fn bounds(log: Option<&Log<DiskStorage>>) -> Bounds {
    log.map_or_else(Bounds::default, |log| Bounds {
        start: log.start_offset(),
        high_watermark: log.synced_offset(),
    })
}

impl Partition {
    /// Where the partition begins and ends.
    pub(crate) fn bounds(&self) -> Bounds {
        bounds(self.lock().log.as_ref())
    }

    /// Reads from `offset` on, the first batch whatever its size. Nothing yet is no error.
    pub(crate) fn fetch(&self, offset: i64, max_bytes: usize) -> Result<Fetched, (Refusal, Bounds)> {
        let (location, bounds) = {
            let mut state = self.lock();
            let bounds = bounds(state.log.as_ref());
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
            (located.map_err(|error| (self.unreadable(&error), bounds))?, bounds)
        };
        let Some(location) = location else { return Ok(Fetched { bytes: Bytes::new(), bounds }) };
        match location.read(max_bytes) {
            Ok(slice) => {
                let messages = u64::try_from(slice.next_offset.saturating_sub(offset)).unwrap_or(0);
                self.metrics.fetched_messages.inc_by(messages);
                self.metrics.fetched_bytes.inc_by(u64::try_from(slice.bytes.len()).unwrap_or(0));
                Ok(Fetched { bytes: slice.bytes, bounds })
            }
            Err(error) => {
                if let (ReadError::Damaged { .. }, Some(log)) = (&error, &mut self.lock().log) {
                    self.fail(log, &error.to_string());
                }
                Err((self.unreadable(&error), bounds))
            }
        }
    }

    fn unreadable(&self, error: &ReadError) -> Refusal {
        let text = crate::error_text(error);
        match error {
            ReadError::OutOfRange { .. } => Refusal::new(ErrorCode::OffsetOutOfRange, text),
            ReadError::Damaged { .. } => {
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
    pub(crate) fn offset_at(&self, timestamp: i64) -> Result<Timed, Refusal> {
        const LATEST: i64 = -1;
        const EARLIEST: i64 = -2;
        const MAX_TIMESTAMP: i64 = -3;
        const EARLIEST_LOCAL: i64 = -4;
        const LATEST_TIERED: i64 = -5;
        let bounds = self.bounds();
        match timestamp {
            LATEST => Ok(Timed::at(bounds.high_watermark)),
            EARLIEST | EARLIEST_LOCAL => Ok(Timed::at(bounds.start)),
            // Nothing is ever moved to another tier.
            LATEST_TIERED => Ok(Timed::NONE),
            MAX_TIMESTAMP => {
                let newest = self.lock().log.as_ref().and_then(Log::max_timestamp);
                newest.map_or(Ok(Timed::NONE), |(timestamp_ms, _)| self.first_at(timestamp_ms))
            }
            time_ms if time_ms >= 0 => self.first_at(time_ms),
            _ => Err(ErrorCode::UnsupportedVersion.into()),
        }
    }

    /// The first record at or after a time.
    fn first_at(&self, time_ms: i64) -> Result<Timed, Refusal> {
        let search = match &mut self.lock().log {
            Some(log) => log.search_time(time_ms),
            None => Ok(None),
        };
        let found = search.and_then(|search| search.map_or(Ok(None), |search| search.run()));
        let Some(slice) = found.map_err(|error| self.unreadable(&error))? else { return Ok(Timed::NONE) };
        Ok(first_record_at(&slice.bytes, time_ms).unwrap_or(Timed::NONE))
    }
}

/// The first record of a batch at or after a time. When its records cannot be unpacked, it is the batch's first:
/// a reader then starts a little early and misses nothing.
fn first_record_at(batch: &Bytes, time_ms: i64) -> Option<Timed> {
    if let Ok(mut records) = Records::open(batch, UNPACKED_BYTES_MAX)
        && let Some(Ok(record)) =
            records.find(|record| record.as_ref().is_ok_and(|it| it.timestamp_ms >= time_ms))
    {
        return Some(Timed { timestamp_ms: record.timestamp_ms, offset: record.offset });
    }
    let header = batch::header(batch)?;
    Some(Timed {
        timestamp_ms: header.base_timestamp_ms.max(time_ms.min(header.max_timestamp_ms)),
        offset: header.base_offset,
    })
}
