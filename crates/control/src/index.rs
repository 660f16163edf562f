//! Everything the control plane knows, in memory, and whose view has to be computed again.
//!
//! Inputs are objects (`upsert_*`, `remove_*`), sidecars (`connect`, `report`, `disconnect`) and the
//! time (`handle_timeout`); `take_changed` gives the views that differ from the ones given before.
//!
//! A process that has just become the leader knows no sidecar. Until `settle` has passed it sends
//! nothing to a sidecar that already works with a view, or that sidecar would drop peers which are
//! alive and merely have not reported yet. In the same way a sidecar whose stream broke stays in the
//! membership for `linger`.

mod compute;
mod inputs;
mod members;
mod pool;
#[cfg(test)]
mod tests;

use crate::diff::Dirty;
use crate::names::{Identity, ObjectName};
use crate::objects::{Broker, Channel, Topic};
use crate::view::{ChannelView, TopicView, Trust, View};
use members::Members;
use pool::Pool;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use members::{ChannelMembers, Role};

/// How patient an index is.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a new index waits for sidecars to report before it takes anything from one that
    /// already has a view.
    pub settle: Duration,
    /// How long a sidecar whose stream ended is still taken for alive.
    pub linger: Duration,
}

/// What a sidecar says of itself, each time whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// HOST:PORT where peers reach it.
    pub peer_address: String,
    /// Channels it publishes to.
    pub publishes: BTreeSet<ObjectName>,
    /// Channels it subscribes to.
    pub subscribes: BTreeSet<ObjectName>,
    /// The version of the view it works with; 0 = none.
    pub view_version: u64,
    /// The Broker of its Kafka door: `NAME` or `NAMESPACE/NAME`; empty = `default`.
    pub broker: String,
}

/// Why a sidecar was not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// A sidecar's name starts with the namespace that its certificate names.
    #[error("sidecar {sidecar} does not belong to {identity}: its name must be `{}/POD`", identity.namespace)]
    WrongNamespace {
        /// The name it gave.
        sidecar: String,
        /// Who it is.
        identity: Identity,
    },
    /// The name is in use by another service account.
    #[error("sidecar {sidecar} is already connected as {holder}: two pods cannot have one name")]
    NameTaken {
        /// The name it gave.
        sidecar: String,
        /// Who has it.
        holder: Identity,
    },
}

/// One connection of one sidecar; a later one of the same sidecar outdates it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    sidecar: Arc<str>,
    number: u64,
}

impl Link {
    /// The sidecar's name.
    #[must_use]
    pub fn sidecar(&self) -> &str {
        &self.sidecar
    }
}

#[derive(Debug)]
struct Sidecar {
    identity: Identity,
    report: Report,
    broker: ObjectName,
    /// The open connection's number.
    link: u64,
    /// When it stops counting as alive, once its stream has ended.
    leaves_at: Option<Duration>,
    /// It came with a view from before: it gets no other one while the index settles.
    has_old_view: bool,
    /// The view it was given last.
    view: Option<Arc<View>>,
    /// Version that its next view is above.
    version_floor: u64,
    /// It must be sent its view even if that did not change, since its stream is new.
    resend: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Index {
    settings: Settings,
    settled_at: Duration,
    trust: Trust,
    topics: BTreeMap<ObjectName, Topic>,
    channels: BTreeMap<ObjectName, Channel>,
    brokers: BTreeMap<ObjectName, Broker>,
    /// Objects by the namespaces whose sidecars see them.
    topics_seen: BTreeMap<String, BTreeSet<ObjectName>>,
    channels_seen: BTreeMap<String, BTreeSet<ObjectName>>,
    /// Channels that every sidecar sees, since they let everybody through.
    channels_audited: BTreeSet<ObjectName>,
    /// Who claims a name on a broker, oldest first. Nearly always one, for whom a set would take the room of eleven.
    claims: BTreeMap<(ObjectName, String), Vec<(i64, ObjectName)>>,
    sidecars: BTreeMap<Arc<str>, Sidecar>,
    sidecars_in: BTreeMap<String, BTreeSet<Arc<str>>>,
    sidecars_of_broker: BTreeMap<ObjectName, BTreeSet<Arc<str>>>,
    members: Members,
    dirty: Dirty,
    links: u64,
    /// What views are made of: a thousand sidecars of one namespace see the same.
    channel_views: Pool<ChannelView>,
    topic_views: Pool<Vec<TopicView>>,
}

impl Index {
    /// An empty index at the time `now`, on any clock that only rises.
    #[must_use]
    pub fn new(settings: Settings, trust: Trust, now: Duration) -> Self {
        Self {
            settled_at: now.saturating_add(settings.settle),
            settings,
            trust,
            topics: BTreeMap::new(),
            channels: BTreeMap::new(),
            brokers: BTreeMap::new(),
            topics_seen: BTreeMap::new(),
            channels_seen: BTreeMap::new(),
            channels_audited: BTreeSet::new(),
            claims: BTreeMap::new(),
            sidecars: BTreeMap::new(),
            sidecars_in: BTreeMap::new(),
            sidecars_of_broker: BTreeMap::new(),
            members: Members::default(),
            dirty: Dirty::default(),
            links: 0,
            channel_views: Pool::default(),
            topic_views: Pool::default(),
        }
    }

    /// How many sidecars count as alive.
    #[must_use]
    pub fn sidecar_count(&self) -> usize {
        self.sidecars.len()
    }

    /// Whether this sidecar counts as alive.
    #[must_use]
    pub fn knows(&self, sidecar: &str) -> bool {
        self.sidecars.contains_key(sidecar)
    }

    /// When [`Self::handle_timeout`] has something to do, if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let leaving = self.sidecars.values().filter_map(|sidecar| sidecar.leaves_at);
        let settling = self.sidecars.values().any(|sidecar| sidecar.has_old_view);
        leaving.chain(settling.then_some(self.settled_at)).min()
    }

    /// The time has come to `now`: sidecars that lingered leave, and a settled index may speak.
    pub fn handle_timeout(&mut self, now: Duration) {
        let gone: Vec<Arc<str>> = self
            .sidecars
            .iter()
            .filter(|(_, sidecar)| sidecar.leaves_at.is_some_and(|at| at <= now))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        for name in gone {
            self.drop_sidecar(&name);
        }
        if now >= self.settled_at {
            for sidecar in self.sidecars.values_mut() {
                sidecar.has_old_view = false;
            }
        }
    }

    /// The views that changed since the last call, each for an open link.
    pub fn take_changed(&mut self) -> Vec<(Link, Arc<View>)> {
        let sidecars = &self.sidecars;
        let names = self.dirty.take(|name| sidecars.get(name).is_none_or(|sidecar| !sidecar.has_old_view));
        let mut changed = Vec::new();
        for name in names {
            let Some((key, sidecar)) = self.sidecars.get_key_value(name.as_str()) else { continue };
            let (key, mut fresh) = (Arc::clone(key), self.compute(&name, sidecar));
            let Some(sidecar) = self.sidecars.get_mut(&key) else { continue };
            let old = sidecar.view.as_ref();
            fresh.topics = self.topic_views.share(fresh.topics);
            for channel in &mut fresh.channels {
                *channel = self.channel_views.share(Arc::clone(channel));
            }
            fresh.version = old.map_or(sidecar.version_floor, |view| view.version);
            let is_new = old.is_none_or(|view| **view != fresh);
            if is_new {
                fresh.version = fresh.version.max(sidecar.version_floor).saturating_add(1);
                sidecar.view = Some(Arc::new(fresh));
            }
            let connected = sidecar.leaves_at.is_none();
            if let (true, Some(view)) = (connected && (is_new || sidecar.resend), &sidecar.view) {
                sidecar.resend = false;
                changed.push((Link { sidecar: key, number: sidecar.link }, Arc::clone(view)));
            }
        }
        changed
    }

    /// The view that `sidecar` would have now, computed from nothing.
    #[must_use]
    pub fn view_of(&self, sidecar: &str) -> Option<View> {
        self.sidecars.get(sidecar).map(|found| self.compute(sidecar, found))
    }
}
