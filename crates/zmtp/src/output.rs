//! What is still to be written to the peer. Small bodies are copied behind their headers, so
//! that many messages leave in one write; large ones go out as they are, without a copy.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use crate::frame::encode_frame_header;

/// Bodies up to this length are copied; above, a copy costs more than one more slice in a write.
const COPY_BYTES_MAX: usize = 4096;
/// Room that is kept ready for headers and small bodies while messages flow.
const STAGE_BYTES: usize = 16 * 1024;

/// The bytes that wait to be written: read them through [`Buf`], whole or vectored.
#[derive(Debug, Default)]
pub struct Output {
    /// Finished pieces, in order.
    chunks: VecDeque<Bytes>,
    /// The piece that is still growing; comes after all chunks.
    stage: BytesMut,
    /// Bytes in `chunks`.
    chunk_bytes: usize,
}

impl Output {
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.stage.extend_from_slice(bytes);
    }

    #[inline]
    pub(crate) fn frame(&mut self, more: bool, command: bool, body: &Bytes) {
        if self.stage.capacity().saturating_sub(self.stage.len()) < body.len().min(COPY_BYTES_MAX) {
            self.stage.reserve(STAGE_BYTES);
        }
        encode_frame_header(&mut self.stage, more, command, body.len());
        if body.len() <= COPY_BYTES_MAX {
            self.stage.extend_from_slice(body);
            return;
        }
        let head = self.stage.split().freeze();
        self.chunk_bytes = self.chunk_bytes.saturating_add(head.len()).saturating_add(body.len());
        self.chunks.push_back(head);
        self.chunks.push_back(body.clone());
    }
}

impl Buf for Output {
    fn remaining(&self) -> usize {
        self.chunk_bytes.saturating_add(self.stage.len())
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.front().map_or(&self.stage[..], |chunk| &chunk[..])
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = self.chunks.iter().map(|chunk| &chunk[..]).chain([&self.stage[..]]);
        let mut filled = 0_usize;
        for (slice, piece) in slices.iter_mut().zip(pieces.filter(|piece| !piece.is_empty())) {
            *slice = IoSlice::new(piece);
            filled = filled.saturating_add(1);
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let Some(front) = self.chunks.front_mut() else {
                self.stage.advance(count);
                return;
            };
            let taken = count.min(front.len());
            front.advance(taken);
            count = count.saturating_sub(taken);
            self.chunk_bytes = self.chunk_bytes.saturating_sub(taken);
            if front.is_empty() {
                self.chunks.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what goes in comes out in order, whatever the mix of small and large bodies and
    /// however the writes are cut.
    #[test]
    fn keeps_order_over_partial_writes() {
        let bodies: Vec<Bytes> = [10, 5000, 0, 300, 9000, 4096, 4097]
            .iter()
            .enumerate()
            .map(|(index, length)| Bytes::from(vec![u8::try_from(index).unwrap(); *length]))
            .collect();
        let mut wanted = BytesMut::new();
        let mut output = Output::default();
        for body in &bodies {
            encode_frame_header(&mut wanted, true, false, body.len());
            wanted.extend_from_slice(body);
            output.frame(true, false, body);
        }
        assert_eq!(output.remaining(), wanted.len());
        let mut written = Vec::new();
        while output.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 3];
            let filled = output.chunks_vectored(&mut slices);
            let offered: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
            let taken = offered.len().min(777);
            written.extend_from_slice(&offered[..taken]);
            output.advance(taken);
        }
        assert!(written == wanted, "order or bytes were lost");
    }
}
