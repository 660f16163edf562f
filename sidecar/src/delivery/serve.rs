//! Subscriptions of peers: admitted by the view, found again after a lost connection, cut when access ends.

use super::buffer::Sink;
use super::core::Core;
use super::outlet::limits_of;
use super::queue::Queue;
use super::waker::Waker;
use crate::messaging::{ChannelName, Problem};
use crate::route;
use crate::view::View;
use bytes::Bytes;
use peer_wire::{Gap, GapReason, Subscribe};
use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a lost connection's queue is kept for its subscriber to come back.
const AWAY_MAX: Duration = Duration::from_secs(30);
/// Most subscriptions of all peers together.
const GUESTS_MAX: usize = 65_536;

/// What makes a peer's subscription the same one over several connections.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    identity: Arc<str>,
    sidecar: Arc<str>,
    /// Of the peer's process.
    epoch: u64,
    id: u32,
}

#[derive(Clone)]
struct Guest {
    name: ChannelName,
    queue: Arc<Queue>,
}

/// The subscriptions of all peers.
#[derive(Default)]
pub(crate) struct Guests {
    by_key: BTreeMap<Key, Guest>,
}

/// Who asks, over which connection, for what.
pub(crate) struct Asked<'a> {
    pub(crate) identity: &'a Arc<str>,
    pub(crate) sidecar: &'a Arc<str>,
    pub(crate) epoch: u64,
    pub(crate) id: u32,
    pub(crate) subscribe: Subscribe,
    pub(crate) waker: &'a Arc<Waker>,
}

/// A peer's subscription on one connection.
pub(crate) struct Served {
    queue: Arc<Queue>,
    /// What follows comes after this sequence number.
    pub(crate) received: u64,
    key: Key,
    generation: u64,
}

impl Served {
    /// Hands over what waits, unless another connection has the subscription now.
    pub(crate) fn drain(&self, sink: &mut impl Sink, now: Duration) {
        self.queue.drain(self.generation, sink, now);
    }

    /// The peer has everything up to `received`.
    pub(crate) fn confirm(&self, received: u64) {
        self.queue.confirm(self.generation, received);
    }

    pub(crate) fn set_prefixes(&self, prefixes: Vec<Bytes>) {
        if self.queue.is_generation(self.generation) {
            self.queue.set_prefixes(prefixes);
        }
    }

    /// Nothing waits, or not for this connection.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.queue.is_generation(self.generation) || self.queue.is_empty()
    }

    pub(crate) fn revoked(&self) -> Option<Problem> {
        self.queue.revoked()
    }

    /// Ends the queue with what waits in it, as this process ends.
    pub(crate) fn shut_down(&self) -> Option<Gap> {
        self.queue.close_of(self.generation, GapReason::Shutdown)
    }
}

impl Core {
    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many subscriptions of peers are served, those that are away included.
    #[cfg(test)]
    pub(crate) fn guest_count(&self) -> usize {
        self.guests().by_key.len()
    }

    /// Admits a peer's subscription, or says why not.
    pub(crate) fn serve(&self, asked: Asked<'_>) -> Result<Served, Problem> {
        let name = ChannelName {
            namespace: Arc::from(asked.subscribe.namespace.as_str()),
            name: Arc::from(asked.subscribe.name.as_str()),
        };
        let view = self.view();
        let channel = route::serve(&view, &name, asked.identity)?;
        let limits = limits_of(channel);
        let (identity, sidecar) = (Arc::clone(asked.identity), Arc::clone(asked.sidecar));
        let key = Key { identity, sidecar, epoch: asked.epoch, id: asked.id };
        let resume = asked.subscribe.resume.filter(|resume| resume.epoch == self.epoch());
        let outlet = self.outlet(&name);
        let mut guests = self.guests();
        let known = guests.by_key.get(&key).filter(|guest| guest.name == name).cloned();
        if let (Some(guest), Some(resume)) = (&known, resume) {
            guest.queue.set_prefixes(asked.subscribe.prefixes);
            let received = resume.received.min(outlet.last_sequence());
            let generation = guest.queue.attach(Arc::clone(asked.waker), asked.id, Some(received));
            return Ok(Served { queue: Arc::clone(&guest.queue), received, key, generation });
        }
        if let Some(guest) = known {
            outlet.remove(&guest.queue);
            guest.queue.close(Some(GapReason::Disconnected));
        }
        if guests.by_key.len() >= GUESTS_MAX {
            let text = format!("{name}: {GUESTS_MAX} subscriptions of peers are served already");
            return Err(Problem::new(crate::messaging::ProblemKind::ResourceExhausted, text));
        }
        let who = Arc::from(format!("{} ({})", asked.sidecar, asked.identity));
        let queue = Arc::new(Queue::remote(who, Arc::clone(&outlet.metrics), limits));
        let unfiltered = asked.subscribe.prefixes.is_empty();
        queue.set_prefixes(asked.subscribe.prefixes);
        let generation = queue.attach(Arc::clone(asked.waker), asked.id, None);
        let last = outlet.add(Arc::clone(&queue));
        let received = resume.map_or(last, |resume| resume.received.min(last));
        if received < last {
            // It was away for longer than its queue was kept.
            let messages = if unfiltered { last - received } else { 0 };
            queue.push_gap_first(Gap {
                first: received + 1,
                last,
                messages,
                reason: GapReason::Disconnected,
            });
        }
        guests.by_key.insert(key.clone(), Guest { name, queue: Arc::clone(&queue) });
        Ok(Served { queue, received, key, generation })
    }

    /// The subscription ended for good.
    pub(crate) fn dismiss(&self, served: &Served) {
        if served.queue.is_generation(served.generation) {
            self.remove_guest(&served.key, None);
        }
    }

    fn remove_guest(&self, key: &Key, counted: Option<GapReason>) {
        let Some(guest) = self.guests().by_key.remove(key) else { return };
        self.outlet(&guest.name).remove(&guest.queue);
        guest.queue.close(counted);
    }

    /// The connection is lost: the queue is kept for a while.
    pub(crate) fn lose(self: &Arc<Self>, served: Served) {
        if !served.queue.detach(served.generation) {
            return;
        }
        let core = Arc::clone(self);
        self.background.spawn_until_shutdown("subscriber away", async move {
            tokio::time::sleep(AWAY_MAX).await;
            if served.queue.is_away_since(served.generation) {
                // Counted now; told when the subscriber should come back after all.
                core.remove_guest(&served.key, Some(GapReason::Disconnected));
            }
        });
    }

    /// Cuts the subscriptions of peers that a view does not allow any more.
    pub(super) fn revoke_guests(&self, view: &View) {
        let guests: Vec<(Key, Guest)> =
            self.guests().by_key.iter().map(|(key, guest)| (key.clone(), guest.clone())).collect();
        for (key, guest) in guests {
            if let Err(problem) = route::serve(view, &guest.name, &key.identity) {
                guest.queue.revoke(problem);
            }
        }
    }
}
