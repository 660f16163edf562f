//! What becomes of a batch. Decides, and reads and writes nothing.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use kafka_wire::records::{RawRecord, RawRecords, raw};

use super::{CompactError, LastOfProducer, UNPACKED_BYTES_MAX, Writers, keys::Keys};
use crate::batch::BatchHeader;

/// What becomes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays as it is.
    Same,
    /// This takes its place.
    Changed(Bytes),
    /// Nothing does.
    Gone,
}

/// What becomes of a batch, and when some of it that stays for its time may go.
pub(super) struct Verdict {
    pub(super) fate: Fate,
    pub(super) horizon_ms: Option<i64>,
}

impl From<Fate> for Verdict {
    fn from(fate: Fate) -> Self {
        Self { fate, horizon_ms: None }
    }
}

/// Where the walk over the batches is: which producers have records of a transaction that is not at its marker yet.
#[derive(Clone, Default)]
pub(super) struct Open(HashSet<i64>);

/// What decides.
pub(super) struct Judge {
    pub(super) keys: Keys,
    /// All keys below are in the table: what is behind stays as it is.
    pub(super) clean_offset: i64,
    pub(super) now_ms: i64,
    pub(super) delete_retention_ms: i64,
    /// First and last offset of aborted transactions by producer, in order.
    aborted: HashMap<i64, Vec<(i64, i64)>>,
    producers: HashMap<i64, LastOfProducer>,
    pub(super) keyless_records: u64,
}

impl Judge {
    pub(super) fn new(writers: Writers, keys: Keys, (now_ms, delete_retention_ms): (i64, i64)) -> Self {
        let mut aborted: HashMap<i64, Vec<(i64, i64)>> = HashMap::new();
        for transaction in writers.aborted {
            let of_producer = aborted.entry(transaction.producer_id).or_default();
            of_producer.push((transaction.first_offset, transaction.last_offset));
        }
        aborted.values_mut().for_each(|of_producer| of_producer.sort_unstable());
        let producers = writers.producers;
        Self { keys, clean_offset: 0, now_ms, delete_retention_ms, aborted, producers, keyless_records: 0 }
    }

    /// Whether a batch belongs to an aborted transaction.
    pub(super) fn is_aborted(&self, header: &BatchHeader) -> bool {
        let Some(of_producer) = self.aborted.get(&header.producer_id) else { return false };
        let after = of_producer.partition_point(|(first, _)| *first <= header.base_offset);
        let before = after.checked_sub(1).and_then(|at| of_producer.get(at));
        header.is_transactional() && before.is_some_and(|(_, last)| header.base_offset <= *last)
    }

    /// Whether nobody would know its producer without the batch.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        match self.producers.get(&header.producer_id).filter(|_| header.has_producer()) {
            Some(LastOfProducer::Record(offset)) => !header.is_control() && header.last_offset() == *offset,
            Some(LastOfProducer::Marker(epoch)) => header.is_control() && header.producer_epoch == *epoch,
            None => false,
        }
    }

    /// What becomes of the next batch of the log. The last one of a file never goes.
    pub(super) fn judge(
        &mut self,
        (header, bytes): (&BatchHeader, &Bytes),
        open: &mut Open,
        is_last: bool,
    ) -> Result<Verdict, CompactError> {
        if header.base_offset >= self.clean_offset {
            return Ok(Fate::Same.into());
        }
        if header.is_control() {
            return self.marker((header, bytes), open, is_last);
        }
        if self.is_aborted(header) {
            return Ok(self.without_records(header, is_last).into());
        }
        let verdict = self.data((header, bytes), is_last)?;
        let has_records = match &verdict.fate {
            Fate::Same => header.record_count > 0,
            Fate::Changed(made) => BatchHeader::parse(made).is_ok_and(|made| made.record_count > 0),
            Fate::Gone => false,
        };
        if header.is_transactional() && has_records {
            open.0.insert(header.producer_id);
        }
        Ok(verdict)
    }

    /// A marker stays for as long as its transaction has records, and then for a tombstone's time.
    fn marker(
        &self,
        (header, bytes): (&BatchHeader, &Bytes),
        open: &mut Open,
        is_last: bool,
    ) -> Result<Verdict, CompactError> {
        if open.0.remove(&header.producer_id) {
            return Ok(Fate::Same.into());
        }
        if !header.has_delete_horizon() {
            let all = records(header, bytes)?.collect::<Result<Vec<_>, _>>();
            let all = all.map_err(|source| CompactError::Records { offset: header.base_offset, source })?;
            let horizon_ms = self.horizon_ms();
            return Ok(Verdict { fate: kept(header, &all, Some(horizon_ms))?, horizon_ms: Some(horizon_ms) });
        }
        if self.now_ms < header.base_timestamp_ms {
            return Ok(Verdict { fate: Fate::Same, horizon_ms: Some(header.base_timestamp_ms) });
        }
        let stays = is_last || self.is_last_of_producer(header);
        Ok(if stays { Fate::Same } else { Fate::Gone }.into())
    }

    fn data(
        &mut self,
        (header, bytes): (&BatchHeader, &Bytes),
        is_last: bool,
    ) -> Result<Verdict, CompactError> {
        let tombstones_stay = !header.has_delete_horizon() || self.now_ms < header.base_timestamp_ms;
        let mut stay = Vec::new();
        for record in records(header, bytes)? {
            let record =
                record.map_err(|source| CompactError::Records { offset: header.base_offset, source })?;
            // As in Kafka, a record without a key, which an earlier config let in, goes.
            let Some(key) = &record.key else {
                self.keyless_records += 1;
                continue;
            };
            if !self.keys.has_newer(key, record.offset) && (record.has_value || tombstones_stay) {
                stay.push(record);
            }
        }
        if stay.is_empty() {
            return Ok(self.without_records(header, is_last).into());
        }
        let has_tombstones = stay.iter().any(|record| !record.has_value);
        let is_first_time = has_tombstones && !header.has_delete_horizon();
        let horizon_ms = match is_first_time {
            true => Some(self.horizon_ms()),
            false => header.has_delete_horizon().then_some(header.base_timestamp_ms),
        };
        let is_whole = usize::try_from(header.record_count).is_ok_and(|count| count == stay.len());
        let fate = if is_whole && !is_first_time { Fate::Same } else { kept(header, &stay, horizon_ms)? };
        Ok(Verdict { fate, horizon_ms: horizon_ms.filter(|_| has_tombstones) })
    }

    /// A batch of which no record stays.
    fn without_records(&self, header: &BatchHeader, is_last: bool) -> Fate {
        match (is_last || self.is_last_of_producer(header), header.record_count) {
            (false, _) => Fate::Gone,
            (true, 0) => Fate::Same,
            (true, _) => Fate::Changed(raw::emptied(header)),
        }
    }

    fn horizon_ms(&self) -> i64 {
        self.now_ms.saturating_add(self.delete_retention_ms)
    }
}

/// The records of a batch.
pub(super) fn records(header: &BatchHeader, bytes: &Bytes) -> Result<RawRecords, CompactError> {
    RawRecords::open(bytes, UNPACKED_BYTES_MAX)
        .map_err(|source| CompactError::Records { offset: header.base_offset, source })
}

fn kept(header: &BatchHeader, stay: &[RawRecord], horizon_ms: Option<i64>) -> Result<Fate, CompactError> {
    let made = raw::keep(header, stay, horizon_ms);
    made.map(Fate::Changed)
        .map_err(|error| CompactError::Rebuild { offset: header.base_offset, reason: error.to_string() })
}
