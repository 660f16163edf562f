//! Bytes that wait to be written: small things packed together, large payloads shared and never copied.

use bytes::{BufMut as _, Bytes, BytesMut};
use std::collections::VecDeque;

/// Bytes that one chunk of packed frames holds before the next one begins.
const CHUNK_BYTES: usize = 64 * 1024;
/// From this length on, a payload is a chunk of its own instead of being copied.
const SHARED_BYTES_MIN: usize = 8 * 1024;

/// The queue of bytes to write.
#[derive(Debug, Default)]
pub(crate) struct Output {
    chunks: VecDeque<Bytes>,
    packed: BytesMut,
    length: usize,
}

impl Output {
    #[inline]
    pub(crate) fn put_u8(&mut self, value: u8) {
        self.packed.put_u8(value);
        self.length = self.length.saturating_add(1);
    }

    #[inline]
    pub(crate) fn put_u16(&mut self, value: u16) {
        self.packed.put_u16(value);
        self.length = self.length.saturating_add(2);
    }

    #[inline]
    pub(crate) fn put_u32(&mut self, value: u32) {
        self.packed.put_u32(value);
        self.length = self.length.saturating_add(4);
    }

    #[inline]
    pub(crate) fn put_u64(&mut self, value: u64) {
        self.packed.put_u64(value);
        self.length = self.length.saturating_add(8);
    }

    #[inline]
    pub(crate) fn put_slice(&mut self, bytes: &[u8]) {
        self.packed.put_slice(bytes);
        self.length = self.length.saturating_add(bytes.len());
    }

    /// Appends `payload`, copied when it is small, shared when it is large.
    #[inline]
    pub(crate) fn put_payload(&mut self, payload: &Bytes) {
        if payload.len() < SHARED_BYTES_MIN {
            self.put_slice(payload);
            return;
        }
        self.close_chunk();
        self.chunks.push_back(payload.clone());
        self.length = self.length.saturating_add(payload.len());
    }

    /// Marks the end of a frame: a good place to begin another chunk.
    #[inline]
    pub(crate) fn end_frame(&mut self) {
        if self.packed.len() >= CHUNK_BYTES {
            self.close_chunk();
        }
    }

    fn close_chunk(&mut self) {
        if !self.packed.is_empty() {
            self.chunks.push_back(self.packed.split().freeze());
        }
    }

    /// The next bytes to write.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        if self.chunks.is_empty() {
            self.close_chunk();
        }
        let chunk = self.chunks.pop_front()?;
        self.length = self.length.saturating_sub(chunk.len());
        Some(chunk)
    }

    /// Bytes that wait.
    pub(crate) const fn len(&self) -> usize {
        self.length
    }
}
