//! What makes a connection unusable.

use std::time::Duration;

/// What to do when there is no common version.
const fn advice(newest: u16, own_oldest: u16) -> &'static str {
    if newest < own_oldest {
        "the peer is too old: restart its pod, so that it gets the sidecar of this version; upgrade one version at a time, \
         all pods before the next"
    } else {
        "this side is too old: restart this pod, so that it gets the sidecar of the peer's version; upgrade one version at \
         a time, all pods before the next"
    }
}

/// The peer broke the protocol, or fell silent. The connection must be closed; what is still in the output
/// tells the peer why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A length above its limit; nothing was allocated for it.
    #[error("{what} of {length} is above the limit of {limit}")]
    TooLong {
        /// Which length.
        what: &'static str,
        /// What the peer claims.
        length: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A body ended before the field.
    #[error("the frame ends within {what}")]
    Truncated {
        /// Which field.
        what: &'static str,
    },
    /// A body goes on after its last field.
    #[error("the frame has {left} bytes after its last field")]
    TrailingBytes {
        /// How many.
        left: usize,
    },
    /// A field with a value that means nothing.
    #[error("{what} has a value that is not allowed")]
    BadValue {
        /// Which field.
        what: &'static str,
    },
    /// A frame kind that this version does not know and that is not marked as optional.
    #[error("frame kind {kind} is not known and not optional")]
    UnknownKind {
        /// Its number.
        kind: u8,
    },
    /// A frame that may not come now.
    #[error("{what}")]
    Unexpected {
        /// Which frame, and why not.
        what: &'static str,
    },
    /// The two sides share no version of the protocol.
    #[error(
        "no common version of the protocol: the peer speaks {oldest} to {newest}, this side {own_oldest} to {own_newest}; {}",
        advice(*newest, *own_oldest)
    )]
    NoCommonVersion {
        /// The peer's oldest.
        oldest: u16,
        /// The peer's newest.
        newest: u16,
        /// Ours.
        own_oldest: u16,
        /// Ours.
        own_newest: u16,
    },
    /// The peer sent a message without credit for it.
    #[error("subscription {id} got a message that it had no credit for")]
    CreditExceeded {
        /// Which subscription.
        id: u32,
    },
    /// Sequence numbers that go backwards or contradict each other.
    #[error("subscription {id} got sequence {sequence} after {last}")]
    OutOfOrder {
        /// Which subscription.
        id: u32,
        /// What came.
        sequence: u64,
        /// What came before it.
        last: u64,
    },
    /// The peer sends requests and does not read the answers.
    #[error("the peer does not read its answers")]
    OutputFull,
    /// Nothing came from the peer for too long.
    #[error("nothing came from the peer for {0:?}")]
    Silent(Duration),
}
