//! Views to protobuf, reports from protobuf. The only file here that knows both; every length that
//! a sidecar chose is checked before anything is kept.

use control::ObjectName;
use control::index::Report;
use control::view::{self, View};
use proto::control as wire;

/// The longest name or address in a report, in bytes: NAMESPACE/POD is at most 63 + 1 + 253.
const TEXT_BYTES_MAX: usize = 512;

/// Reads a report.
///
/// # Errors
/// What is too long or too many, for the sidecar's log.
pub(crate) fn report(report: wire::Report, channels_max: usize) -> Result<(String, Report), String> {
    if report.channels.len() > channels_max {
        return Err(format!(
            "the report names {} channels; the limit is {channels_max}",
            report.channels.len()
        ));
    }
    for (what, text) in
        [("sidecar", &report.sidecar), ("peer_address", &report.peer_address), ("broker", &report.broker)]
    {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("{what} has {} bytes; the limit is {TEXT_BYTES_MAX}", text.len()));
        }
    }
    let mut taken = Report {
        peer_address: report.peer_address,
        view_version: report.view_version,
        broker: report.broker,
        ..Report::default()
    };
    for used in report.channels {
        if used.namespace.len().max(used.name.len()) > TEXT_BYTES_MAX {
            return Err(format!("the name of a channel is longer than {TEXT_BYTES_MAX} bytes"));
        }
        let name = ObjectName::new(used.namespace, used.name);
        if used.publishes {
            taken.publishes.insert(name.clone());
        }
        if used.subscribes {
            taken.subscribes.insert(name);
        }
    }
    Ok((report.sidecar, taken))
}

/// Writes a view.
pub(crate) fn view(view: &View) -> wire::View {
    let (broker, broker_problem) = match &view.broker {
        Ok(broker) => (Some(broker_view(broker)), String::new()),
        Err(problem) => (None, problem.clone()),
    };
    wire::View {
        version: view.version,
        trust_domain: view.trust.domain.clone(),
        trust_bundle_pem: view.trust.bundle_pem.clone(),
        channels: view.channels.iter().map(|view| channel(view)).collect(),
        topics: view.topics.iter().map(topic).collect(),
        broker,
        broker_problem,
    }
}

fn broker_view(broker: &view::BrokerView) -> wire::BrokerView {
    wire::BrokerView {
        namespace: broker.name.namespace.clone(),
        name: broker.name.name.clone(),
        bootstrap: broker.bootstrap.clone(),
        server_names: broker.server_names.clone(),
    }
}

fn channel(channel: &view::ChannelView) -> wire::ChannelView {
    let peer = |peer: &view::Peer| wire::Peer {
        sidecar: peer.sidecar.clone(),
        address: peer.address.clone(),
        identity: peer.identity.to_string(),
    };
    let delivery = &channel.delivery;
    wire::ChannelView {
        namespace: channel.name.namespace.clone(),
        name: channel.name.name.clone(),
        pattern: delivery.pattern.clone(),
        overflow: delivery.overflow.clone(),
        block_timeout_ms: delivery.block_timeout_ms,
        buffer_messages: delivery.buffer_messages,
        buffer_bytes: delivery.buffer_bytes,
        max_message_bytes: delivery.max_message_bytes,
        may_publish: channel.may_publish,
        may_subscribe: channel.may_subscribe,
        publishers: channel.publishers.iter().map(peer).collect(),
        subscriber_identities: channel.subscriber_identities.clone(),
        publisher_identities: channel.publisher_identities.clone(),
        problem: channel.problem.clone(),
        acknowledge: delivery.acknowledge.clone(),
        redeliver_after_ms: delivery.redeliver_after_ms,
        redeliver_attempts: delivery.redeliver_attempts,
        replay_messages: delivery.replay.messages,
        replay_bytes: delivery.replay.bytes,
        replay_time_ms: delivery.replay.time_ms,
        ready_subscribers: delivery.ready_subscribers,
        request_timeout_ms: delivery.request_timeout_ms,
        dead_letter_topic: reference(delivery.dead_letter.as_ref()),
        record_topic: reference(delivery.record.as_ref()),
        spill_topic: reference(delivery.spill.as_ref()),
        audit: channel.audit,
    }
}

/// `NAMESPACE/NAME`, or empty.
fn reference(topic: Option<&ObjectName>) -> String {
    topic.map(ObjectName::to_string).unwrap_or_default()
}

fn topic(topic: &view::TopicView) -> wire::TopicView {
    wire::TopicView {
        namespace: topic.name.namespace.clone(),
        name: topic.name.name.clone(),
        topic_name: topic.topic_name.clone(),
        partitions: topic.partitions,
        max_message_bytes: topic.max_message_bytes,
        may_publish: topic.may_publish,
        may_subscribe: topic.may_subscribe,
        broker: topic.broker.to_string(),
        problem: topic.problem.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::view::{ChannelView, Delivery, Replay};

    /// Goal: every field of a Channel's delivery is sent.
    #[test]
    fn every_field_is_sent() {
        let topic = |name| Some(ObjectName::new("shop", name));
        let sent = channel(&ChannelView {
            name: ObjectName::new("shop", "prices"),
            delivery: Delivery {
                acknowledge: "Required".to_owned(),
                redeliver_after_ms: 1,
                redeliver_attempts: 2,
                replay: Replay { messages: 3, bytes: 4, time_ms: 5 },
                ready_subscribers: 6,
                request_timeout_ms: 7,
                dead_letter: topic("dead"),
                record: topic("log"),
                spill: None,
                ..Delivery::default()
            },
            may_publish: false,
            may_subscribe: false,
            publishers: Vec::new(),
            publisher_identities: Vec::new(),
            subscriber_identities: Vec::new(),
            audit: true,
            problem: String::new(),
        });
        assert_eq!(
            sent,
            wire::ChannelView {
                namespace: "shop".to_owned(),
                name: "prices".to_owned(),
                acknowledge: "Required".to_owned(),
                redeliver_after_ms: 1,
                redeliver_attempts: 2,
                replay_messages: 3,
                replay_bytes: 4,
                replay_time_ms: 5,
                ready_subscribers: 6,
                request_timeout_ms: 7,
                dead_letter_topic: "shop/dead".to_owned(),
                record_topic: "shop/log".to_owned(),
                audit: true,
                ..wire::ChannelView::default()
            }
        );
    }
}
