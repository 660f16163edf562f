//! What the control plane told this sidecar, as plain types. `control.rs` translates; the others read a
//! `watch::Receiver<Arc<View>>` and never see protobuf.

use crate::messaging::{ChannelName, TopicName};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The current view. Version 0 = none came yet.
pub type ViewReceiver = watch::Receiver<Arc<View>>;

/// All that this sidecar needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// 0 = no view came yet.
    pub version: u64,
    pub trust_domain: String,
    pub trust_bundle_pem: String,
    pub channels: BTreeMap<ChannelName, ChannelView>,
    pub topics: BTreeMap<TopicName, TopicView>,
    /// The Broker behind the Kafka door; `None`: `broker_problem` says why.
    pub broker: Option<BrokerView>,
    pub broker_problem: String,
}

impl View {
    /// Whether a view came at all.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.version != 0
    }
}

/// `spec.pattern` of a Channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    PubSub,
    Pipeline,
    RequestReply,
    /// A newer control plane knows more than this sidecar.
    Unknown,
}

/// `spec.delivery.overflow` of a Channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    Block,
    DropNewest,
    DropOldest,
    KeepLatest,
    Spill,
    /// A newer control plane knows more than this sidecar.
    Unknown,
}

/// `spec.delivery.acknowledge` of a Channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    None,
    Required,
    /// A newer control plane knows more than this sidecar.
    Unknown,
}

/// `spec.delivery.redeliver` of a Channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redeliver {
    pub after: Duration,
    /// How often a message is sent in all, at least once.
    pub attempts: u32,
}

/// `spec.delivery.replay` of a Channel: what the publisher's sidecar keeps, whichever limit is reached first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    pub messages: usize,
    pub bytes: usize,
    pub time: Duration,
}

/// What a Channel's lists say of this sidecar's service account, where they are only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    pub publish: bool,
    pub subscribe: bool,
}

/// One Channel as this sidecar may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelView {
    pub pattern: Pattern,
    pub overflow: Overflow,
    pub block_timeout: Duration,
    /// Per subscriber, at the publisher's sidecar.
    pub buffer_messages: usize,
    pub buffer_bytes: usize,
    pub max_message_bytes: usize,
    pub may_publish: bool,
    pub may_subscribe: bool,
    /// `Some`: the lists are only tried. Who is in none of them is let through, counted and logged.
    pub audit: Option<Listed>,
    /// Whom to dial; empty unless this sidecar subscribes.
    pub publishers: Vec<PeerView>,
    pub subscriber_identities: Vec<IdentityPattern>,
    pub publisher_identities: Vec<IdentityPattern>,
    /// Not empty: the Channel cannot be used, and this says why.
    pub problem: String,
    pub acknowledge: Acknowledge,
    /// Means something with `acknowledge` Required alone.
    pub redeliver: Redeliver,
    /// `None`: nothing is kept.
    pub replay: Option<Replay>,
    /// A publish waits until so many subscribers are there; 0 = it does not.
    pub ready_subscribers: usize,
    /// How long a request waits for its reply.
    pub request_timeout: Duration,
    /// Where messages go that used up their attempts.
    pub dead_letter: Option<TopicName>,
    /// Gets a copy of every message.
    pub record: Option<TopicName>,
    /// The way of the overflow.
    pub spill: Option<TopicName>,
}

impl Default for ChannelView {
    /// A Channel with the defaults of the schema that nobody may use.
    fn default() -> Self {
        Self {
            pattern: Pattern::PubSub,
            overflow: Overflow::Block,
            block_timeout: Duration::from_secs(5),
            buffer_messages: 10_000,
            buffer_bytes: 16 << 20,
            max_message_bytes: 1 << 20,
            may_publish: false,
            may_subscribe: false,
            audit: None,
            publishers: Vec::new(),
            subscriber_identities: Vec::new(),
            publisher_identities: Vec::new(),
            problem: String::new(),
            acknowledge: Acknowledge::None,
            redeliver: Redeliver { after: Duration::from_secs(30), attempts: 5 },
            replay: None,
            ready_subscribers: 0,
            request_timeout: Duration::from_secs(5),
            dead_letter: None,
            record: None,
            spill: None,
        }
    }
}

/// A service account, or all of a namespace: `NAMESPACE/NAME` or `NAMESPACE/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityPattern(pub Arc<str>);

impl IdentityPattern {
    /// Whether `identity` (`NAMESPACE/NAME`) is meant.
    #[must_use]
    pub fn matches(&self, identity: &str) -> bool {
        match self.0.strip_suffix("/*") {
            Some(namespace) => identity.split_once('/').is_some_and(|(own, _)| own == namespace),
            None => &*self.0 == identity,
        }
    }
}

/// Another sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerView {
    /// `NAMESPACE/POD`.
    pub sidecar: Arc<str>,
    /// `HOST:PORT`.
    pub address: Arc<str>,
    /// `NAMESPACE/SERVICEACCOUNT` that its certificate must name.
    pub identity: Arc<str>,
}

/// One Topic as this sidecar may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicView {
    /// On the broker.
    pub topic_name: String,
    pub partitions: u32,
    pub max_message_bytes: usize,
    pub may_publish: bool,
    pub may_subscribe: bool,
    /// `NAMESPACE/NAME` of its Broker.
    pub broker: String,
    /// Not empty: the Topic cannot be used, and this says why.
    pub problem: String,
}

/// The Broker behind the Kafka door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerView {
    pub namespace: String,
    pub name: String,
    /// `HOST:PORT` of its mTLS listener; more than one for a cluster.
    pub bootstrap: Vec<String>,
    /// DNS names of which its certificate must carry one.
    pub server_names: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a pattern means one service account or all of one namespace, and nothing that only looks alike.
    #[test]
    fn identity_patterns() {
        let one = IdentityPattern("shop/checkout".into());
        assert!(
            one.matches("shop/checkout") && !one.matches("shop/checkout2") && !one.matches("shop2/checkout")
        );
        let all = IdentityPattern("shop/*".into());
        assert!(all.matches("shop/a") && !all.matches("shop2/a") && !all.matches("shop"));
    }
}
