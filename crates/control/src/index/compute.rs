//! What one sidecar is told, from what the index knows. Pure reading: marks and writes nothing.

use super::{Index, Sidecar};
use crate::names::{Identity, ObjectName};
use crate::objects::{Channel, Topic};
use crate::view::{BrokerView, ChannelView, Peer, TopicView, View};
use api::access::Grant;
use std::collections::BTreeSet;
use std::sync::Arc;

fn covered(grants: &[Grant], identity: &Identity) -> bool {
    grants.iter().any(|grant| grant.covers(&identity.namespace, &identity.service_account))
}

fn principals(grants: &[Grant]) -> Vec<String> {
    grants.iter().map(Grant::principal).collect()
}

impl Channel {
    /// Whether its lists name this service account as a publisher.
    #[must_use]
    pub fn may_publish(&self, identity: &Identity) -> bool {
        covered(&self.grants.publish, identity)
    }

    /// Whether its lists name this service account as a subscriber.
    #[must_use]
    pub fn may_subscribe(&self, identity: &Identity) -> bool {
        covered(&self.grants.subscribe, identity)
    }
}

impl Index {
    /// The version is left at 0 for the caller to set.
    pub(super) fn compute(&self, name: &str, sidecar: &Sidecar) -> View {
        let identity = &sidecar.identity;
        let own = |object: &ObjectName| object.namespace == identity.namespace;
        let seen = self.channels_seen.get(&identity.namespace).into_iter().flatten();
        let seen: BTreeSet<&ObjectName> = seen.chain(&self.channels_audited).collect();
        let channels = seen
            .into_iter()
            .filter_map(|object| self.channels.get(object))
            .map(|channel| self.channel_view(name, sidecar, channel))
            .filter(|view| view.audit || view.may_publish || view.may_subscribe || own(&view.name));
        let seen = self.topics_seen.get(&identity.namespace).into_iter().flatten();
        let topics = seen
            .filter_map(|object| self.topics.get(object))
            .map(|topic| self.topic_view(sidecar, topic))
            .filter(|view| view.may_publish || view.may_subscribe || own(&view.name));
        View {
            version: 0,
            trust: self.trust.clone(),
            channels: channels.map(Arc::new).collect(),
            topics: Arc::new(topics.collect()),
            broker: self.broker_view(&sidecar.broker),
        }
    }

    fn channel_view(&self, name: &str, sidecar: &Sidecar, channel: &Channel) -> ChannelView {
        let may_subscribe = channel.may_subscribe(&sidecar.identity);
        let subscribes = (may_subscribe || channel.audit)
            && channel.problem.is_empty()
            && sidecar.report.subscribes.contains(&channel.name);
        let publishers = self.members.publishers(&channel.name).filter(|_| subscribes).filter_map(|peer| {
            let found = self.sidecars.get(peer)?;
            let dialled = &**peer != name && (channel.audit || channel.may_publish(&found.identity));
            dialled.then(|| Peer {
                sidecar: peer.to_string(),
                address: found.report.peer_address.clone(),
                identity: found.identity.clone(),
            })
        });
        ChannelView {
            name: channel.name.clone(),
            delivery: channel.delivery.clone(),
            may_publish: channel.may_publish(&sidecar.identity),
            may_subscribe,
            publishers: publishers.collect(),
            publisher_identities: principals(&channel.grants.publish),
            subscriber_identities: principals(&channel.grants.subscribe),
            audit: channel.audit,
            problem: channel.problem.clone(),
        }
    }

    fn topic_view(&self, sidecar: &Sidecar, topic: &Topic) -> TopicView {
        TopicView {
            name: topic.name.clone(),
            topic_name: topic.topic_name.clone(),
            partitions: topic.partitions,
            max_message_bytes: topic.max_message_bytes,
            may_publish: covered(&topic.grants.publish, &sidecar.identity),
            may_subscribe: covered(&topic.grants.subscribe, &sidecar.identity),
            broker: topic.broker.clone(),
            problem: self.topic_problem(sidecar, topic),
        }
    }

    fn topic_problem(&self, sidecar: &Sidecar, topic: &Topic) -> String {
        if !topic.problem.is_empty() {
            return topic.problem.clone();
        }
        if let Some(winner) = self.name_winner(topic) {
            return format!(
                "Topic {} cannot use spec.topicName {:?} on Broker {}: the older Topic {winner} has it; choose another spec.topicName",
                topic.name, topic.topic_name, topic.broker
            );
        }
        if topic.broker != sidecar.broker {
            return format!(
                "Topic {} lives on Broker {}, and this pod's Kafka door opens to Broker {}: set the pod's annotation {} to {:?}",
                topic.name,
                topic.broker,
                sidecar.broker,
                api::labels::BROKER_ANNOTATION,
                format!("{}/{}", topic.broker.namespace, topic.broker.name)
            );
        }
        String::new()
    }

    /// The older Topic that has this one's name on the broker.
    fn name_winner(&self, topic: &Topic) -> Option<&ObjectName> {
        let claims = self.claims.get(&(topic.broker.clone(), topic.topic_name.clone()))?;
        claims.first().map(|(_, name)| name).filter(|winner| **winner != topic.name)
    }

    /// Which Topic has the name of `topic` on its broker, when it is another one.
    #[must_use]
    pub fn topic_name_holder(&self, topic: &ObjectName) -> Option<ObjectName> {
        self.topics.get(topic).and_then(|topic| self.name_winner(topic)).cloned()
    }

    fn broker_view(&self, name: &ObjectName) -> Result<BrokerView, String> {
        let Some(broker) = self.brokers.get(name) else {
            return Err(format!(
                "there is no Broker {name}: apply a Broker or a Topic in namespace {}, or name another one with the pod's annotation {}",
                name.namespace,
                api::labels::BROKER_ANNOTATION
            ));
        };
        if !broker.problem.is_empty() {
            return Err(broker.problem.clone());
        }
        if broker.bootstrap.is_empty() {
            return Err(format!("Broker {name} has no address yet: it is starting"));
        }
        Ok(BrokerView {
            name: broker.name.clone(),
            bootstrap: broker.bootstrap.clone(),
            server_names: broker.server_names.clone(),
        })
    }
}
