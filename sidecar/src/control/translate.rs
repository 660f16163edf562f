//! Pure: a view as protobuf → a view as plain types.

use crate::messaging::{ChannelName, TopicName};
use crate::view::{
    Acknowledge, BrokerView, ChannelView, IdentityPattern, Listed, Overflow, Pattern, PeerView, Redeliver,
    Replay, TopicView, View,
};
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
        may_publish: wire.may_publish || wire.audit,
        may_subscribe: wire.may_subscribe || wire.audit,
        audit: wire.audit.then_some(Listed { publish: wire.may_publish, subscribe: wire.may_subscribe }),
        publishers: wire.publishers.into_iter().map(peer).collect(),
        subscriber_identities: wire.subscriber_identities.into_iter().map(identity).collect(),
        publisher_identities: wire.publisher_identities.into_iter().map(identity).collect(),
        problem: wire.problem,
        acknowledge: acknowledge(&wire.acknowledge),
        redeliver: Redeliver {
            after: Duration::from_millis(wire.redeliver_after_ms.into()),
            attempts: wire.redeliver_attempts.max(1),
        },
        replay: replay(wire.replay_messages, wire.replay_bytes, wire.replay_time_ms),
        ready_subscribers: size(wire.ready_subscribers.into()),
        request_timeout: Duration::from_millis(wire.request_timeout_ms.into()),
        dead_letter: topic_name(&wire.dead_letter_topic),
        record: topic_name(&wire.record_topic),
        spill: topic_name(&wire.spill_topic),
    };
    (name, channel)
}

/// An older control plane says nothing.
fn acknowledge(text: &str) -> Acknowledge {
    match text {
        "" | "None" => Acknowledge::None,
        "Required" => Acknowledge::Required,
        _ => Acknowledge::Unknown,
    }
}

/// 0 = no such limit.
fn replay(messages: u32, bytes: u64, time_ms: u64) -> Option<Replay> {
    if (messages, bytes, time_ms) == (0, 0, 0) {
        return None;
    }
    let or_max = |limit: u64| if limit == 0 { usize::MAX } else { size(limit) };
    Some(Replay {
        messages: or_max(messages.into()),
        bytes: or_max(bytes),
        time: if time_ms == 0 { Duration::MAX } else { Duration::from_millis(time_ms) },
    })
}

/// `NAMESPACE/NAME`; empty = none. What is not of this form is kept as a name that no Topic has.
fn topic_name(text: &str) -> Option<TopicName> {
    let (namespace, name) = text.split_once('/').unwrap_or(("", text));
    (!text.is_empty()).then(|| TopicName { namespace: namespace.into(), name: name.into() })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what the control plane says of delivery arrives; 0 means no such limit.
    #[test]
    fn every_field_arrives() {
        let (_, found) = channel(wire::ChannelView {
            acknowledge: "Required".to_owned(),
            redeliver_after_ms: 1500,
            redeliver_attempts: 2,
            replay_messages: 3,
            replay_time_ms: 4000,
            ready_subscribers: 6,
            request_timeout_ms: 7000,
            dead_letter_topic: "shop/dead".to_owned(),
            record_topic: "shop/log".to_owned(),
            spill_topic: "shop/over".to_owned(),
            ..wire::ChannelView::default()
        });
        let topic = |name: &str| Some(TopicName { namespace: "shop".into(), name: name.into() });
        let redeliver = Redeliver { after: Duration::from_millis(1500), attempts: 2 };
        assert_eq!((found.acknowledge, found.redeliver), (Acknowledge::Required, redeliver));
        let replay = Replay { messages: 3, bytes: usize::MAX, time: Duration::from_secs(4) };
        assert_eq!((found.replay, found.ready_subscribers), (Some(replay), 6));
        assert_eq!(found.request_timeout, Duration::from_secs(7));
        assert_eq!(
            (found.dead_letter, found.record, found.spill),
            (topic("dead"), topic("log"), topic("over"))
        );
    }

    /// Goal: lists that are only tried let this sidecar through, and it knows what they say; without a word they hold.
    #[test]
    fn audit_lets_through() {
        let wire = wire::ChannelView { may_publish: true, ..wire::ChannelView::default() };
        let (_, enforced) = channel(wire.clone());
        assert_eq!((enforced.may_publish, enforced.may_subscribe, enforced.audit), (true, false, None));
        let (_, tried) = channel(wire::ChannelView { audit: true, ..wire });
        let listed = Some(Listed { publish: true, subscribe: false });
        assert_eq!((tried.may_publish, tried.may_subscribe, tried.audit), (true, true, listed));
    }

    /// Goal: a control plane that does not know these fields means none of them, and a newer word is not taken
    /// for an old one.
    #[test]
    fn silence_means_none() {
        let (_, found) = channel(wire::ChannelView::default());
        assert_eq!((found.acknowledge, found.replay, found.ready_subscribers), (Acknowledge::None, None, 0));
        assert_eq!((found.dead_letter, found.record, found.spill), (None, None, None));
        assert_eq!(acknowledge("Twice"), Acknowledge::Unknown);
    }
}
