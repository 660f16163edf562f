//! Generated gRPC code, checked in: the contract in `proto/` as Rust types. Nothing is written here by hand;
//! `PINNACE_GENERATE=1 cargo test -p proto` writes `src/gen` anew. Fields of type `bytes` are `bytes::Bytes`.
#![warn(missing_docs)]

/// `pinnace.v1`: what an app says to its sidecar.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    clippy::too_many_lines,
    reason = "generated code is not held to the rules of the house"
)]
pub mod messaging {
    include!("gen/pinnace.v1.rs");
}

/// `pinnace.control.v1`: what a sidecar and the control plane say to each other.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    clippy::too_many_lines,
    reason = "generated code is not held to the rules of the house"
)]
pub mod control {
    include!("gen/pinnace.control.v1.rs");
}
