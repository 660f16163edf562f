//! Types and reasons of a Channel's conditions. Constants only.

/// The object is valid and nothing in it is unsupported.
pub const ACCEPTED: &str = "Accepted";
/// Reason: valid and supported.
pub const REASON_ACCEPTED: &str = "Accepted";
