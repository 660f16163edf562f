//! A batch with the same records in another codec, for topics that ask for one. Header fields other than
//! length, codec and checksum stay as they were; records are not looked at.

use bytes::{Bytes, BytesMut};

use super::batch::{BatchError, BatchHeader, HEADER_BYTES, LENGTH_END, recode};
use super::compression::{Codec, CompressionError, compress_xerial};

/// A batch that cannot be had in another codec.
#[derive(Debug, thiserror::Error)]
pub enum RecompressError {
    /// The batch is not whole or not known.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Its records are damaged, or too many bytes.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// Its records do not fit a batch in that codec.
    #[error("the records do not fit a batch in the codec that the topic asks for")]
    TooLarge,
}

/// The whole batch in this codec, at most `limit` bytes of records between the two; `None` when it is so already.
///
/// The checksum of `batch` is the caller's to check.
pub fn recompress(batch: &Bytes, codec: Codec, limit: usize) -> Result<Option<Bytes>, RecompressError> {
    let header = BatchHeader::parse(batch)?;
    let from = header.codec()?;
    if from == codec {
        return Ok(None);
    }
    let Some((head, body)) = batch.split_at_checked(HEADER_BYTES) else {
        return Ok(None);
    };
    let records = from.decompress(&batch.slice_ref(body), limit)?;
    // Java reads raw snappy as well, but never writes it.
    let body = if codec == Codec::Snappy { compress_xerial(&records)? } else { codec.compress(&records)? };
    let size = HEADER_BYTES.saturating_add(body.len());
    let length = i32::try_from(size.saturating_sub(LENGTH_END)).map_err(|_| RecompressError::TooLarge)?;
    let mut made = BytesMut::with_capacity(size);
    made.extend_from_slice(head);
    made.extend_from_slice(&body);
    // The header was just copied whole, so there is room for its fields.
    let _whole = recode(&mut made, length, codec);
    Ok(Some(made.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{BatchBuilder, Record, Records};

    fn batch(codec: Codec) -> Bytes {
        let records = [1, 2, 3].map(|number: u8| Record {
            timestamp_ms: 1_000 + i64::from(number),
            key: Some(Bytes::from(vec![number; 10])),
            value: Some(Bytes::from(vec![number; 1_000])),
            ..Record::default()
        });
        let builder =
            BatchBuilder { codec, producer_id: 7, producer_epoch: 1, base_sequence: 5, ..Default::default() };
        builder.build(&records).unwrap()
    }

    /// Goal: between any two codecs the records and all other fields stay, and the checksum is right.
    #[test]
    fn records_stay_between_codecs() {
        let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
        for from in codecs {
            for to in codecs {
                let before = batch(from);
                let Some(after) = recompress(&before, to, 1 << 20).unwrap() else {
                    assert_eq!(from, to);
                    continue;
                };
                let (old, new) = (BatchHeader::parse(&before).unwrap(), BatchHeader::parse(&after).unwrap());
                new.check_checksum(&after).unwrap();
                assert_eq!(new.codec().unwrap(), to);
                assert_eq!(new.size, after.len());
                let same =
                    BatchHeader { size: old.size, checksum: old.checksum, attributes: old.attributes, ..new };
                assert_eq!(same, old);
                let read = |bytes: &Bytes| -> Vec<Record> {
                    Records::open(bytes, 1 << 20).unwrap().collect::<Result<_, _>>().unwrap()
                };
                assert_eq!(read(&after), read(&before));
            }
        }
    }

    /// Goal: a batch that would grow beyond the limit is refused, as is one that is cut off.
    #[test]
    fn what_is_too_large_is_refused() {
        assert!(recompress(&batch(Codec::Zstd), Codec::None, 100).is_err());
        assert!(recompress(&batch(Codec::Zstd).slice(..60), Codec::None, 1 << 20).is_err());
    }
}
