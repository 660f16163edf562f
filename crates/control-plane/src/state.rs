//! What the service and the objects' handle share: the index, and for each open stream a slot that
//! holds the latest view alone, so that a slow sidecar never makes a queue grow.

use crate::authority::Authority;
use crate::metrics::Metrics;
use control::index::{ConnectError, Index, Link};
use control::view::{Trust, View};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

pub(crate) type Slot = watch::Receiver<Option<Arc<View>>>;

pub(crate) struct Inner {
    pub(crate) index: Index,
    pub(crate) authority: Arc<Authority>,
    slots: BTreeMap<Link, watch::Sender<Option<Arc<View>>>>,
    closed: bool,
}

pub(crate) struct State {
    inner: Mutex<Inner>,
    /// Something changed: views may have to be computed.
    pub(crate) changed: Notify,
    /// The authority was replaced: the own certificate has to be made again.
    pub(crate) authority_changed: Notify,
    pub(crate) metrics: Metrics,
    started: runtime::clock::Instant,
}

pub(crate) fn trust(authority: &Authority) -> Trust {
    Trust { domain: authority.trust_domain().to_owned(), bundle_pem: authority.bundle_pem() }
}

impl State {
    pub(crate) fn new(settings: control::Settings, authority: Authority, metrics: Metrics) -> Self {
        let index = Index::new(settings, trust(&authority), Duration::ZERO);
        let authority = Arc::new(authority);
        let inner = Inner { index, authority, slots: BTreeMap::new(), closed: false };
        Self {
            inner: Mutex::new(inner),
            changed: Notify::new(),
            authority_changed: Notify::new(),
            metrics,
            started: runtime::clock::now(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the index and has the views computed soon.
    pub(crate) fn change<T>(&self, work: impl FnOnce(&mut Index) -> T) -> T {
        let result = work(&mut self.lock().index);
        self.changed.notify_one();
        result
    }

    pub(crate) fn now(&self) -> Duration {
        runtime::clock::now().saturating_duration_since(self.started)
    }

    pub(crate) fn authority(&self) -> Arc<Authority> {
        Arc::clone(&self.lock().authority)
    }

    /// Whether `sidecar` may come in: one that is known always may.
    pub(crate) fn has_room(&self, sidecar: &str, sidecars_max: usize) -> bool {
        let inner = self.lock();
        inner.index.sidecar_count() < sidecars_max || inner.index.knows(sidecar)
    }

    /// Takes a sidecar in, with a slot for its stream: both at once, or its first view could be computed before there is
    /// a place for it. `None` when the service is closing.
    pub(crate) fn open(
        &self,
        connect: impl FnOnce(&mut Index) -> Result<Link, ConnectError>,
    ) -> Result<Option<(Link, Slot)>, ConnectError> {
        let mut inner = self.lock();
        if inner.closed {
            return Ok(None);
        }
        let link = connect(&mut inner.index)?;
        let (sender, receiver) = watch::channel(None);
        inner.slots.retain(|other, _| other.sidecar() != link.sidecar());
        inner.slots.insert(link.clone(), sender);
        drop(inner);
        self.changed.notify_one();
        Ok(Some((link, receiver)))
    }

    /// The stream of `link` ended.
    pub(crate) fn close_slot(&self, link: &Link) {
        let now = self.now();
        let mut inner = self.lock();
        inner.slots.remove(link);
        inner.index.disconnect(link, now);
        drop(inner);
        self.changed.notify_one();
    }

    /// Ends every stream; new ones are refused.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.slots.clear();
    }

    /// Computes what changed and puts it into the slots; returns when to come again by itself.
    pub(crate) fn flush(&self) -> Option<Duration> {
        let now = self.now();
        let mut inner = self.lock();
        inner.index.handle_timeout(now);
        for (link, view) in inner.index.take_changed() {
            if let Some(slot) = inner.slots.get(&link) {
                slot.send_replace(Some(view));
            }
        }
        self.metrics.sidecars.set(i64::try_from(inner.index.sidecar_count()).unwrap_or(i64::MAX));
        inner.index.poll_timeout().map(|at| at.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::Identity;
    use futures::StreamExt as _;

    /// Goal: a view that is computed in the moment in which a sidecar comes in is sent, although nobody reads its stream yet.
    #[tokio::test]
    async fn the_first_view_has_a_place() {
        let settings = control::Settings { settle: Duration::ZERO, linger: Duration::ZERO };
        let authority = Authority::create("cluster.local", runtime::clock::unix_seconds()).unwrap();
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let state = State::new(settings, authority, metrics);
        let opened = state.open(|index| {
            let identity = Identity::new("shop", "checkout");
            index.connect("shop/checkout", identity, control::index::Report::default())
        });
        let (_, slot) = opened.unwrap().unwrap();
        state.flush();
        let mut views = crate::service::views_of(slot);
        assert!(views.next().await.is_some_and(|view| view.version > 0));
        state.close();
        assert!(state.open(|_| unreachable!("a closing service takes nobody in")).unwrap().is_none());
    }
}
