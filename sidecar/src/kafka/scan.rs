//! Pure: finds where requests and answers start in a stream, from their first bytes.

use bytes::{Buf, Bytes};
use kafka_wire::frame::{self, FRAME_BYTES_MAX, FrameError, LENGTH_BYTES};
use kafka_wire::{ApiKey, Reader, RequestHeader};

/// Bytes in which the acks of a Produce request are looked for at first.
const ACKS_WITHIN_BYTES: usize = 512;
/// Bytes in which they must be found: the two names before them take at most 32 KiB each.
const ACKS_WITHIN_BYTES_MAX: usize = 80 * 1024;
/// API key, version and correlation id.
const REQUEST_FIXED_BYTES: usize = 8;

/// A request that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestStart {
    pub(super) api_key: i16,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
    /// Produce with acks=0 is the one request that gets no answer.
    pub(super) answered: bool,
    /// Bytes of the whole frame, its length included.
    pub(super) frame_bytes: usize,
}

/// An answer that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AnswerStart {
    pub(super) correlation_id: i32,
    /// Bytes of the whole frame, its length included.
    pub(super) frame_bytes: usize,
}

fn frame_bytes(raw_length: i32) -> Result<usize, FrameError> {
    frame::check_length(raw_length, FRAME_BYTES_MAX).map(|length| length + LENGTH_BYTES)
}

/// Reads the start of a request; `None` = more bytes are needed.
pub(super) fn request_start(bytes: &[u8]) -> Result<Option<RequestStart>, FrameError> {
    let mut head = bytes;
    let Ok(raw_length) = head.try_get_i32() else { return Ok(None) };
    let frame_bytes = frame_bytes(raw_length)?;
    if frame_bytes < LENGTH_BYTES + REQUEST_FIXED_BYTES {
        return Err(FrameError::Negative(raw_length));
    }
    let (Ok(api_key), Ok(version), Ok(correlation_id)) =
        (head.try_get_i16(), head.try_get_i16(), head.try_get_i32())
    else {
        return Ok(None);
    };
    let answered = if api_key == ApiKey::Produce.code() {
        let there = bytes.get(LENGTH_BYTES..frame_bytes.min(bytes.len())).unwrap_or_default();
        let whole = there.len() + LENGTH_BYTES == frame_bytes || there.len() >= ACKS_WITHIN_BYTES_MAX;
        match produce_acks(there) {
            Some(acks) => acks != 0,
            // The broker will refuse it: that is an answer, or the end.
            None if whole => true,
            None => return Ok(None),
        }
    } else {
        true
    };
    Ok(Some(RequestStart { api_key, version, correlation_id, answered, frame_bytes }))
}

/// The acks of a Produce request, if they are among these first bytes of it.
fn produce_acks(request: &[u8]) -> Option<i16> {
    let within = |limit: usize| {
        let prefix = request.get(..limit.min(request.len())).unwrap_or_default();
        let mut reader = Reader::new(Bytes::copy_from_slice(prefix));
        let header = RequestHeader::decode(&mut reader).ok()?;
        let flexible = ApiKey::Produce.is_flexible(header.api_version);
        let _transactional_id = reader.string(flexible).ok()?;
        reader.int16().ok()
    };
    within(ACKS_WITHIN_BYTES).or_else(|| within(ACKS_WITHIN_BYTES_MAX))
}

/// Reads the start of an answer; `None` = more bytes are needed.
pub(super) fn answer_start(bytes: &[u8]) -> Result<Option<AnswerStart>, FrameError> {
    let mut head = bytes;
    let Ok(raw_length) = head.try_get_i32() else { return Ok(None) };
    let frame_bytes = frame_bytes(raw_length)?;
    if frame_bytes < LENGTH_BYTES + size_of::<i32>() {
        return Err(FrameError::Negative(raw_length));
    }
    let Ok(correlation_id) = head.try_get_i32() else { return Ok(None) };
    Ok(Some(AnswerStart { correlation_id, frame_bytes }))
}
