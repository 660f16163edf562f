//! What each target does with one input, and inputs to begin with; the same under libFuzzer and in a plain test.

pub mod broker_table;
pub mod journal_round;
pub mod kafka_records;
pub mod kafka_requests;
pub mod kafka_responses;
pub mod log_open;
pub mod peer_session;
pub mod zmtp_session;

/// A target: its name, what it does, inputs to begin with.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// All of them.
pub const TARGETS: &[Target] = &[
    ("kafka_requests", kafka_requests::run, kafka_requests::seeds),
    ("kafka_responses", kafka_responses::run, kafka_responses::seeds),
    ("kafka_records", kafka_records::run, kafka_records::seeds),
    ("zmtp_session", zmtp_session::run, zmtp_session::seeds),
    ("log_open", log_open::run, log_open::seeds),
    ("journal_round", journal_round::run, journal_round::seeds),
    ("broker_table", broker_table::run, broker_table::seeds),
    ("peer_session", peer_session::run, peer_session::seeds),
];
