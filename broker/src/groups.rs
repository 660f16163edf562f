//! Groups of consumers, of the classic protocol and of the new one: the state machines, their timers and
//! storage, and committed offsets.

pub(crate) mod assignor;
pub(crate) mod consumer_group;
pub(crate) mod coordinator;
pub(crate) mod group;
pub(crate) mod offsets;
pub(crate) mod pending;
pub(crate) mod subscription;
