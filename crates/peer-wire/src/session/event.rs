//! What a session tells its caller.

use crate::frame::{Gap, Goodbye, Hello, Refusal, Subscribe};
use crate::message::Message;
use bytes::Bytes;

/// A message with its place in the publisher's numbering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequenced {
    /// The publisher's sequence number.
    pub sequence: u64,
    /// The message.
    pub message: Message,
}

/// What happened on the connection, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The peer's Hello came and its version fits. Nothing else comes before it.
    Established(Hello),
    /// The peer ended its side; nothing follows.
    Goodbye(Goodbye),

    /// As publisher: the peer wants a Channel. Answer with `accept` or `refuse`.
    Subscribe {
        /// The peer's id of the subscription.
        id: u32,
        /// What it wants.
        subscribe: Subscribe,
    },
    /// As publisher: the subscription ended.
    Unsubscribe {
        /// The peer's id of the subscription.
        id: u32,
    },
    /// As publisher: other prefixes from now on.
    Prefixes {
        /// The peer's id of the subscription.
        id: u32,
        /// None = all.
        prefixes: Vec<Bytes>,
    },
    /// As publisher: there is more credit, or the receipt of messages is confirmed.
    Credit {
        /// The peer's id of the subscription.
        id: u32,
        /// All up to this sequence number have come.
        received: u64,
    },

    /// As subscriber: the subscription stands; what follows comes after `received`.
    Subscribed {
        /// Our id of the subscription.
        id: u32,
        /// The last sequence number before it.
        received: u64,
    },
    /// As subscriber: messages, at least one, in order.
    Messages {
        /// Our id of the subscription.
        id: u32,
        /// The messages.
        messages: Vec<Sequenced>,
    },
    /// As subscriber: messages that do not come.
    Gap {
        /// Our id of the subscription.
        id: u32,
        /// Which.
        gap: Gap,
    },
    /// As subscriber: the publisher does not serve the subscription, or no longer.
    Refused {
        /// Our id of the subscription.
        id: u32,
        /// Why.
        refusal: Refusal,
    },
}
