//! The shell of a process: clock, tasks, shutdown, back-off, TLS, health, telemetry.
#![warn(missing_docs)]
