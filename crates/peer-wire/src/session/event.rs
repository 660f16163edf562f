//! What a session tells its caller.

use crate::frame::{Failure, Gap, Goodbye, Hello, Refusal, Span, Subscribe};
use crate::message::{Message, Origin};
use bytes::Bytes;

/// A message with its place in the publisher's numbering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequenced {
    /// The publisher's sequence number; in a numbered subscription the number of the delivery.
    pub sequence: u64,
    /// Set in a numbered subscription.
    pub origin: Option<Origin>,
    /// Bytes of its frame: what it costs of the credit in bytes.
    pub frame_bytes: u64,
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
        /// Messages that may be sent besides.
        messages: u32,
        /// All up to this sequence number have come.
        received: u64,
    },
    /// As publisher of a numbered subscription: the app is done with these.
    Ack {
        /// The peer's id of the subscription.
        id: u32,
        /// Numbers of deliveries.
        spans: Vec<Span>,
    },
    /// As publisher of a numbered subscription: the app wants these again.
    Nack {
        /// The peer's id of the subscription.
        id: u32,
        /// Not before so many milliseconds have gone by.
        delay_ms: u32,
        /// Numbers of deliveries.
        spans: Vec<Span>,
    },
    /// As publisher of requests: an answer.
    Reply {
        /// The peer's id of the subscription.
        id: u32,
        /// Number of the delivery that it answers.
        number: u64,
        /// The answer, or why there is none.
        outcome: Result<Message, Failure>,
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
    /// As subscriber: messages of a numbered subscription that do not come.
    NumberedGap {
        /// Our id of the subscription.
        id: u32,
        /// Counts with the messages.
        number: u64,
        /// Which of those that were published.
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
