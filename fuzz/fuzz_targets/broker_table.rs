//! See `src/broker_table.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::broker_table::run(data));
