//! The promises: programs as processes, real clients, a real cluster. What several of the test
//! programs need stands here; the promises themselves are in `tests/`.

pub mod load;
pub mod metrics;
pub mod readme;
pub mod wait;
