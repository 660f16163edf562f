//! What one sidecar is told: plain values, each time whole. Computed in `index/compute.rs`.

use crate::names::{Identity, ObjectName};
use std::sync::Arc;

/// What every sidecar trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Of the SPIFFE ids.
    pub domain: String,
    /// PEM of every root; two during a change of root.
    pub bundle_pem: String,
}

/// All that one sidecar needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Rises when, and only when, something else in it changes.
    pub version: u64,
    /// Roots and trust domain.
    pub trust: Trust,
    /// Channels of its namespace, those that grant it something, and those that only try their grants, by name.
    pub channels: Vec<Arc<ChannelView>>,
    /// Topics in the same way. Sidecars that see the same share it, as they share Channels.
    pub topics: Arc<Vec<TopicView>>,
    /// What is behind the Kafka door, or why nothing is.
    pub broker: Result<BrokerView, String>,
}

/// How a Channel delivers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Delivery {
    /// PubSub, Pipeline or RequestReply.
    pub pattern: String,
    /// Block, DropNewest, …
    pub overflow: String,
    /// How long a publish waits under `Block`.
    pub block_timeout_ms: u32,
    /// Messages kept per subscriber.
    pub buffer_messages: u32,
    /// Bytes kept per subscriber.
    pub buffer_bytes: u64,
    /// The largest message.
    pub max_message_bytes: u32,
    /// None or Required.
    pub acknowledge: String,
    /// When a message without acknowledgement is sent again; 0 when nobody acknowledges.
    pub redeliver_after_ms: u32,
    /// How often it is sent in all; 0 when nobody acknowledges.
    pub redeliver_attempts: u32,
    /// What the publisher's sidecar keeps.
    pub replay: Replay,
    /// Subscribers that a publish waits for; 0 = it does not.
    pub ready_subscribers: u32,
    /// How long a request waits for its reply; 0 for other patterns than RequestReply.
    pub request_timeout_ms: u32,
    /// Topic for messages that used up their attempts.
    pub dead_letter: Option<ObjectName>,
    /// Topic that gets a copy of every message.
    pub record: Option<ObjectName>,
    /// Topic through which the overflow goes.
    pub spill: Option<ObjectName>,
}

/// What the publisher's sidecar keeps; 0 = no such limit, all three 0 = nothing is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Replay {
    /// How many messages.
    pub messages: u32,
    /// How many bytes.
    pub bytes: u64,
    /// For how long.
    pub time_ms: u64,
}

/// A Channel as one sidecar sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChannelView {
    /// The object.
    pub name: ObjectName,
    /// How it delivers.
    pub delivery: Delivery,
    /// Whether this sidecar's service account may publish.
    pub may_publish: bool,
    /// Whether it may subscribe.
    pub may_subscribe: bool,
    /// Sidecars that publish to it; empty unless this one subscribes.
    pub publishers: Vec<Peer>,
    /// Who may publish, as `NS/SA` or `NS/*`.
    pub publisher_identities: Vec<String>,
    /// Who may subscribe, in the same form.
    pub subscriber_identities: Vec<String>,
    /// All of that is only tried: who is left out is let through, counted and logged.
    pub audit: bool,
    /// Why it cannot be used, and which field to change; empty = it can.
    pub problem: String,
}

/// Another sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// `NAMESPACE/POD`.
    pub sidecar: String,
    /// HOST:PORT.
    pub address: String,
    /// Who its certificate must name.
    pub identity: Identity,
}

/// A Topic as one sidecar sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicView {
    /// The object.
    pub name: ObjectName,
    /// The name on the broker.
    pub topic_name: String,
    /// How many partitions it asks for.
    pub partitions: u32,
    /// The largest message.
    pub max_message_bytes: u32,
    /// Whether this sidecar's service account may publish.
    pub may_publish: bool,
    /// Whether it may subscribe.
    pub may_subscribe: bool,
    /// Where it lives.
    pub broker: ObjectName,
    /// Why it cannot be used, and which field to change; empty = it can.
    pub problem: String,
}

/// A Broker to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerView {
    /// The object.
    pub name: ObjectName,
    /// HOST:PORT of its mTLS listeners.
    pub bootstrap: Vec<String>,
    /// DNS names of which its certificate must carry one.
    pub server_names: Vec<String>,
}
