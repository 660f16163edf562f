//! Taking a producer's batch: checked, placed and written as the bytes it came in. Not durable yet.

use bytes::{Bytes, BytesMut};
use kafka_wire::ErrorCode;
use record_log::{
    AppendError, Log,
    batch::{self, BatchHeader},
};
use runtime::clock;

use super::{Partition, Refusal, State, producers, producers::Verdict};
use crate::{disk::DiskStorage, topic_config::TopicConfig};

const CODEC_MASK: i16 = 0b111;
const ZSTD: i16 = 4;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
/// The first version of Produce whose clients know zstd.
const ZSTD_VERSION_MIN: i16 = 7;

/// A batch that was written, or was there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) base_offset: i64,
    /// Durable once all below this is.
    pub(crate) next_offset: i64,
    pub(crate) log_append_time_ms: i64,
    pub(crate) log_start_offset: i64,
}

impl Partition {
    /// Takes one batch that came with this version of Produce.
    pub(crate) fn append(&self, records: Bytes, version: i16) -> Result<Taken, Refusal> {
        let now_ms = clock::unix_ms();
        let mut state = self.lock();
        let header = check(&records, version, &state.config, now_ms)?;
        self.open(&mut state)?;
        let State { log, producers, config, .. } = &mut *state;
        let log = log.as_mut().expect("it was just opened");
        if header.producer_id >= 0
            && let Verdict::Repeat(base_offset, last_offset) = producers.check(&header)?
        {
            return Ok(taken(log, base_offset, last_offset + 1, -1));
        }
        if log.wants_roll(records.len(), now_ms) {
            self.roll(log, producers, now_ms)?;
        }
        // The only holder of the request's bytes changes them in place.
        let mut bytes = records.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        if config.log_append_time {
            stamp(&mut bytes, header.attributes, now_ms);
        }
        let size = i64::try_from(bytes.len()).unwrap_or(0);
        let appended = log.append(&mut bytes, self.ground.leader_epoch);
        let appended = appended.map_err(|error| self.refused(error))?;
        let placed = BatchHeader { base_offset: appended.base_offset, ..header };
        producers.took(&placed, now_ms);
        self.metrics.log_size.add(size);
        self.metrics.produced_bytes.inc_by(size.unsigned_abs());
        self.metrics.produced_messages.inc_by(u64::from(header.records_count.unsigned_abs()));
        let time_ms = if config.log_append_time { now_ms } else { -1 };
        Ok(taken(log, appended.base_offset, appended.last_offset + 1, time_ms))
    }

    /// Whether all records below `offset` are synced. Not so after a sync that failed.
    pub(crate) fn is_durable(&self, offset: i64) -> bool {
        self.lock().log.as_ref().is_some_and(|log| log.synced_offset() >= offset)
    }

    /// Starts a new segment; first what its producers sent is written down.
    pub(super) fn roll(
        &self,
        log: &mut Log<DiskStorage>,
        known: &producers::Producers,
        now_ms: i64,
    ) -> Result<(), Refusal> {
        let storage = &self.ground.storage;
        if let Err(error) = producers::write(storage, &self.folder, log.end_offset(), known) {
            // They can be read back from the batches, only slower.
            tracing::warn!(topic = %self.topic, partition = self.index, %error, "cannot write down the producers");
        }
        log.roll(now_ms).map_err(|error| self.refused(error))
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
    let header = BatchHeader::parse(records).ok_or(ErrorCode::CorruptMessage)?;
    if header.length != records.len() {
        return Err(Refusal::new(ErrorCode::InvalidRecord, "a request carries one batch for each partition"));
    }
    if records.len() > config.max_message_bytes {
        let (size, max) = (records.len(), config.max_message_bytes);
        let text = format!("the batch has {size} bytes, max.message.bytes of the topic allows {max}");
        return Err(Refusal::new(ErrorCode::MessageTooLarge, text));
    }
    if !batch::is_intact(records) {
        return Err(Refusal::new(ErrorCode::CorruptMessage, "the checksum of the batch is wrong"));
    }
    check_fields(&header, version)?;
    if !config.log_append_time {
        check_times(&header, config, now_ms)?;
    }
    Ok(header)
}

fn check_fields(header: &BatchHeader, version: i16) -> Result<(), Refusal> {
    let invalid = |text: &str| Err(Refusal::new(ErrorCode::InvalidRecord, text));
    if header.records_count <= 0 || header.last_offset_delta != header.records_count - 1 {
        return invalid("the batch is empty or its record count and offsets disagree");
    }
    if header.attributes & CONTROL != 0 {
        return invalid("clients may not write control batches");
    }
    if header.attributes & TRANSACTIONAL != 0 {
        return Err(Refusal::new(
            ErrorCode::InvalidTxnState,
            "transactions are not supported by the Embedded engine yet",
        ));
    }
    if header.producer_id >= 0 && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return invalid("a batch with a producer id needs an epoch and a sequence number");
    }
    match header.attributes & CODEC_MASK {
        codec if codec > ZSTD => invalid("the compression codec is unknown"),
        ZSTD if version < ZSTD_VERSION_MIN => Err(ErrorCode::UnsupportedCompressionType.into()),
        _ => Ok(()),
    }
}

fn check_times(header: &BatchHeader, config: &TopicConfig, now_ms: i64) -> Result<(), Refusal> {
    let late = header.max_timestamp.saturating_sub(now_ms) > config.timestamp_after_max_ms;
    let early = header.base_timestamp >= 0
        && now_ms.saturating_sub(header.base_timestamp) > config.timestamp_before_max_ms;
    if late || early {
        let limit = if late { "message.timestamp.after.max.ms" } else { "message.timestamp.before.max.ms" };
        return Err(Refusal::new(
            ErrorCode::InvalidTimestamp,
            format!("a timestamp is further from now than {limit}"),
        ));
    }
    Ok(())
}

/// Gives all records the broker's time; this is under the checksum.
fn stamp(bytes: &mut [u8], attributes: i16, now_ms: i64) {
    let mut put = |at: usize, value: &[u8]| {
        if let Some(field) = bytes.get_mut(at..at + value.len()) {
            field.copy_from_slice(value);
        }
    };
    put(21, &(attributes | LOG_APPEND_TIME).to_be_bytes());
    put(35, &now_ms.to_be_bytes());
    let checksum = crc32c::crc32c(bytes.get(21..).unwrap_or_default());
    if let Some(field) = bytes.get_mut(17..21) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
}
