//! The handle through which objects come in and the membership goes out. Cheap to clone; no call
//! waits for a socket.

use crate::authority::Authority;
use crate::state::{State, trust};
use control::index::ChannelMembers;
use control::{Broker, Channel, ObjectName, Topic};
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module.
#[derive(Clone)]
pub struct Objects {
    pub(crate) state: Arc<State>,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Objects").finish_non_exhaustive()
    }
}

impl Objects {
    /// A Topic is new or changed: `Topic::from_object` makes one from the kind.
    pub fn upsert_topic(&self, topic: Topic) {
        self.state.change(|index| index.upsert_topic(topic));
    }

    /// A Topic is gone.
    pub fn remove_topic(&self, name: &ObjectName) {
        self.state.change(|index| index.remove_topic(name));
    }

    /// A Channel is new or changed: `Channel::from_object` makes one from the kind.
    pub fn upsert_channel(&self, channel: Channel) {
        self.state.change(|index| index.upsert_channel(channel));
    }

    /// A Channel is gone.
    pub fn remove_channel(&self, name: &ObjectName) {
        self.state.change(|index| index.remove_channel(name));
    }

    /// A Broker is new, moved, or changed its state.
    pub fn upsert_broker(&self, broker: Broker) {
        self.state.change(|index| index.upsert_broker(broker));
    }

    /// A Broker is gone.
    pub fn remove_broker(&self, name: &ObjectName) {
        self.state.change(|index| index.remove_broker(name));
    }

    /// Who publishes and subscribes, for each Channel.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<ObjectName, ChannelMembers> {
        self.state.lock().index.snapshot()
    }

    /// The same for one Channel.
    #[must_use]
    pub fn members_of(&self, channel: &ObjectName) -> ChannelMembers {
        self.state.lock().index.members_of(channel)
    }

    /// The older Topic that has the name on the broker which this one claims, if any.
    #[must_use]
    pub fn topic_name_holder(&self, topic: &ObjectName) -> Option<ObjectName> {
        self.state.lock().index.topic_name_holder(topic)
    }

    /// How many sidecars count as alive.
    #[must_use]
    pub fn sidecar_count(&self) -> usize {
        self.state.lock().index.sidecar_count()
    }

    /// The authority in use.
    #[must_use]
    pub fn authority(&self) -> Arc<Authority> {
        self.state.authority()
    }

    /// Uses another authority from now on, for example after a step of a change of root: every
    /// sidecar hears of the new bundle, and the service makes itself a new certificate.
    pub fn replace_authority(&self, authority: Authority) {
        let mut inner = self.state.lock();
        inner.index.set_trust(trust(&authority));
        inner.authority = Arc::new(authority);
        drop(inner);
        self.state.changed.notify_one();
        self.state.authority_changed.notify_one();
    }
}
