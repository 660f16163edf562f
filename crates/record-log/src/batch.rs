//! Record batches (format 2) as far as a log needs them: the header of `kafka-wire`, and whether it can
//! stand in a log. Never looks at the records.

use bytes::BufMut;
pub use kafka_wire::records::batch::{BatchHeader, HEADER_BYTES};
use kafka_wire::records::batch::{LENGTH_END, MAGIC};

/// Where the bytes start that the checksum covers.
const CHECKED_FROM: usize = 21;

/// Reads a header from the first bytes of `bytes`; `None` when there are too few of them, the format is
/// not 2, or the offsets cannot be those of a batch in a log. The checksum is not looked at.
#[must_use]
pub fn header(bytes: &[u8]) -> Option<BatchHeader> {
    let header = BatchHeader::parse(bytes).ok()?;
    (header.base_offset >= 0 && header.last_offset_delta >= 0).then_some(header)
}

/// Whether `batch`, exactly one whole batch, has the checksum that its header says.
#[must_use]
pub fn is_intact(batch: &[u8]) -> bool {
    header(batch).is_some_and(|header| batch.len() == header.size && header.check_checksum(batch).is_ok())
}

/// Makes a batch around bytes that only their writer understands, for logs that are not for clients.
/// It counts as one record.
///
/// # Errors
/// The length that does not fit into the header's length field.
pub fn wrap(payload: &[u8], timestamp_ms: i64) -> Result<Vec<u8>, usize> {
    let whole = HEADER_BYTES + payload.len();
    let length = i32::try_from(whole - LENGTH_END).map_err(|_| payload.len())?;
    let mut batch = Vec::with_capacity(whole);
    batch.put_i64(0);
    batch.put_i32(length);
    batch.put_i32(0);
    batch.put_i8(MAGIC);
    batch.put_u32(0);
    batch.put_i16(0);
    batch.put_i32(0);
    batch.put_i64(timestamp_ms);
    batch.put_i64(timestamp_ms);
    batch.put_i64(-1);
    batch.put_i16(-1);
    batch.put_i32(-1);
    batch.put_i32(1);
    batch.put_slice(payload);
    let checksum = crc32c::crc32c(&batch[CHECKED_FROM..]);
    batch[17..CHECKED_FROM].copy_from_slice(&checksum.to_be_bytes());
    Ok(batch)
}
