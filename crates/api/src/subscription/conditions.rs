//! Types and reasons of a Subscription's conditions. Constants only.

/// The object is valid and nothing in it is unsupported.
pub const ACCEPTED: &str = "Accepted";
