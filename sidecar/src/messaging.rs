//! The words that doors and delivery share: names, messages, positions, problems, and the handle to Channels.
//! Nothing here knows gRPC, HTTP, ZMTP or Kafka: the doors translate to and from these types.

mod serving;

pub use serving::{ServeEvent, Serving};

use crate::delivery::{Acks, Asking, Core, Events, Subscriber, Took};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A Topic's object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// A Channel's object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl fmt::Display for TopicName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Topic {}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Channel {}/{}", self.namespace, self.name)
    }
}

/// What an app names: `topics/NAME`, `channels/NAME`, each with an optional `.NAMESPACE`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Name {
    Topic(TopicName),
    Channel(ChannelName),
}

impl Name {
    /// Reads `text`; a name without a namespace is of `own_namespace`.
    ///
    /// # Errors
    /// `InvalidArgument` when it is not of the form `topics/NAME[.NAMESPACE]` or `channels/NAME[.NAMESPACE]`.
    pub fn parse(text: &str, own_namespace: &str) -> Result<Self, Problem> {
        let (kind, rest) = text.split_once('/').ok_or_else(|| not_a_name(text))?;
        let (name, namespace) = rest.split_once('.').unwrap_or((rest, own_namespace));
        if !is_label(name) || !is_label(namespace) {
            return Err(not_a_name(text));
        }
        let (namespace, name) = (Arc::from(namespace), Arc::from(name));
        match kind {
            "topics" => Ok(Self::Topic(TopicName { namespace, name })),
            "channels" => Ok(Self::Channel(ChannelName { namespace, name })),
            _ => Err(not_a_name(text)),
        }
    }
}

fn is_label(text: &str) -> bool {
    let letters = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    letters && (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-')
}

fn not_a_name(text: &str) -> Problem {
    let shown: String = text.chars().take(100).collect();
    Problem::new(
        ProblemKind::InvalidArgument,
        format!(
            "{shown:?} is not a name: use topics/NAME or channels/NAME, with .NAMESPACE for another namespace"
        ),
    )
}

/// One message; `timestamp_ms` 0 = the sidecar's clock when it is published. Payload bytes are shared, never copied.
pub use peer_wire::Message;

/// Where a message stands. Channels: partition 0, offset = the publisher's sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
    /// Channels: the publisher's sidecar, `NAMESPACE/POD`. Empty for Topics.
    pub publisher: Arc<str>,
    /// Channels: changes whenever the publisher's numbering starts anew.
    pub epoch: u64,
}

/// Why something was refused, in the words of a gRPC status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    NotFound,
    PermissionDenied,
    NotSupported,
    InvalidArgument,
    Unavailable,
    DeadlineExceeded,
    ResourceExhausted,
    Internal,
}

/// A refusal that names the object, the field, and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    pub kind: ProblemKind,
    pub message: String,
}

impl Problem {
    #[must_use]
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// How an app wants to subscribe to a Channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubscribeOptions {
    /// Subjects that start with one of these; none = all.
    pub prefixes: Vec<Bytes>,
    /// Messages that the app is ready for at once; more with [`ChannelSubscription::grant`].
    pub credit: u32,
    /// The app acknowledges each message, where the Channel asks for that. Otherwise a message counts as acknowledged
    /// when [`ChannelSubscription::next`] is called again.
    pub acknowledge: bool,
    /// Where to begin at each publisher, those to come included.
    pub start: ChannelStart,
    /// Publishers from which the app has something already: it gets what comes after that, and a gap for what is not
    /// kept any more.
    pub resumed: Vec<Resumed>,
}

/// What an app has from one publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// `NAMESPACE/POD`.
    pub publisher: Arc<str>,
    pub epoch: u64,
    /// It has everything up to this sequence number.
    pub received: u64,
}

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelStart {
    /// With what comes once the subscription stands.
    #[default]
    Live,
    /// With the oldest message that the publisher keeps; refused when the Channel has no `replay`.
    Kept,
    /// The same, and [`ChannelStart::Live`] when the Channel has no `replay`.
    KeptIfAny,
}

/// What acknowledges one delivery, or answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub(crate) publisher: Arc<str>,
    pub(crate) epoch: u64,
    /// Of the delivery, as its publisher counts for this subscription.
    pub(crate) number: u64,
    /// 1 for the first try.
    pub attempt: u32,
    /// A request: how long its sender waits.
    pub(crate) timeout: Option<Duration>,
}

/// What a subscription brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelEvent {
    Message {
        position: Position,
        message: Message,
        /// Set where each message goes to one receiver, or is acknowledged.
        receipt: Option<Receipt>,
    },
    /// Messages that this subscriber missed: sequence numbers `first` to `last`, of which `messages` were
    /// meant for it (0 = nobody knows how many).
    Gap { publisher: Arc<str>, epoch: u64, first: i64, last: i64, messages: u64, reason: &'static str },
    /// Nothing follows.
    End { reason: Problem },
}

/// The handle to Channels. Clones share everything.
#[derive(Clone)]
pub struct Channels {
    core: Arc<Core>,
}

impl Channels {
    pub(crate) const fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Publishes a batch; one position for each message, in order. Returns when every subscriber's queue has
    /// taken it under the Channel's `overflow`; with `Block` that may last `blockTimeout`. No subscriber is no error,
    /// unless the Channel has `ready.subscribers`: then it waits for them, as long as it would for room.
    /// Dropping the future while it waits publishes a leading part of the batch or nothing.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, `NotSupported`, `InvalidArgument` before anything is published;
    /// `DeadlineExceeded` when a subscriber stayed full (the text says which, and how many messages of the
    /// batch were published before it); `Unavailable` before the first view, without the subscribers that
    /// `ready.subscribers` asks for, and during shutdown.
    pub async fn publish(
        &self,
        name: &ChannelName,
        messages: Vec<Message>,
    ) -> Result<Vec<Position>, Problem> {
        let numbers = self.core.publish(name, messages, None).await?;
        Ok(self.core.positions(numbers))
    }

    /// Like [`Channels::publish`], for apps that cannot be told of a failure: with `Block` it waits for `patience`
    /// instead of `blockTimeout`.
    ///
    /// # Errors
    /// As [`Channels::publish`].
    pub async fn publish_patiently(
        &self,
        name: &ChannelName,
        messages: Vec<Message>,
        patience: Duration,
    ) -> Result<(), Problem> {
        self.core.publish(name, messages, Some(patience)).await.map(drop)
    }

    /// Subscribes to all publishers of `name`, those to come included.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, `NotSupported`, `InvalidArgument`, `ResourceExhausted`, `Unavailable`.
    pub async fn subscribe(
        &self,
        name: &ChannelName,
        options: SubscribeOptions,
    ) -> Result<ChannelSubscription, Problem> {
        self.core.subscribe(name, options).await
    }

    /// Sends a request over a Channel of pattern `RequestReply` and waits for its reply: for `timeout`, but no longer than
    /// the Channel's `requestTimeout`. With `idempotent` it goes to another responder when the one that had it is gone.
    ///
    /// # Errors
    /// As [`Channels::publish`], and `Unavailable` when nobody serves the Channel or who had the request is gone,
    /// `DeadlineExceeded` when no reply came in time, `ResourceExhausted` when too many requests wait; or the problem that
    /// the responder answered with.
    pub async fn request(
        &self,
        name: &ChannelName,
        message: Message,
        timeout: Option<Duration>,
        idempotent: bool,
    ) -> Result<Message, Problem> {
        self.core.request(name, message, Asking { timeout, idempotent, patient: false }).await
    }

    /// Like [`Channels::request`], for apps that cannot be told of a failure: it also waits for somebody who serves the
    /// Channel, and for room, all within the Channel's `requestTimeout`.
    ///
    /// # Errors
    /// As [`Channels::request`].
    pub async fn request_patiently(&self, name: &ChannelName, message: Message) -> Result<Message, Problem> {
        self.core.request(name, message, Asking { patient: true, ..Asking::default() }).await
    }

    /// Answers requests that come over a Channel of pattern `RequestReply`; at most `credit` at once before
    /// [`Serving::grant`].
    ///
    /// # Errors
    /// As [`Channels::subscribe`].
    pub async fn serve(&self, name: &ChannelName, credit: u32) -> Result<Serving, Problem> {
        self.core.serve_requests(name, credit).map(Serving::new)
    }
}

/// One app's subscription to one Channel. Dropping it unsubscribes.
pub struct ChannelSubscription {
    subscriber: Arc<Subscriber>,
}

impl ChannelSubscription {
    pub(crate) const fn new(subscriber: Arc<Subscriber>) -> Self {
        Self { subscriber }
    }

    /// What came, at least one event and never more messages than the credit left; `None` after `End`.
    /// Safe to drop and call again.
    pub async fn next(&mut self) -> Option<Vec<ChannelEvent>> {
        self.subscriber.next().await
    }

    /// Waits until [`Self::take`] may have something. Safe to drop and call again.
    pub(crate) async fn came(&self) {
        self.subscriber.came().await;
    }

    /// Like [`Self::next`], of what is there now, without an event for each message.
    pub(crate) fn take(&mut self, events: &mut impl Events) -> Took {
        self.subscriber.take(events)
    }

    /// The app is ready for `messages` more.
    pub fn grant(&self, messages: u32) {
        self.subscriber.grant(messages);
    }

    /// Whether the Channel asks for acknowledgement and the app said that it does so itself.
    #[must_use]
    pub fn acknowledges(&self) -> bool {
        self.subscriber.acks() == Acks::ByApp
    }

    /// The app is done with these.
    pub fn ack(&self, receipts: &[Receipt]) {
        self.subscriber.settle(receipts, None);
    }

    /// The app wants these again, after `delay`.
    pub fn nack(&self, receipts: &[Receipt], delay: Duration) {
        self.subscriber.settle(receipts, Some(delay));
    }

    /// From now on, subjects that start with one of `prefixes`; none = all. Messages that are on their way still come.
    pub fn set_prefixes(&self, prefixes: Vec<Bytes>) {
        self.subscriber.set_prefixes(prefixes);
    }
}

impl Drop for ChannelSubscription {
    fn drop(&mut self) {
        self.subscriber.close();
    }
}

#[cfg(test)]
mod tests;
