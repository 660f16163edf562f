//! Several cores in one process, with real TLS over loopback. The view is set by hand.

mod delivery;
mod faults;
pub(crate) mod mesh;
mod permissions;
