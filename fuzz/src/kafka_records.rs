//! Record batches as a broker and a tool read them. The first byte says whether the checksum is made to fit,
//! so that the fuzzer gets past it; decompression stays under its limit.

use bytes::{Bytes, BytesMut};
use kafka_wire::records::batch::{self, Rules};
use kafka_wire::records::{BatchHeader, Batches, Records};

const LIMIT: usize = 1 << 20;

/// One input.
pub fn run(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let mut bytes = BytesMut::from(data);
    if first & 1 == 1 {
        // Stamping renews the checksum; it refuses what is shorter than a header.
        let _stamped = batch::stamp(&mut bytes, 1);
    }
    let bytes = bytes.freeze();
    let rules = Rules { produce_version: 13, size_max: LIMIT };
    if let Err(error) = BatchHeader::validate(&bytes, rules) {
        assert!(!error.error_code().is_ok());
    }
    for batch in Batches::new(bytes) {
        let Ok((_, batch)) = batch else { return };
        read(&batch);
    }
}

fn read(batch: &Bytes) {
    let Ok(records) = Records::open(batch, LIMIT) else { return };
    for record in records {
        let Ok(record) = record else { return };
        let bytes = record.value.map_or(0, |value| value.len());
        assert!(bytes <= LIMIT);
    }
}

/// A batch of each codec.
pub fn seeds() -> Vec<Vec<u8>> {
    use kafka_wire::records::{BatchBuilder, Codec, Record};
    let record = |key: &'static [u8]| Record {
        key: Some(Bytes::from_static(key)),
        value: Some(Bytes::from_static(b"value value value")),
        timestamp_ms: 5,
        ..Record::default()
    };
    let records = [record(b"a"), record(b"b")];
    [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd]
        .into_iter()
        .filter_map(|codec| BatchBuilder { codec, ..BatchBuilder::default() }.build(&records).ok())
        .map(|batch| [&[1], &batch[..]].concat())
        .collect()
}
