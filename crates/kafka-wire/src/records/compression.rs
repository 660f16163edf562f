//! The codecs of record batches, each under a limit of the decompressed size.
//!
//! This is the only place that decompresses, so that no caller can forget the limit.

use std::io::{Read, Write};

use bytes::{Buf, Bytes};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Raw, or in Xerial's frames, as Java writes it.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// RFC 8878.
    Zstd,
}

/// Records that cannot be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// More bytes come out than allowed.
    #[error("decompressed records exceed the limit of {0} bytes")]
    TooLarge(usize),
    /// The codec refuses the bytes.
    #[error("{codec:?} records are damaged")]
    Damaged {
        /// The codec.
        codec: Codec,
        /// What the codec said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// First bytes of Xerial's snappy frames.
const XERIAL_MAGIC: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version and compatible version.
const XERIAL_HEADER_BYTES: usize = 16;
/// Raw bytes per Xerial block when compressing, as in Java.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// Windows up to this size, in bytes, are accepted whatever the limit: the largest of zstd's usual levels.
const ZSTD_WINDOW_BYTES_MIN: u64 = 8 * 1024 * 1024;
const ZSTD_MAGIC: u32 = 0xfd2f_b528;

impl Codec {
    /// The codec with this number in a batch's attributes.
    #[must_use]
    pub const fn from_code(code: i16) -> Option<Self> {
        match code {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Its number in a batch's attributes.
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Gives back the records as they were before compression, at most `limit` bytes of them.
    pub fn decompress(self, compressed: &Bytes, limit: usize) -> Result<Bytes, CompressionError> {
        match self {
            Self::None if compressed.len() > limit => Err(CompressionError::TooLarge(limit)),
            Self::None => Ok(compressed.clone()),
            Self::Gzip => self.read(flate2::read::MultiGzDecoder::new(compressed.as_ref()), limit),
            Self::Lz4 => self.read(lz4_flex::frame::FrameDecoder::new(compressed.as_ref()), limit),
            Self::Snappy => self.snappy(compressed, limit),
            Self::Zstd => self.zstd(compressed, limit),
        }
    }

    fn damaged(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> CompressionError {
        CompressionError::Damaged { codec: self, source: source.into() }
    }

    fn read(self, decoder: impl Read, limit: usize) -> Result<Bytes, CompressionError> {
        let mut output = Vec::new();
        let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        decoder.take(one_more).read_to_end(&mut output).map_err(|error| self.damaged(error))?;
        if output.len() > limit { Err(CompressionError::TooLarge(limit)) } else { Ok(output.into()) }
    }

    fn snappy(self, compressed: &Bytes, limit: usize) -> Result<Bytes, CompressionError> {
        let mut output = Vec::new();
        if !compressed.starts_with(XERIAL_MAGIC) {
            self.snappy_block(compressed, &mut output, limit)?;
            return Ok(output.into());
        }
        let mut rest = compressed.clone();
        if rest.len() < XERIAL_HEADER_BYTES {
            return Err(self.damaged("the frame header is cut off"));
        }
        rest.advance(XERIAL_HEADER_BYTES);
        while rest.has_remaining() {
            let length = rest.try_get_u32().map_err(|error| self.damaged(error))?;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > rest.len() {
                return Err(self.damaged("a block is cut off"));
            }
            self.snappy_block(&rest.split_to(length), &mut output, limit)?;
        }
        Ok(output.into())
    }

    fn snappy_block(self, block: &[u8], output: &mut Vec<u8>, limit: usize) -> Result<(), CompressionError> {
        let length = snap::raw::decompress_len(block).map_err(|error| self.damaged(error))?;
        let start = output.len();
        let end = start.checked_add(length).filter(|end| *end <= limit);
        let end = end.ok_or(CompressionError::TooLarge(limit))?;
        output.resize(end, 0);
        let slot = output.get_mut(start..).unwrap_or_default();
        let written = snap::raw::Decoder::new().decompress(block, slot);
        let written = written.map_err(|error| self.damaged(error))?;
        output.truncate(start.saturating_add(written));
        Ok(())
    }

    /// One block (at most 128 KiB of output) at a time, so that the limit holds within a block.
    fn zstd(self, compressed: &Bytes, limit: usize) -> Result<Bytes, CompressionError> {
        let window_max = u64::try_from(limit).unwrap_or(u64::MAX).max(ZSTD_WINDOW_BYTES_MIN);
        let mut source = compressed.as_ref();
        let mut output = Vec::new();
        while !source.is_empty() {
            if zstd_window(source).is_some_and(|window| window > window_max) {
                return Err(CompressionError::TooLarge(limit));
            }
            let mut decoder = FrameDecoder::new();
            decoder.init(&mut source).map_err(|error| self.damaged(error))?;
            while !decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                decoder.decode_blocks(&mut source, one).map_err(|error| self.damaged(error))?;
                decoder.collect_to_writer(&mut output).map_err(|error| self.damaged(error))?;
                if output.len() > limit {
                    return Err(CompressionError::TooLarge(limit));
                }
            }
        }
        Ok(output.into())
    }

    /// Compresses records: for tools and tests, and for topics that ask for a codec of their own.
    pub fn compress(self, records: &[u8]) -> Result<Bytes, CompressionError> {
        match self {
            Self::None => Ok(Bytes::copy_from_slice(records)),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(records).map_err(|error| self.damaged(error))?;
                Ok(encoder.finish().map_err(|error| self.damaged(error))?.into())
            }
            Self::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(records).map_err(|error| self.damaged(error))?;
                Ok(encoder.finish().map_err(|error| self.damaged(error))?.into())
            }
            Self::Snappy => {
                let block = snap::raw::Encoder::new().compress_vec(records);
                Ok(block.map_err(|error| self.damaged(error))?.into())
            }
            Self::Zstd => {
                let level = ruzstd::encoding::CompressionLevel::Fastest;
                Ok(ruzstd::encoding::compress_to_vec(records, level).into())
            }
        }
    }
}

/// Snappy in Xerial's frames, as Java producers write it.
pub fn compress_xerial(records: &[u8]) -> Result<Bytes, CompressionError> {
    let mut output = XERIAL_MAGIC.to_vec();
    output.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
    for raw in records.chunks(XERIAL_BLOCK_BYTES) {
        let block = Codec::Snappy.compress(raw)?;
        let length = u32::try_from(block.len()).map_err(|error| Codec::Snappy.damaged(error))?;
        output.extend_from_slice(&length.to_be_bytes());
        output.extend_from_slice(&block);
    }
    Ok(output.into())
}

/// The memory, in bytes, that a zstd frame's header asks for; `None` when it has none to tell.
///
/// The decoder keeps that much before it hands out a byte, so it must be known beforehand.
fn zstd_window(frame: &[u8]) -> Option<u64> {
    let (magic, rest) = frame.split_first_chunk::<4>()?;
    let (descriptor, rest) = rest.split_first()?;
    if u32::from_le_bytes(*magic) != ZSTD_MAGIC {
        return None;
    }
    if descriptor & 0b0010_0000 == 0 {
        let window = rest.first()?;
        let base = 1_u64.checked_shl(u32::from(window >> 3).saturating_add(10))?;
        let addition = (base >> 3).saturating_mul(u64::from(window & 7));
        return Some(base.saturating_add(addition));
    }
    // A single segment: its window is its content size, which follows the dictionary id.
    let dictionary_bytes = [0, 1, 2, 4].get(usize::from(descriptor & 3)).copied()?;
    let size = rest.get(dictionary_bytes..)?;
    match descriptor >> 6 {
        0 => size.first().map(|byte| u64::from(*byte)),
        1 => size.first_chunk().map(|bytes| u64::from(u16::from_le_bytes(*bytes)).saturating_add(256)),
        2 => size.first_chunk().map(|bytes| u64::from(u32::from_le_bytes(*bytes))),
        _ => size.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)),
    }
}
