//! Administers either engine over Kafka's protocol: topics, settings, access rules.
//!
//! It neither produces nor consumes. Every call has a deadline, every answer a limit, and every
//! refusal carries Kafka's code with its name and whether trying again may help.
#![warn(missing_docs)]

pub mod acls;
mod admin;
pub mod cluster;
pub mod configs;
mod connection;
mod error;
pub mod quorum;
pub mod reassignments;
pub mod topics;

pub use admin::{Admin, Security, Settings};
pub use error::AdminError;
pub use kafka_wire::ErrorCode;
pub use uuid::Uuid;

#[cfg(test)]
mod tests;
