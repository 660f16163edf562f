//! Why a session ended. The text is what the peer reads in the ERROR command.

use crate::SocketType;

/// Why a session cannot go on. Every variant is final: write what is left in the output, close.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The first bytes are no ZMTP signature.
    #[error("the peer does not speak ZMTP (its first bytes are no ZMTP signature)")]
    NotZmtp,
    /// ZMTP 1 or 2.
    #[error("the peer speaks ZMTP {0}; 3.0 or later is needed (libzmq 4 or later)")]
    Version(u8),
    /// A mechanism other than NULL.
    #[error("the peer wants the security mechanism {0}; only NULL is offered here")]
    Mechanism(String),
    /// The peer's socket type may not talk to ours, or is none we know.
    #[error("a {theirs} socket cannot talk to this {ours} socket; use {}", wanted(*ours, *only))]
    SocketType {
        /// What this end is.
        ours: SocketType,
        /// The one type that this end takes, where it does not take all that could talk to it.
        only: Option<SocketType>,
        /// What the peer said, as printable text.
        theirs: String,
    },
    /// A READY without the property `Socket-Type`.
    #[error("the peer's READY names no Socket-Type")]
    NoSocketType,
    /// A frame with reserved bits, or a command with MORE.
    #[error("frame flags {0:#04x} are not valid in ZMTP 3")]
    Flags(u8),
    /// A message or command that is longer than what is allowed.
    #[error("a {what} of at least {size} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// `message` or `command`.
        what: &'static str,
        /// Bytes claimed by the peer.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// More frames in one message than allowed.
    #[error("a message has more than {0} frames")]
    TooManyFrames(usize),
    /// A command whose inside does not add up.
    #[error("malformed {0} command")]
    Malformed(&'static str),
    /// Something that may not come at this point of the handshake.
    #[error("{0} is not allowed before READY")]
    TooEarly(&'static str),
    /// The peer refused us.
    #[error("the peer refused: {0}")]
    Peer(String),
    /// This end refuses the peer: see [`crate::Session::refusing`].
    #[error("{0}")]
    Refused(String),
    /// No READY in time.
    #[error("no handshake within {0} ms")]
    HandshakeTimeout(u128),
    /// No traffic for longer than the heartbeat timeout or the peer's own TTL.
    #[error("no sign of life from the peer for {0} ms")]
    HeartbeatTimeout(u128),
}

fn wanted(ours: SocketType, only: Option<SocketType>) -> String {
    only.map_or_else(|| ours.peers(), |only| only.to_string())
}
