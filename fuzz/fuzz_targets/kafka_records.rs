//! See `src/kafka_records.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::kafka_records::run(data));
