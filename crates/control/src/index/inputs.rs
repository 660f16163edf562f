//! The inputs of the index: each changes what it knows and marks the sidecars that may notice.

use super::{ConnectError, Index, Link, Report, Role, Sidecar};
use crate::diff::symmetric;
use crate::names::{Identity, ObjectName};
use crate::objects::{Broker, Channel, Topic, audience};
use crate::view::Trust;
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Removes `member` from the set of `key`, and the set when it is empty.
pub(super) fn remove_from<K, T, Q>(sets: &mut BTreeMap<K, BTreeSet<T>>, key: &K, member: &Q)
where
    K: Ord,
    T: Ord + Borrow<Q>,
    Q: Ord + ?Sized,
{
    if let Some(set) = sets.get_mut(key) {
        set.remove(member);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

/// The Broker that a sidecar of `namespace` names: `NAME`, `NAMESPACE/NAME`, or, as apps write
/// names of Topics, `NAME.NAMESPACE`; names have no dots.
fn broker_name(text: &str, namespace: &str) -> ObjectName {
    if text.is_empty() {
        return ObjectName::new(namespace, "default");
    }
    match (text.split_once('/'), text.split_once('.')) {
        (Some((namespace, name)), _) | (None, Some((name, namespace))) => ObjectName::new(namespace, name),
        (None, None) => ObjectName::new(namespace, text),
    }
}

impl Index {
    /// The roots to trust changed: everybody hears of it.
    pub fn set_trust(&mut self, trust: Trust) {
        if self.trust != trust {
            self.trust = trust;
            self.mark_all();
        }
    }

    /// A Channel is new or changed.
    pub fn upsert_channel(&mut self, channel: Channel) {
        if self.channels.get(&channel.name) == Some(&channel) {
            return;
        }
        let name = channel.name.clone();
        self.remove_channel(&name);
        for namespace in audience(&name, &channel.grants) {
            self.mark_namespace(&namespace);
            self.channels_seen.entry(namespace).or_default().insert(name.clone());
        }
        if channel.audit {
            self.mark_all();
            self.channels_audited.insert(name.clone());
        }
        self.channels.insert(name, channel);
    }

    /// A Channel is gone.
    pub fn remove_channel(&mut self, name: &ObjectName) {
        let Some(channel) = self.channels.remove(name) else { return };
        for namespace in audience(name, &channel.grants) {
            self.mark_namespace(&namespace);
            remove_from(&mut self.channels_seen, &namespace, name);
        }
        if self.channels_audited.remove(name) {
            self.mark_all();
        }
    }

    /// A Topic is new or changed.
    pub fn upsert_topic(&mut self, topic: Topic) {
        if self.topics.get(&topic.name) == Some(&topic) {
            return;
        }
        let name = topic.name.clone();
        self.remove_topic(&name);
        for namespace in audience(&name, &topic.grants) {
            self.mark_namespace(&namespace);
            self.topics_seen.entry(namespace).or_default().insert(name.clone());
        }
        let claim = (topic.broker.clone(), topic.topic_name.clone());
        let claimants = self.claims.entry(claim.clone()).or_insert_with(|| Vec::with_capacity(1));
        let claimant = (topic.created_seconds, name.clone());
        let place = claimants.partition_point(|other| other < &claimant);
        claimants.insert(place, claimant);
        self.topics.insert(name, topic);
        self.mark_claimants(&claim);
    }

    /// A Topic is gone.
    pub fn remove_topic(&mut self, name: &ObjectName) {
        let Some(topic) = self.topics.remove(name) else { return };
        for namespace in audience(name, &topic.grants) {
            self.mark_namespace(&namespace);
            remove_from(&mut self.topics_seen, &namespace, name);
        }
        let claim = (topic.broker, topic.topic_name);
        if let Some(claimants) = self.claims.get_mut(&claim) {
            claimants.retain(|(_, other)| other != name);
            if claimants.is_empty() {
                self.claims.remove(&claim);
            }
        }
        self.mark_claimants(&claim);
    }

    /// A Broker is new, or changed its address or its state.
    pub fn upsert_broker(&mut self, broker: Broker) {
        if self.brokers.get(&broker.name) != Some(&broker) {
            self.mark_broker(&broker.name);
            self.brokers.insert(broker.name.clone(), broker);
        }
    }

    /// A Broker is gone.
    pub fn remove_broker(&mut self, name: &ObjectName) {
        if self.brokers.remove(name).is_some() {
            self.mark_broker(name);
        }
    }

    /// A sidecar opened a stream. It outdates an earlier one of the same sidecar.
    ///
    /// # Errors
    /// When the name is not one of the identity's namespace, or another service account has it.
    pub fn connect(
        &mut self,
        sidecar: &str,
        identity: Identity,
        report: Report,
    ) -> Result<Link, ConnectError> {
        let own_name = sidecar.split_once('/').is_some_and(|(namespace, pod)| {
            namespace == identity.namespace && !pod.is_empty() && !pod.contains('/')
        });
        if !own_name {
            return Err(ConnectError::WrongNamespace { sidecar: sidecar.to_owned(), identity });
        }
        let before = self.sidecars.get(sidecar);
        if let Some(taken) = before.filter(|found| found.identity != identity && found.leaves_at.is_none()) {
            return Err(ConnectError::NameTaken {
                sidecar: sidecar.to_owned(),
                holder: taken.identity.clone(),
            });
        }
        if before.is_some_and(|found| found.identity != identity) {
            self.drop_sidecar(sidecar);
        }
        self.links = self.links.saturating_add(1);
        let link = Link { sidecar: Arc::from(sidecar), number: self.links };
        if !self.sidecars.contains_key(sidecar) {
            self.add_sidecar(&link, identity, report.view_version);
        }
        if let Some(found) = self.sidecars.get_mut(sidecar) {
            found.link = link.number;
            found.leaves_at = None;
            found.resend = true;
            found.version_floor = found.version_floor.max(report.view_version);
        }
        self.dirty.mark(sidecar);
        self.apply_report(&link.sidecar, report);
        Ok(link)
    }

    /// A sidecar reported again. Reports on an outdated link are ignored.
    pub fn report(&mut self, link: &Link, report: Report) {
        if self.is_current(link) {
            self.apply_report(&link.sidecar, report);
        }
    }

    /// A stream ended; the sidecar leaves when it has not come back within the linger time.
    pub fn disconnect(&mut self, link: &Link, now: Duration) {
        if !self.is_current(link) {
            return;
        }
        if let Some(sidecar) = self.sidecars.get_mut(&link.sidecar) {
            sidecar.leaves_at = Some(now.saturating_add(self.settings.linger));
        }
    }

    /// Whether this is the sidecar's newest link.
    #[must_use]
    pub fn is_current(&self, link: &Link) -> bool {
        self.sidecars.get(&link.sidecar).is_some_and(|sidecar| sidecar.link == link.number)
    }

    fn add_sidecar(&mut self, link: &Link, identity: Identity, view_version: u64) {
        let name = Arc::clone(&link.sidecar);
        let broker = broker_name("", &identity.namespace);
        self.sidecars_in.entry(identity.namespace.clone()).or_default().insert(Arc::clone(&name));
        self.sidecars_of_broker.entry(broker.clone()).or_default().insert(Arc::clone(&name));
        let sidecar = Sidecar {
            identity,
            report: Report::default(),
            broker,
            link: link.number,
            leaves_at: None,
            has_old_view: view_version > 0 && !self.settings.settle.is_zero(),
            view: None,
            version_floor: view_version,
            resend: true,
        };
        self.sidecars.insert(name, sidecar);
    }

    fn apply_report(&mut self, name: &Arc<str>, report: Report) {
        let Some(sidecar) = self.sidecars.get_mut(name) else { return };
        let broker = broker_name(&report.broker, &sidecar.identity.namespace);
        let old = std::mem::replace(&mut sidecar.report, report.clone());
        let old_broker = std::mem::replace(&mut sidecar.broker, broker.clone());
        if old_broker != broker {
            remove_from(&mut self.sidecars_of_broker, &old_broker, name);
            self.sidecars_of_broker.entry(broker).or_default().insert(Arc::clone(name));
            self.dirty.mark(name);
        }
        if old.subscribes != report.subscribes {
            self.dirty.mark(name);
        }
        self.change_members(Role::Publisher, name, (&old.publishes, &report.publishes));
        self.change_members(Role::Subscriber, name, (&old.subscribes, &report.subscribes));
        let moved = old.peer_address != report.peer_address;
        let noticed: Vec<&ObjectName> = match moved {
            true => old.publishes.union(&report.publishes).collect(),
            false => symmetric(&old.publishes, &report.publishes),
        };
        for channel in noticed {
            self.members.subscribers(channel).for_each(|subscriber| self.dirty.mark(subscriber));
        }
    }

    fn change_members(
        &mut self,
        role: Role,
        name: &Arc<str>,
        (old, new): (&BTreeSet<ObjectName>, &BTreeSet<ObjectName>),
    ) {
        for channel in old.difference(new) {
            self.members.remove(role, channel, name);
        }
        for channel in new.difference(old) {
            self.members.add(role, channel, name);
        }
    }

    pub(super) fn drop_sidecar(&mut self, name: &str) {
        let Some((key, _)) = self.sidecars.get_key_value(name) else { return };
        let key = Arc::clone(key);
        self.apply_report(&key, Report::default());
        let Some(sidecar) = self.sidecars.remove(&key) else { return };
        remove_from(&mut self.sidecars_in, &sidecar.identity.namespace, name);
        remove_from(&mut self.sidecars_of_broker, &sidecar.broker, name);
        self.dirty.forget(name);
    }

    fn mark_all(&mut self) {
        self.sidecars.keys().for_each(|name| self.dirty.mark(name));
    }

    fn mark_namespace(&mut self, namespace: &str) {
        let sidecars = self.sidecars_in.get(namespace).into_iter().flatten();
        sidecars.for_each(|name| self.dirty.mark(name));
    }

    fn mark_broker(&mut self, broker: &ObjectName) {
        let sidecars = self.sidecars_of_broker.get(broker).into_iter().flatten();
        sidecars.for_each(|name| self.dirty.mark(name));
    }

    fn mark_claimants(&mut self, claim: &(ObjectName, String)) {
        let names: Vec<_> = self.claims.get(claim).into_iter().flatten().map(|(_, name)| name).collect();
        let namespaces: BTreeSet<String> = names
            .into_iter()
            .filter_map(|name| self.topics.get(name))
            .flat_map(|topic| audience(&topic.name, &topic.grants))
            .collect();
        for namespace in namespaces {
            self.mark_namespace(&namespace);
        }
    }
}
