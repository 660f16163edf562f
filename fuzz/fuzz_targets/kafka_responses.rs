//! See `src/kafka_responses.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::kafka_responses::run(data));
