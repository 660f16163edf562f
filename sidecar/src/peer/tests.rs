//! Several cores in one process, with real TLS over loopback. The view is set by hand.

mod acks;
mod audit;
mod dead_letters;
mod delivery;
mod faults;
pub(crate) mod mesh;
mod permissions;
mod pipeline;
mod ready;
mod record;
mod replay;
mod requests;
mod spill;
mod versions;
