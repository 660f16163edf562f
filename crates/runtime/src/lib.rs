//! The shell of a process: clock, randomness, tasks, shutdown, back-off, TLS, health, telemetry.
//!
//! The programs take these things from here and from nowhere else, so that one place decides
//! what time it is, who may start a task and how a process ends. Nothing here knows what a
//! Topic or a Channel is.
#![warn(missing_docs)]

pub mod backoff;
pub mod clock;
pub mod health;
pub mod random;
pub mod ready_file;
pub mod shutdown;
pub mod tasks;
pub mod telemetry;
pub mod tls;
