//! Record batches as a broker and a tool read them. The first byte says whether the checksum is made to fit,
//! so that the fuzzer gets past it; decompression stays under its limit.
#![no_main]

use bytes::{Bytes, BytesMut};
use kafka_wire::records::batch::{self, Rules};
use kafka_wire::records::{BatchHeader, Batches, Records};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
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
});

fn read(batch: &Bytes) {
    let Ok(records) = Records::open(batch, LIMIT) else { return };
    for record in records {
        let Ok(record) = record else { return };
        let bytes = record.value.map_or(0, |value| value.len());
        assert!(bytes <= LIMIT);
    }
}
