//! Of batches made anew: in every codec, with what is kept of them.

use bytes::Bytes;

use super::*;
use crate::records::{BatchBuilder, Record, Records};

const LIMIT: usize = 1 << 20;
const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn records() -> Vec<Record> {
    let record = |number: i64| Record {
        offset: 100 + number,
        timestamp_ms: 5_000 + number * 3,
        key: Some(Bytes::from(format!("key {number}"))),
        value: (number % 2 == 0).then(|| Bytes::from("value".repeat(20))),
        headers: Vec::new(),
    };
    (0..6).map(record).collect()
}

fn batch(codec: Codec) -> Bytes {
    let builder = BatchBuilder {
        codec,
        base_offset: 100,
        producer_id: 7,
        producer_epoch: 1,
        base_sequence: 40,
        ..Default::default()
    };
    builder.build(&records()).unwrap()
}

/// The same batch with raw snappy, as librdkafka sends it.
fn raw_snappy() -> Bytes {
    let plain = batch(Codec::None);
    let body = snap::raw::Encoder::new().compress_vec(&plain[HEADER_BYTES..]).unwrap();
    let header = BatchHeader::parse(&plain).unwrap();
    assemble(&BatchHeader { attributes: 2, ..header }, &body).unwrap()
}

/// Goal: what is kept of a batch has its offsets, times, keys and values, in every codec and both snappy framings,
/// with a delete horizon and without; the batch keeps its place and its sequence numbers.
#[test]
fn what_is_kept_is_as_it_was() {
    for batch in CODECS.map(batch).into_iter().chain([raw_snappy()]) {
        let header = BatchHeader::parse(&batch).unwrap();
        let all: Vec<RawRecord> = RawRecords::open(&batch, LIMIT).unwrap().map(Result::unwrap).collect();
        assert_eq!(all.iter().filter(|record| record.has_value).count(), 3);
        let kept: Vec<RawRecord> = all.into_iter().filter(|record| record.offset % 3 != 0).collect();
        for horizon in [None, Some(9_000)] {
            let made = keep(&header, &kept, horizon).unwrap();
            let anew = BatchHeader::parse(&made).unwrap();
            anew.check_checksum(&made).unwrap();
            assert_eq!((anew.base_offset, anew.last_offset(), anew.last_sequence()), (100, 105, 45));
            assert_eq!((anew.codec().unwrap(), anew.producer_id), (header.codec().unwrap(), 7));
            assert_eq!(anew.has_delete_horizon(), horizon.is_some());
            let found: Vec<Record> = Records::open(&made, LIMIT).unwrap().map(Result::unwrap).collect();
            let expected: Vec<Record> =
                records().into_iter().filter(|record| record.offset % 3 != 0).collect();
            assert_eq!(found, expected);
            assert_eq!(anew.max_timestamp_ms, expected.last().unwrap().timestamp_ms);
        }
        let empty = keep(&header, &[], None).unwrap();
        let anew = BatchHeader::parse(&empty).unwrap();
        anew.check_checksum(&empty).unwrap();
        assert_eq!((empty.len(), anew.last_offset(), anew.last_sequence()), (HEADER_BYTES, 105, 45));
        assert_eq!(RawRecords::open(&empty, LIMIT).unwrap().count(), 0);
        assert_eq!(Records::open(&empty, LIMIT).unwrap().count(), 0);
    }
}
