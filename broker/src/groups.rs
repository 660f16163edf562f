//! Consumer groups: the state machine, its timers and storage, and committed offsets.

pub(crate) mod coordinator;
pub(crate) mod group;
pub(crate) mod offsets;
pub(crate) mod pending;
