//! Connections that peers have dialled and that may carry our subscriptions too: one connection per pair of pods.

use super::link::Wanted;
use crate::view::PeerView;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// The peer's sidecar and its identity.
type Key = (Arc<str>, Arc<str>);

/// Shared by the peer port, which fills it, and the pool, which uses it.
#[derive(Default)]
pub(crate) struct Accepted {
    by_peer: Mutex<BTreeMap<Key, watch::Sender<Wanted>>>,
    changes: watch::Sender<u64>,
}

/// One accepted connection's entry, for as long as it stands.
pub(crate) struct Entry {
    accepted: Arc<Accepted>,
    key: Key,
    wanted: watch::Sender<Wanted>,
}

impl Accepted {
    /// The peer has said hello over a connection that it dialled. `wanted` tells that connection what to carry.
    pub(crate) fn enter(
        self: &Arc<Self>,
        sidecar: &Arc<str>,
        identity: &Arc<str>,
        wanted: watch::Sender<Wanted>,
    ) -> Entry {
        let key = (Arc::clone(sidecar), Arc::clone(identity));
        self.lock().insert(key.clone(), wanted.clone());
        self.changed();
        Entry { accepted: Arc::clone(self), key, wanted }
    }

    /// Changes when a connection comes or goes.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The connection that this peer dialled, if it stands.
    pub(super) fn of(&self, peer: &PeerView) -> Option<watch::Sender<Wanted>> {
        self.lock().get(&(Arc::clone(&peer.sidecar), Arc::clone(&peer.identity))).cloned()
    }

    /// Takes away what is wanted from all connections but those in `used`.
    pub(super) fn clear_except(&self, used: &[watch::Sender<Wanted>]) {
        for wanted in self.lock().values() {
            if !used.iter().any(|other| other.same_channel(wanted)) {
                set(wanted, BTreeMap::new());
            }
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, watch::Sender<Wanted>>> {
        self.by_peer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut by_peer = self.accepted.lock();
        if by_peer.get(&self.key).is_some_and(|current| current.same_channel(&self.wanted)) {
            by_peer.remove(&self.key);
        }
        drop(by_peer);
        self.accepted.changed();
    }
}

/// Tells a connection what to carry, if that is new.
pub(super) fn set(sender: &watch::Sender<Wanted>, wanted: BTreeMap<u32, Arc<crate::delivery::Subscriber>>) {
    sender.send_if_modified(|current| {
        let same = current.keys().eq(wanted.keys());
        if !same {
            *current = Arc::new(wanted);
        }
        !same
    });
}
