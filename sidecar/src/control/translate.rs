//! Pure: a view as protobuf → a view as plain types.

use crate::messaging::{ChannelName, TopicName};
use crate::view::{BrokerView, ChannelView, IdentityPattern, Overflow, Pattern, PeerView, TopicView, View};
use proto::control as wire;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn view(wire: wire::View) -> View {
    View {
        version: wire.version,
        trust_domain: wire.trust_domain,
        trust_bundle_pem: wire.trust_bundle_pem,
        channels: wire.channels.into_iter().map(channel).collect(),
        topics: wire.topics.into_iter().map(topic).collect(),
        broker: wire.broker.map(broker),
        broker_problem: wire.broker_problem,
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn channel(wire: wire::ChannelView) -> (ChannelName, ChannelView) {
    let name = ChannelName { namespace: wire.namespace.into(), name: wire.name.into() };
    let channel = ChannelView {
        pattern: pattern(&wire.pattern),
        overflow: overflow(&wire.overflow),
        block_timeout: Duration::from_millis(wire.block_timeout_ms.into()),
        buffer_messages: size(wire.buffer_messages.into()),
        buffer_bytes: size(wire.buffer_bytes),
        max_message_bytes: size(wire.max_message_bytes.into()),
        may_publish: wire.may_publish,
        may_subscribe: wire.may_subscribe,
        publishers: wire.publishers.into_iter().map(peer).collect(),
        subscriber_identities: wire.subscriber_identities.into_iter().map(identity).collect(),
        publisher_identities: wire.publisher_identities.into_iter().map(identity).collect(),
        problem: wire.problem,
    };
    (name, channel)
}

fn pattern(text: &str) -> Pattern {
    match text {
        "PubSub" => Pattern::PubSub,
        "Pipeline" => Pattern::Pipeline,
        "RequestReply" => Pattern::RequestReply,
        _ => Pattern::Unknown,
    }
}

fn overflow(text: &str) -> Overflow {
    match text {
        "Block" => Overflow::Block,
        "DropNewest" => Overflow::DropNewest,
        "DropOldest" => Overflow::DropOldest,
        "KeepLatest" => Overflow::KeepLatest,
        "Spill" => Overflow::Spill,
        _ => Overflow::Unknown,
    }
}

fn identity(text: String) -> IdentityPattern {
    IdentityPattern(Arc::from(text))
}

fn peer(wire: wire::Peer) -> PeerView {
    PeerView { sidecar: wire.sidecar.into(), address: wire.address.into(), identity: wire.identity.into() }
}

fn topic(wire: wire::TopicView) -> (TopicName, TopicView) {
    let name = TopicName { namespace: wire.namespace.into(), name: wire.name.into() };
    let topic = TopicView {
        topic_name: wire.topic_name,
        partitions: wire.partitions,
        max_message_bytes: size(wire.max_message_bytes.into()),
        may_publish: wire.may_publish,
        may_subscribe: wire.may_subscribe,
        broker: wire.broker,
        problem: wire.problem,
    };
    (name, topic)
}

fn broker(wire: wire::BrokerView) -> BrokerView {
    BrokerView {
        namespace: wire.namespace,
        name: wire.name,
        bootstrap: wire.bootstrap,
        server_names: wire.server_names,
    }
}
