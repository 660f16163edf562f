//! The Embedded engine: a Kafka broker for one node, durable by default.
//!
//! It speaks Kafka's protocol and nothing else, keeps everything in one folder, and acknowledges only what
//! is on disk. It never talks to the Kubernetes API.

mod access;
pub mod args;
mod broker;
mod commit;
mod compaction;
mod connection;
mod disk;
mod dispatch;
mod dynamic_config;
mod features;
mod groups;
mod handlers;
mod health;
mod listen;
mod metrics;
mod open_files;
mod partition;
mod producer_ids;
mod quotas;
pub mod reference;
pub mod run;
mod sasl;
mod settings;
#[cfg(test)]
mod simulation;
mod space;
mod store;
mod topic_config;
mod topics;
mod transactions;
mod upkeep;

/// An error with all that caused it, in one line.
fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
