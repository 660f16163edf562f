//! Types and reasons of a Channel's conditions. Constants only.

/// The object is valid and nothing in it is unsupported.
pub const ACCEPTED: &str = "Accepted";
/// Reason: valid and supported.
pub const REASON_ACCEPTED: &str = "Accepted";
/// The Topics that the Channel names are there. Only of Channels that name some.
pub const TOPICS_READY: &str = "TopicsReady";
/// Reason: all of them are ready.
pub const REASON_TOPICS_READY: &str = "TopicsReady";
/// Reason: one does not exist.
pub const REASON_TOPIC_NOT_FOUND: &str = "TopicNotFound";
/// Reason: one exists and is not ready.
pub const REASON_TOPIC_NOT_READY: &str = "TopicNotReady";
