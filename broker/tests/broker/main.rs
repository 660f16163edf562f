//! The broker as a process, with real clients: one file a promise.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the whole crate is a test: clippy only knows functions with #[test]"
)]

mod access;
mod admin;
mod clients;
mod compaction;
mod consumer_groups;
mod durability;
mod folder;
mod health;
mod hostile;
mod journal;
mod quotas;
mod restart;
mod sasl;
mod sick_disks;
mod support;
mod topics;
mod transactions;
