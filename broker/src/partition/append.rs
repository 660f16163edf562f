//! Taking a producer's batch: checked, placed and written as the bytes it came in. And the markers that end
//! transactions. Nothing is durable yet.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_wire::{
    ErrorCode,
    records::{
        BatchError, Codec, Marker, RawRecords, RecordError,
        batch::{Rules, stamp},
        recompress,
    },
};
use record_log::{AppendError, Log, batch::BatchHeader};
use runtime::clock;

use super::{
    Partition, Refusal, State, producers, producers::Verdict, read::UNPACKED_BYTES_MAX, snapshots::Due,
};
use crate::{disk::DiskStorage, topic_config::TopicConfig};

/// From this version on each transaction has an epoch of its own, so that it starts with sequence 0 everywhere.
const TRANSACTION_FROM_ZERO_SINCE: i16 = 12;

/// A batch that was written, or was there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) base_offset: i64,
    /// Durable once all below this is.
    pub(crate) next_offset: i64,
    pub(crate) log_append_time_ms: i64,
    pub(crate) log_start_offset: i64,
}

/// After so many evictions of producers there is another line in the log.
const EVICTIONS_TOLD: u64 = 10_000;

impl Partition {
    /// Takes one batch that came with this version of Produce, outside of a transaction.
    pub(crate) fn append(&self, records: Bytes, version: i16) -> Result<Taken, Refusal> {
        if BatchHeader::parse(&records).is_ok_and(|header| header.is_transactional()) {
            let text = "a transactional batch came outside of a transaction";
            return Err(Refusal::new(ErrorCode::InvalidTxnState, text));
        }
        self.append_checked(records, version)
    }

    /// Takes one batch whose transaction, if it belongs to one, is known to be open with this partition in it.
    pub(crate) fn append_checked(&self, records: Bytes, version: i16) -> Result<Taken, Refusal> {
        let now_ms = clock::unix_ms();
        let mut state = self.lock();
        let header = check(&records, version, &state.config, now_ms)?;
        if state.config.compaction.is_some() {
            check_keys(&records)?;
        }
        self.open(&mut state)?;
        let from_zero = header.is_transactional() && version >= TRANSACTION_FROM_ZERO_SINCE;
        let State { log, producers, config, due, .. } = &mut *state;
        let log = log.as_mut().expect("it was just opened");
        if header.producer_id >= 0
            && let Verdict::Repeat(base_offset, last_offset) = producers.check(&header, from_zero)?
        {
            return Ok(taken(log, base_offset, last_offset + 1, -1));
        }
        if log.wants_roll(records.len(), now_ms) {
            self.roll(log, (producers, due), now_ms)?;
        }
        let records = match config.codec {
            Some(codec) => in_codec(records, codec, config.max_message_bytes)?,
            None => records,
        };
        // The only holder of the request's bytes changes them in place.
        let mut bytes = records.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        if config.log_append_time {
            stamped(&mut bytes, now_ms)?;
        }
        let size = i64::try_from(bytes.len()).unwrap_or(0);
        let appended = log.append(&mut bytes, self.ground.leader_epoch);
        let appended = appended.map_err(|error| self.refused(error))?;
        let placed = BatchHeader { base_offset: appended.base_offset, ..header };
        producers.took(&placed, None, now_ms);
        self.told_evicted(producers.take_evicted());
        self.grew(log, (producers, due), bytes.len());
        self.metrics.produced_bytes.inc_by(size.unsigned_abs());
        self.metrics.produced_messages.inc_by(u64::from(header.record_count.unsigned_abs()));
        let time_ms = if config.log_append_time { now_ms } else { -1 };
        Ok(taken(log, appended.base_offset, appended.last_offset + 1, time_ms))
    }

    /// Ends the transaction of a producer here. The epoch may be newer than that of its batches.
    pub(crate) fn append_marker(&self, producer: (i64, i16), marker: Marker) -> Result<Taken, Refusal> {
        let now_ms = clock::unix_ms();
        let batch = marker.batch(producer, now_ms);
        let batch = batch.map_err(|error| Refusal::new(ErrorCode::UnknownServerError, error.to_string()))?;
        let mut state = self.lock();
        self.open(&mut state)?;
        let State { log, producers, due, .. } = &mut *state;
        let log = log.as_mut().expect("it was just opened");
        producers.check_marker(producer, marker.coordinator_epoch)?;
        if log.wants_roll(batch.len(), now_ms) {
            self.roll(log, (producers, due), now_ms)?;
        }
        let mut bytes = BytesMut::from(&batch[..]);
        let appended = log.append(&mut bytes, self.ground.leader_epoch);
        let appended = appended.map_err(|error| self.refused(error))?;
        let header = BatchHeader::parse(&bytes).map_err(|error| Refusal::from(error.error_code()))?;
        producers.took(&header, Some(marker), now_ms);
        self.told_evicted(producers.take_evicted());
        self.grew(log, (producers, due), bytes.len());
        Ok(taken(log, appended.base_offset, appended.last_offset + 1, -1))
    }

    /// Who was forgotten only to make room may send a batch twice, and both are taken: nobody should learn that from
    /// his records alone.
    fn told_evicted(&self, count: u64) {
        if count == 0 {
            return;
        }
        let before = self.ground.metrics.evicted_producers.get();
        self.ground.metrics.evicted_producers.inc_by(count);
        if before.checked_div(EVICTIONS_TOLD) != (before + count).checked_div(EVICTIONS_TOLD) || before == 0 {
            let (topic, partition) = (&self.topic, self.index);
            tracing::warn!(%topic, partition, "too many idempotent producers: forgot one before its time; lower producer.id.expiration.ms");
        }
    }

    /// Ends the transaction of a producer here, durably.
    pub(crate) async fn mark(self: &Arc<Self>, producer: (i64, i16), marker: Marker) -> Result<(), Refusal> {
        let taken = self.append_marker(producer, marker)?;
        self.submit().await;
        if self.is_durable(taken.next_offset) {
            return Ok(());
        }
        Err(Refusal::new(ErrorCode::KafkaStorageError, "the marker could not be synced to disk"))
    }

    /// Whether all records below `offset` are synced. Not so after a sync that failed.
    pub(crate) fn is_durable(&self, offset: i64) -> bool {
        self.lock().log.as_ref().is_some_and(|log| log.synced_offset() >= offset)
    }

    /// Starts a new segment; first what its producers sent is written down.
    pub(super) fn roll(
        &self,
        log: &mut Log<DiskStorage>,
        (known, due): (&producers::Producers, &mut Due),
        now_ms: i64,
    ) -> Result<(), Refusal> {
        self.save(log, (known, due), true);
        log.roll(now_ms).map_err(|error| self.refused(error))
    }

    /// Has the next start read less: what producers sent and where batches are goes to files. All of it can be
    /// read back from the batches as well, only slower.
    pub(super) fn save(
        &self,
        log: &mut Log<DiskStorage>,
        (known, due): (&producers::Producers, &mut Due),
        synced: bool,
    ) {
        match self.files().write(log, known, synced) {
            Ok(next) => *due = next,
            Err(error) => {
                due.bytes = 0;
                tracing::warn!(topic = %self.topic, partition = self.index, %error, "cannot write down the producers");
            }
        }
        if let Err(error) = log.save_index() {
            let error = crate::error_text(&error);
            tracing::warn!(topic = %self.topic, partition = self.index, error, "cannot write down the index");
        }
    }

    /// Takes note of bytes that the next start would have to read.
    fn grew(
        &self,
        log: &mut Log<DiskStorage>,
        (known, due): (&producers::Producers, &mut Due),
        bytes: usize,
    ) {
        due.bytes = due.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.metrics.log_size.add(i64::try_from(bytes).unwrap_or(0));
        if due.is_now() {
            self.save(log, (known, due), false);
        }
    }

    pub(super) fn refused(&self, error: AppendError) -> Refusal {
        let text = crate::error_text(&error);
        match error {
            AppendError::Malformed => Refusal::new(ErrorCode::CorruptMessage, text),
            AppendError::Storage { .. } => {
                self.ground.metrics.read_only_partitions.inc();
                tracing::error!(topic = %self.topic, partition = self.index, text, "the partition is read-only now");
                Refusal::new(ErrorCode::KafkaStorageError, text)
            }
            AppendError::Full { .. } | AppendError::ReadOnly { .. } => {
                Refusal::new(ErrorCode::KafkaStorageError, text)
            }
        }
    }
}

fn taken(log: &Log<DiskStorage>, base_offset: i64, next_offset: i64, log_append_time_ms: i64) -> Taken {
    Taken { base_offset, next_offset, log_append_time_ms, log_start_offset: log.start_offset() }
}

/// Everything that can be told without unpacking the records.
fn check(records: &[u8], version: i16, config: &TopicConfig, now_ms: i64) -> Result<BatchHeader, Refusal> {
    if records.get(16).is_some_and(|magic| *magic < 2) {
        let text = "message formats 0 and 1 are not supported: use a client of Kafka 0.11 or newer";
        return Err(Refusal::new(ErrorCode::UnsupportedForMessageFormat, text));
    }
    let rules = Rules { produce_version: version, size_max: config.max_message_bytes };
    let header = match BatchHeader::validate(records, rules) {
        Err(error @ BatchError::NoProducer) => {
            return Err(Refusal::new(ErrorCode::InvalidTxnState, error.to_string()));
        }
        Err(error @ BatchError::TooLarge { .. }) => {
            let text = format!("{error} by max.message.bytes of the topic");
            return Err(Refusal::new(error.error_code(), text));
        }
        outcome => outcome.map_err(|error| Refusal::new(error.error_code(), error.to_string()))?,
    };
    if header.has_producer() && header.producer_epoch < 0 {
        let text = "a batch with a producer id needs an epoch and a sequence number";
        return Err(Refusal::new(ErrorCode::InvalidRecord, text));
    }
    if !config.log_append_time {
        check_times(&header, config, now_ms)?;
    }
    Ok(header)
}

/// In a compacted topic each record needs a key.
fn check_keys(records: &Bytes) -> Result<(), Refusal> {
    let unreadable = |error: RecordError| Refusal::new(ErrorCode::InvalidRecord, crate::error_text(&error));
    let mut keyless = Vec::new();
    for (at, record) in (0..).zip(RawRecords::open(records, UNPACKED_BYTES_MAX).map_err(unreadable)?) {
        if record.map_err(unreadable)?.key.is_none() {
            keyless.push(at);
        }
    }
    if keyless.is_empty() {
        return Ok(());
    }
    let text = format!(
        "{} records of the batch have no key, and the topic is compacted: give each record a key",
        keyless.len()
    );
    Err(Refusal { records: keyless, ..Refusal::new(ErrorCode::InvalidRecord, text) })
}

/// The batch in the codec that its topic asks for.
fn in_codec(records: Bytes, codec: Codec, size_max: usize) -> Result<Bytes, Refusal> {
    let made = recompress(&records, codec, UNPACKED_BYTES_MAX);
    let made = made.map_err(|error| Refusal::new(ErrorCode::CorruptMessage, crate::error_text(&error)))?;
    match made {
        Some(made) if made.len() > size_max => {
            let text = format!(
                "the batch has {} bytes in the codec of its topic, more than max.message.bytes",
                made.len()
            );
            Err(Refusal::new(ErrorCode::MessageTooLarge, text))
        }
        Some(made) => Ok(made),
        None => Ok(records),
    }
}

/// Gives all records the broker's time; this is under the checksum.
fn stamped(batch: &mut [u8], now_ms: i64) -> Result<(), Refusal> {
    if stamp(batch, now_ms) { Ok(()) } else { Err(ErrorCode::CorruptMessage.into()) }
}

fn check_times(header: &BatchHeader, config: &TopicConfig, now_ms: i64) -> Result<(), Refusal> {
    let late = header.max_timestamp_ms.saturating_sub(now_ms) > config.timestamp_after_max_ms;
    let early = header.base_timestamp_ms >= 0
        && now_ms.saturating_sub(header.base_timestamp_ms) > config.timestamp_before_max_ms;
    if late || early {
        let limit = if late { "message.timestamp.after.max.ms" } else { "message.timestamp.before.max.ms" };
        return Err(Refusal::new(
            ErrorCode::InvalidTimestamp,
            format!("a timestamp is further from now than {limit}"),
        ));
    }
    Ok(())
}
