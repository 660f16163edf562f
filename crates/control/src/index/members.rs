//! Which sidecars publish and subscribe to which Channel, as they reported it. Whether they may is
//! asked when the membership is read, not when it is written.

use super::Index;
use crate::names::ObjectName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a sidecar does with a Channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It publishes.
    Publisher,
    /// It subscribes.
    Subscriber,
}

/// Sidecars that use a Channel and may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelMembers {
    /// Those that publish, by name.
    pub publishers: Vec<String>,
    /// Those that subscribe.
    pub subscribers: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Members {
    publishers: BTreeMap<ObjectName, BTreeSet<Arc<str>>>,
    subscribers: BTreeMap<ObjectName, BTreeSet<Arc<str>>>,
}

impl Members {
    fn of(&self, role: Role) -> &BTreeMap<ObjectName, BTreeSet<Arc<str>>> {
        match role {
            Role::Publisher => &self.publishers,
            Role::Subscriber => &self.subscribers,
        }
    }

    fn of_mut(&mut self, role: Role) -> &mut BTreeMap<ObjectName, BTreeSet<Arc<str>>> {
        match role {
            Role::Publisher => &mut self.publishers,
            Role::Subscriber => &mut self.subscribers,
        }
    }

    pub(super) fn add(&mut self, role: Role, channel: &ObjectName, sidecar: &Arc<str>) {
        self.of_mut(role).entry(channel.clone()).or_default().insert(Arc::clone(sidecar));
    }

    pub(super) fn remove(&mut self, role: Role, channel: &ObjectName, sidecar: &str) {
        super::inputs::remove_from(self.of_mut(role), channel, sidecar);
    }

    pub(super) fn publishers(&self, channel: &ObjectName) -> impl Iterator<Item = &Arc<str>> {
        self.publishers.get(channel).into_iter().flatten()
    }

    pub(super) fn subscribers(&self, channel: &ObjectName) -> impl Iterator<Item = &Arc<str>> {
        self.subscribers.get(channel).into_iter().flatten()
    }
}

impl Index {
    /// Who publishes and subscribes, for each Channel; for the status of the objects.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<ObjectName, ChannelMembers> {
        self.channels.keys().map(|name| (name.clone(), self.members_of(name))).collect()
    }

    /// The same for one Channel.
    #[must_use]
    pub fn members_of(&self, name: &ObjectName) -> ChannelMembers {
        ChannelMembers {
            publishers: self.allowed_members(name, Role::Publisher),
            subscribers: self.allowed_members(name, Role::Subscriber),
        }
    }

    fn allowed_members(&self, name: &ObjectName, role: Role) -> Vec<String> {
        let Some(channel) = self.channels.get(name).filter(|channel| channel.problem.is_empty()) else {
            return Vec::new();
        };
        let allowed = |sidecar: &&Arc<str>| {
            self.sidecars.get(*sidecar).is_some_and(|found| match role {
                Role::Publisher => channel.may_publish(&found.identity),
                Role::Subscriber => channel.may_subscribe(&found.identity),
            })
        };
        let reported = self.members.of(role).get(name).into_iter().flatten();
        reported.filter(allowed).map(ToString::to_string).collect()
    }
}
