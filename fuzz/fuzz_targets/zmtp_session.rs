//! See `src/zmtp_session.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::zmtp_session::run(data));
