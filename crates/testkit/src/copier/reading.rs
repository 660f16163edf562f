//! What copies look like, and how a client finds out which records count.

use kafka_wire::{
    messages::{
        FetchRequest,
        fetch::{FetchPartition, FetchTopic, PartitionData},
    },
    records::{Batches, Marker, Record, Records},
};

use super::{Caller, Place, Trouble};
use crate::copies::Copy;

const FETCH_BYTES: i32 = 1024 * 1024;
const UNPACKED_BYTES_MAX: usize = 1 << 24;

pub(super) fn text(which: u32, attempt: usize, input: i64) -> String {
    let filling = usize::try_from(input % 90).unwrap_or(0);
    format!("{which} {attempt} {input} {}", "c".repeat(filling))
}

/// Whose copy this is, and of what.
pub(super) fn parse(record: &Record) -> Option<(u32, Copy)> {
    let value = std::str::from_utf8(record.value.as_deref()?).ok()?;
    let mut words = value.split(' ');
    let which = words.next()?.parse().ok()?;
    let attempt = words.next()?.parse().ok()?;
    let input = words.next()?.parse().ok()?;
    (value == text(which, attempt, input)).then_some((which, Copy { offset: record.offset, attempt, input }))
}

pub(super) async fn fetch<C: Caller>(
    caller: &mut C,
    (topic, partition): &Place,
    offset: i64,
    isolation_level: i8,
) -> Result<PartitionData, Trouble<C::Error>> {
    let partition = FetchPartition {
        partition: *partition,
        fetch_offset: offset,
        partition_max_bytes: FETCH_BYTES,
        ..Default::default()
    };
    let topic = FetchTopic { topic: topic.clone(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: FETCH_BYTES,
        isolation_level,
        topics: vec![topic],
        ..Default::default()
    };
    let mut answer = caller.call(&request, 11).await.map_err(Trouble::Call)?;
    let found = answer.responses.pop().and_then(|mut topic| topic.partitions.pop());
    match found {
        Some(found) if found.error_code == 0 => Ok(found),
        Some(found) => Err(Trouble::Refused("a fetch", found.error_code)),
        None => Err(Trouble::Wrong("a fetch was answered without its partition".to_owned())),
    }
}

/// The records from an offset on that count, as clients find them out, and the offset behind all that was given.
pub(super) fn readable(found: &PartitionData, offset: i64) -> Result<(Vec<Record>, i64), String> {
    let mut aborted = found.aborted_transactions.clone().unwrap_or_default();
    aborted.sort_unstable_by_key(|aborted| aborted.first_offset);
    let mut aborted = aborted.into_iter().peekable();
    let mut active = Vec::new();
    let mut records = Vec::new();
    let mut next = offset;
    for batch in Batches::new(found.records.clone().unwrap_or_default()) {
        let (header, bytes) = batch.map_err(|error| format!("a batch that was read: {error}"))?;
        header.check_checksum(&bytes).map_err(|error| format!("offset {}: {error}", header.base_offset))?;
        next = next.max(header.next_offset());
        while let Some(begun) = aborted.next_if(|aborted| aborted.first_offset <= header.last_offset()) {
            active.push(begun.producer_id);
        }
        if header.is_control() {
            if Marker::read(&bytes).is_some_and(|marker| !marker.committed) {
                active.retain(|producer_id| *producer_id != header.producer_id);
            }
            continue;
        }
        if header.is_transactional() && active.contains(&header.producer_id) {
            continue;
        }
        for record in Records::open(&bytes, UNPACKED_BYTES_MAX).map_err(|error| error.to_string())? {
            let record = record.map_err(|error| error.to_string())?;
            if record.offset >= offset {
                records.push(record);
            }
        }
    }
    Ok((records, next))
}
