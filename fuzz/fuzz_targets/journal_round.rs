//! See `src/journal_round.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::journal_round::run(data));
