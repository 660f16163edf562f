//! Transactions by the rules of KIP-890: one state machine a transactional id, its storage, and how it ends.
//!
//! Partitions know which of their records are open or aborted (`partition/transactions.rs`); here is decided what
//! becomes of them. A decision is durable before the first marker, all markers are before the end is.

pub(crate) mod complete;
pub(crate) mod coordinator;
pub(crate) mod recover;
pub(crate) mod stored;
pub(crate) mod transaction;
