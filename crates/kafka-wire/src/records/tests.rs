//! Record batches: round trips in every codec, refusals, patches, limits; and the published crate as oracle.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::batch::{self, BatchError, BatchHeader, Batches, HEADER_BYTES, Rules};
use super::compression::{Codec, CompressionError, compress_xerial};
use super::{BatchBuilder, Marker, Record, RecordError, RecordHeader, Records};
use crate::ErrorCode;
use crate::schema::sample::used;

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
const RULES: Rules = Rules { produce_version: 9, size_max: 1_048_588 };
const LIMIT: usize = 1 << 20;

fn optional_bytes() -> impl Strategy<Value = Option<Bytes>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from))
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let header = ("[a-z]{0,4}", optional_bytes()).prop_map(|(key, value)| RecordHeader { key, value });
    let headers = proptest::collection::vec(header, 0..4);
    let record = (0..1_i64 << 50, optional_bytes(), optional_bytes(), headers).prop_map(
        |(timestamp_ms, key, value, headers)| Record { offset: 0, timestamp_ms, key, value, headers },
    );
    proptest::collection::vec(record, 1..20).prop_map(|mut records| {
        (100..).zip(&mut records).for_each(|(offset, record)| record.offset = offset);
        records
    })
}

fn one_record() -> Vec<Record> {
    vec![Record { value: Some(Bytes::from_static(b"value")), timestamp_ms: 1_000, ..Default::default() }]
}

fn built(builder: BatchBuilder) -> Bytes {
    builder.build(&one_record()).expect("builds")
}

/// The batch with one field changed and a fresh checksum.
fn forged(batch: &Bytes, start: usize, bytes: &[u8]) -> Bytes {
    let mut forged = BytesMut::from(batch.as_ref());
    forged[start..start + bytes.len()].copy_from_slice(bytes);
    assert!(batch::seal(&mut forged));
    forged.freeze()
}

proptest! {
    /// Goal: records survive every codec, duplicate header keys and nulls included.
    #[test]
    fn records_survive_every_codec(records in records()) {
        for codec in CODECS {
            let builder = BatchBuilder { codec, base_offset: 100, ..Default::default() };
            let batch = builder.build(&records).expect("builds");
            let header = BatchHeader::validate(&batch, RULES).expect("valid");
            prop_assert_eq!(header.size, batch.len());
            prop_assert_eq!(header.last_offset(), 99 + i64::try_from(records.len()).expect("few"));
            prop_assert_eq!(Some(header.max_timestamp_ms), records.iter().map(|r| r.timestamp_ms).max());
            let read: Result<Vec<_>, _> = Records::open(&batch, LIMIT).expect("opens").collect();
            prop_assert_eq!(&read.expect("reads"), &records);
        }
    }

    /// Goal: the published crate reads our batches as we wrote them (it loses duplicate header keys).
    #[test]
    fn the_oracle_reads_our_batches(records in records()) {
        use kafka_protocol::records::RecordBatchDecoder;
        let builder = BatchBuilder { base_offset: 100, producer_id: 5, producer_epoch: 1, base_sequence: 9, ..Default::default() };
        let mut batch = builder.build(&records).expect("builds");
        let decoded = RecordBatchDecoder::decode(&mut batch).expect("oracle decodes");
        prop_assert_eq!(decoded.records.len(), records.len());
        for (theirs, ours) in decoded.records.iter().zip(&records) {
            prop_assert_eq!(theirs.offset, ours.offset);
            prop_assert_eq!(theirs.timestamp, ours.timestamp_ms);
            prop_assert_eq!(&theirs.key, &ours.key);
            prop_assert_eq!(&theirs.value, &ours.value);
            prop_assert_eq!(theirs.producer_id, 5);
        }
    }

    /// Goal: no bytes make the header, the records or a codec panic or grow past the limit.
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let bytes = Bytes::from(bytes);
        used(BatchHeader::validate(&bytes, RULES));
        used(Batches::new(bytes.clone()).count());
        for codec in CODECS {
            if let Ok(output) = codec.decompress(&bytes, 1_000) {
                prop_assert!(output.len() <= 1_000);
            }
            // Behind a header that is in order.
            let batch = built(BatchBuilder { codec, ..Default::default() });
            let mut forged = BytesMut::from(&batch[..HEADER_BYTES]);
            forged.extend_from_slice(&bytes);
            let length = i32::try_from(forged.len() - 12).expect("short");
            forged[8..12].copy_from_slice(&length.to_be_bytes());
            if let Ok(records) = Records::open(&forged.freeze(), 1_000) {
                used(records.count());
            }
        }
    }

    /// Goal: damage to valid compressed data is an error or other bytes, never a panic.
    #[test]
    fn flipped_bytes_never_panic(position in 0_usize..2_000, flip in 1_u8..=255, seed: u64) {
        let raw: Vec<u8> = (0..2_000_u64).map(|index| (index.wrapping_mul(seed) >> 7).to_le_bytes()[0]).collect();
        for codec in CODECS {
            let mut damaged = codec.compress(&raw).expect("compresses").to_vec();
            let position = position % damaged.len();
            damaged[position] ^= flip;
            used(codec.decompress(&damaged.into(), LIMIT));
        }
    }
}

/// Goal: base offset and leader epoch change in place and nothing else does; the checksum still holds.
#[test]
fn placing_a_batch_keeps_its_checksum() {
    let batch = built(BatchBuilder::default());
    let mut placed = BytesMut::from(batch.as_ref());
    assert!(batch::place(&mut placed, 7_000_000_000, 3));
    let placed = placed.freeze();
    let header = BatchHeader::validate(&placed, RULES).expect("valid");
    assert_eq!((header.base_offset, header.partition_leader_epoch), (7_000_000_000, 3));
    assert_eq!(placed[HEADER_BYTES..], batch[HEADER_BYTES..]);
    assert!(!batch::place(&mut [0; 60], 1, 1));
}

/// Goal: stamping sets the time of the append for all records and renews the checksum.
#[test]
fn stamping_a_batch_renews_its_checksum() {
    let mut stamped = BytesMut::from(built(BatchBuilder::default()).as_ref());
    assert!(batch::stamp(&mut stamped, 5_555));
    let stamped = stamped.freeze();
    let header = BatchHeader::validate(&stamped, RULES).expect("valid");
    assert!(header.is_log_append_time());
    let mut records = Records::open(&stamped, LIMIT).expect("opens");
    assert_eq!(records.next().expect("one").expect("reads").timestamp_ms, 5_555);
    assert!(!batch::stamp(&mut [0; 60], 1));
}

/// Goal: each rule for batches from clients refuses with its own error, and tells the client the right code.
#[test]
fn batches_that_break_a_rule_are_refused() {
    let batch = built(BatchBuilder::default());
    let refused = |bytes: &Bytes| BatchHeader::validate(bytes, RULES).expect_err("refused").error_code();

    let mut flipped = BytesMut::from(batch.as_ref());
    flipped[HEADER_BYTES] ^= 1;
    assert_eq!(refused(&flipped.freeze()), ErrorCode::CorruptMessage);
    assert_eq!(refused(&batch.slice(..batch.len() - 1)), ErrorCode::CorruptMessage);
    assert_eq!(refused(&batch.slice(..20)), ErrorCode::CorruptMessage);
    assert_eq!(refused(&Bytes::new()), ErrorCode::CorruptMessage);
    assert_eq!(refused(&forged(&batch, 8, &[0, 0, 0, 3])), ErrorCode::CorruptMessage);
    assert_eq!(refused(&forged(&batch, 8, &[0xff; 4])), ErrorCode::CorruptMessage);
    assert_eq!(refused(&forged(&batch, 16, &[1])), ErrorCode::InvalidRecord);
    assert_eq!(refused(&forged(&batch, 57, &[0, 0, 0, 0])), ErrorCode::InvalidRecord);
    assert_eq!(refused(&forged(&batch, 57, &[0, 0, 0, 2])), ErrorCode::InvalidRecord);
    assert_eq!(refused(&forged(&batch, 23, &[0x7f, 0xff, 0xff, 0xff])), ErrorCode::InvalidRecord);
    assert_eq!(refused(&forged(&batch, 22, &[5])), ErrorCode::UnsupportedCompressionType);
    let twice = Bytes::from([batch.as_ref(), batch.as_ref()].concat());
    assert_eq!(refused(&twice), ErrorCode::InvalidRecord);
    assert_eq!(
        refused(&built(BatchBuilder { control: true, ..Default::default() })),
        ErrorCode::InvalidRecord
    );
    let transactional = BatchBuilder { transactional: true, ..Default::default() };
    assert_eq!(refused(&built(transactional)), ErrorCode::InvalidRecord);
    let no_sequence = BatchBuilder { producer_id: 1, producer_epoch: 0, ..Default::default() };
    assert_eq!(refused(&built(no_sequence)), ErrorCode::InvalidRecord);

    let small = Rules { size_max: batch.len() - 1, ..RULES };
    let error = BatchHeader::validate(&batch, small).expect_err("too large");
    assert_eq!(error.error_code(), ErrorCode::MessageTooLarge);
    let zstd = built(BatchBuilder { codec: Codec::Zstd, ..Default::default() });
    let old = Rules { produce_version: 6, ..RULES };
    assert_eq!(BatchHeader::validate(&zstd, old), Err(BatchError::ZstdTooOld));
    assert!(BatchHeader::validate(&zstd, RULES).is_ok());
}

/// Goal: sequences go on at 0 after the largest.
#[test]
fn sequences_wrap() {
    let batch = built(BatchBuilder::default());
    let mut header = BatchHeader::parse(&batch).expect("parses");
    header.base_sequence = i32::MAX;
    header.last_offset_delta = 2;
    assert_eq!(header.last_sequence(), 1);
    header.base_sequence = 5;
    assert_eq!(header.last_sequence(), 7);
}

/// Goal: several batches are walked, a last one that is cut off ends the walk quietly, damage does not.
#[test]
fn walking_batches_stops_at_a_partial_one() {
    let batch = built(BatchBuilder::default());
    let stream = Bytes::from([batch.as_ref(), batch.as_ref(), &batch[..batch.len() - 4]].concat());
    let walked: Result<Vec<_>, _> = Batches::new(stream).collect();
    assert_eq!(walked.expect("legal").len(), 2);
    let damaged = Bytes::from([batch.as_ref(), &forged(&batch, 16, &[0])].concat());
    assert_eq!(Batches::new(damaged).last(), Some(Err(BatchError::Magic(0))));
}

/// Goal: data that grows past the limit is refused in every codec, exactly at the limit it is not.
#[test]
fn decompression_stops_at_the_limit() {
    let raw = vec![0_u8; 3 << 20];
    for codec in CODECS {
        let compressed = codec.compress(&raw).expect("compresses");
        assert_eq!(codec.decompress(&compressed, raw.len()).expect("fits"), raw);
        let refused = codec.decompress(&compressed, raw.len() - 1);
        assert!(matches!(refused, Err(CompressionError::TooLarge(_))), "{codec:?}");
    }
    let xerial = compress_xerial(&raw).expect("compresses");
    assert_eq!(Codec::Snappy.decompress(&xerial, raw.len()).expect("fits"), raw);
    assert!(matches!(Codec::Snappy.decompress(&xerial, raw.len() - 1), Err(CompressionError::TooLarge(_))));
}

/// Goal: a zstd frame that asks for a huge window is refused before memory is taken for it.
#[test]
fn hostile_zstd_windows_are_refused() {
    // Not a single segment; window exponent 31: 2 TiB.
    let window = Bytes::from_static(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00]);
    assert!(matches!(Codec::Zstd.decompress(&window, LIMIT), Err(CompressionError::TooLarge(_))));
    // A single segment of 2^60 bytes.
    let content = Bytes::from_static(&[0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x10, 1, 0, 0]);
    assert!(matches!(Codec::Zstd.decompress(&content, LIMIT), Err(CompressionError::TooLarge(_))));
}

/// Goal: a record count or length that lies ends in an error, not in a long loop or a large allocation.
#[test]
fn lying_counts_end_in_an_error() {
    let batch = built(BatchBuilder::default());
    let many = forged(&batch, 57, &[0x7f, 0xff, 0xff, 0xff]);
    let read: Vec<_> = Records::open(&many, LIMIT).expect("opens").collect();
    assert_eq!(read.len(), 2);
    assert!(matches!(read[1], Err(RecordError::Record { index: 1, .. })));
}

/// Goal: a marker is read back as it was written, by its producer's id, and other batches hold none.
#[test]
fn markers_are_read_back() {
    for marker in
        [Marker { committed: true, coordinator_epoch: 7 }, Marker { committed: false, coordinator_epoch: 0 }]
    {
        let batch = marker.batch((5, 3), 1_000).expect("builds");
        let header = BatchHeader::parse(&batch).expect("legal");
        assert!(header.is_control() && header.is_transactional());
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (5, 3, -1));
        assert_eq!(Marker::read(&batch), Some(marker));
        assert_eq!(Marker::read(&forged(&batch, 22, &[0x10])), None, "no control batch");
    }
    assert_eq!(Marker::read(&built(BatchBuilder::default())), None);
}
