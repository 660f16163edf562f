//! The header of a record batch (format 2), as far as a log needs it. Never looks at the records.

use bytes::BufMut;

/// Bytes before the first record.
pub const HEADER_LENGTH: usize = 61;
/// Bytes before what the length field counts.
const LENGTH_PREFIX: usize = 12;
/// Where the bytes start that the checksum covers.
const CHECKED_FROM: usize = 21;

/// The fields of a batch header that place, order and check the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Bytes of the whole batch, this header included.
    pub length: usize,
    /// The leader epoch that the batch was appended in.
    pub leader_epoch: i32,
    /// CRC-32C of all from the attributes to the end.
    pub checksum: u32,
    /// Codec, timestamp type, transactional and control bits.
    pub attributes: i16,
    /// Offset of the last record less the base offset.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, milliseconds since 1970.
    pub base_timestamp: i64,
    /// Largest timestamp of the batch, milliseconds since 1970.
    pub max_timestamp: i64,
    /// Producer id; -1 when there is none.
    pub producer_id: i64,
    /// Producer epoch.
    pub producer_epoch: i16,
    /// Sequence number of the first record.
    pub base_sequence: i32,
    /// Records in the batch.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads a header from the first bytes of `bytes`; `None` when there are too few of them, the format is
    /// not 2 or a field contradicts another. The checksum is not looked at.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER_LENGTH)?;
        if header.get(16) != Some(&2) {
            return None;
        }
        let length =
            usize::try_from(i32::from_be_bytes(field(header, 8)?)).ok()?.checked_add(LENGTH_PREFIX)?;
        let header = Self {
            base_offset: i64::from_be_bytes(field(header, 0)?),
            length,
            leader_epoch: i32::from_be_bytes(field(header, 12)?),
            checksum: u32::from_be_bytes(field(header, 17)?),
            attributes: i16::from_be_bytes(field(header, 21)?),
            last_offset_delta: i32::from_be_bytes(field(header, 23)?),
            base_timestamp: i64::from_be_bytes(field(header, 27)?),
            max_timestamp: i64::from_be_bytes(field(header, 35)?),
            producer_id: i64::from_be_bytes(field(header, 43)?),
            producer_epoch: i16::from_be_bytes(field(header, 51)?),
            base_sequence: i32::from_be_bytes(field(header, 53)?),
            records_count: i32::from_be_bytes(field(header, 57)?),
        };
        let sane = length >= HEADER_LENGTH && header.base_offset >= 0 && header.last_offset_delta >= 0;
        sane.then_some(header)
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The offset after the last record.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }
}

/// Whether `batch`, exactly one whole batch, has the checksum that its header says.
#[must_use]
pub fn is_intact(batch: &[u8]) -> bool {
    let Some(header) = BatchHeader::parse(batch) else { return false };
    batch.len() == header.length
        && batch.get(CHECKED_FROM..).is_some_and(|checked| crc32c::crc32c(checked) == header.checksum)
}

/// Writes the base offset and the leader epoch into a batch; the checksum covers neither.
pub(crate) fn place(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    if let Some(bytes) = batch.get_mut(..8) {
        bytes.copy_from_slice(&base_offset.to_be_bytes());
    }
    if let Some(bytes) = batch.get_mut(12..16) {
        bytes.copy_from_slice(&leader_epoch.to_be_bytes());
    }
}

/// Makes a batch around bytes that only their writer understands, for logs that are not for clients.
/// It counts as one record.
///
/// # Errors
/// The length that does not fit into the header's length field.
pub fn wrap(payload: &[u8], timestamp_ms: i64) -> Result<Vec<u8>, usize> {
    let whole = HEADER_LENGTH + payload.len();
    let length = i32::try_from(whole - LENGTH_PREFIX).map_err(|_| payload.len())?;
    let mut batch = Vec::with_capacity(whole);
    batch.put_i64(0);
    batch.put_i32(length);
    batch.put_i32(0);
    batch.put_i8(2);
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

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}
