//! See `src/kafka_requests.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::kafka_requests::run(data));
