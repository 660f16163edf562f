//! Subscriptions of peers: admitted by the view, found again after a lost connection, cut when access ends.

#[cfg(test)]
use super::buffer::Amount;
use super::buffer::Sink;
use super::calls::problem_of;
use super::core::Core;
use super::outlet::{Begin, Outlet, limits_of};
use super::queue::Queue;
use super::waker::Waker;
use crate::messaging::{ChannelName, Problem, ProblemKind};
use crate::route;
use crate::view::{ChannelView, Pattern, View};
use bytes::Bytes;
use peer_wire::{Distance, Failure, Gap, GapReason, Message, Session, Span, Subscribe};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a lost connection's queue is kept for its subscriber to come back.
const AWAY_MAX: Duration = Duration::from_secs(30);
/// The same where others can do the work meanwhile.
const AWAY_SHARED_MAX: Duration = Duration::from_secs(5);
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
    /// Of the latest Subscribe; 0 where the peer does not count them.
    ordinal: u64,
}

impl Guest {
    /// Asks again. Two connections may pass each other: what was asked earlier over the other one must not take the
    /// subscription back from the one that has it.
    fn note(&mut self, ordinal: Option<u64>) -> Result<Self, Problem> {
        let ordinal = ordinal.unwrap_or(self.ordinal);
        if ordinal < self.ordinal {
            let text = format!("{}: a later connection has this subscription", self.name);
            return Err(Problem::new(ProblemKind::Unavailable, text));
        }
        self.ordinal = ordinal;
        Ok(self.clone())
    }
}

/// The subscriptions of all peers.
#[derive(Default)]
pub(crate) struct Guests {
    by_key: BTreeMap<Key, Guest>,
    /// Who was away for too long, with how many messages were counted as dropped then: what they are told when they come
    /// back after all includes these.
    departed: BTreeMap<Key, u64>,
}

/// Most that is remembered of those who were away for too long. Of more, some are counted twice when they come back.
const DEPARTED_MAX: usize = 4096;

/// Who asks, over which connection, for what.
pub(crate) struct Asked<'a> {
    pub(crate) identity: &'a Arc<str>,
    pub(crate) sidecar: &'a Arc<str>,
    pub(crate) epoch: u64,
    pub(crate) id: u32,
    /// From this sidecar to the peer.
    pub(crate) distance: Distance,
    pub(crate) subscribe: Subscribe,
    pub(crate) waker: &'a Arc<Waker>,
}

/// A peer's subscription on one connection.
pub(crate) struct Served {
    name: ChannelName,
    queue: Arc<Queue>,
    /// The largest reply that may come; 0 = none.
    pub(crate) reply_bytes_max: usize,
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

    /// The peer has everything up to `received`, and is ready for so many more.
    pub(crate) fn confirm(&self, received: u64, more: u32) {
        self.queue.confirm(self.generation, received);
        self.queue.credit(self.generation, more);
    }

    /// The app is done with these.
    pub(crate) fn ack(&self, spans: &[Span]) {
        if let Some(seat) = self.queue.seat().filter(|_| self.queue.is_generation(self.generation)) {
            seat.ack(spans);
        }
    }

    /// The app wants these again, after `delay`.
    pub(crate) fn nack(&self, spans: &[Span], delay: Duration, now: Duration) {
        if let Some(seat) = self.queue.seat().filter(|_| self.queue.is_generation(self.generation)) {
            seat.nack(spans, delay, now);
        }
    }

    /// An answer has come.
    pub(crate) fn reply(&self, core: &Core, number: u64, outcome: Result<Message, Failure>) {
        let sequence = self.queue.seat().and_then(|seat| seat.reply(number));
        core.answered(&self.name, sequence, outcome.map_err(problem_of));
    }

    /// Tells the peer of a gap at the end.
    pub(crate) fn tell_last(&self, session: &mut Session, id: u32, gap: Gap) {
        if self.queue.seat().is_some() {
            session.send_next_gap(id, gap);
        } else {
            session.send_gap(id, gap);
        }
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

    /// What the queue of each of them holds.
    #[cfg(test)]
    pub(crate) fn guest_amounts(&self) -> Vec<(ChannelName, Amount)> {
        self.guests().by_key.values().map(|guest| (guest.name.clone(), guest.queue.amount())).collect()
    }

    /// As if everybody who is away had been so for too long.
    #[cfg(test)]
    pub(crate) fn forget_away(&self) {
        let guests: Vec<(Key, Guest)> =
            self.guests().by_key.iter().map(|(key, guest)| (key.clone(), guest.clone())).collect();
        for (key, guest) in guests {
            if !guest.queue.is_connected() {
                self.remove_away(&key);
            }
        }
    }

    /// Admits a peer's subscription, or says why not.
    pub(crate) fn serve(&self, asked: Asked<'_>) -> Result<Served, Problem> {
        let name = ChannelName {
            namespace: Arc::from(asked.subscribe.namespace.as_str()),
            name: Arc::from(asked.subscribe.name.as_str()),
        };
        let view = self.view();
        let channel = route::serve(&view, &name, asked.identity)?;
        self.audit_guest(&name, channel, asked.identity);
        if channel.pattern != Pattern::PubSub && !asked.subscribe.prefixes.is_empty() {
            let text = format!("{name}: prefixes are for spec.pattern PubSub");
            return Err(Problem::new(ProblemKind::InvalidArgument, text));
        }
        let (identity, sidecar) = (Arc::clone(asked.identity), Arc::clone(asked.sidecar));
        let key = Key { identity, sidecar, epoch: asked.epoch, id: asked.id };
        let outlet = self.outlet(&name);
        let mut guests = self.guests();
        let known = guests.by_key.get_mut(&key).filter(|guest| guest.name == name);
        let known = known.map(|guest| guest.note(asked.subscribe.ordinal)).transpose()?;
        let unheard = || known.as_ref().and_then(|guest| guest.queue.unheard());
        let from = self.resume(&asked).or_else(unheard);
        let (queue, (received, generation)) = match (known, from) {
            (Some(guest), Some(from)) => {
                let place = go_on(&guest.queue, &outlet, (&asked, from));
                outlet.note_arrival();
                (guest.queue, place)
            }
            (known, _) => {
                if let Some(guest) = known {
                    outlet.remove(&guest.queue);
                    guest.queue.close(Some(GapReason::Disconnected));
                }
                if guests.by_key.len() >= GUESTS_MAX {
                    let text = format!("{name}: {GUESTS_MAX} subscriptions of peers are served already");
                    return Err(Problem::new(ProblemKind::ResourceExhausted, text));
                }
                let counted = guests.departed.remove(&key).unwrap_or(0);
                let made = self.begin(&outlet, channel, (&asked, counted));
                made.0.begins(made.1.0);
                let (queue, ordinal) = (Arc::clone(&made.0), asked.subscribe.ordinal.unwrap_or(0));
                guests.by_key.insert(key.clone(), Guest { name: name.clone(), queue, ordinal });
                made
            }
        };
        let reply_bytes_max =
            if channel.pattern == Pattern::RequestReply { channel.max_message_bytes } else { 0 };
        Ok(Served { name, queue, reply_bytes_max, received, key, generation })
    }

    /// Where the subscription stood, if that was with this process.
    fn resume(&self, asked: &Asked<'_>) -> Option<u64> {
        let resume = asked.subscribe.resume.filter(|resume| resume.epoch == self.epoch());
        resume.map(|resume| resume.received)
    }

    /// A new queue. Returns it, after which number it begins, and its generation. `counted`: messages that are counted as
    /// dropped already of those that it missed.
    fn begin(
        &self,
        outlet: &Outlet,
        channel: &ChannelView,
        (asked, counted): (&Asked<'_>, u64),
    ) -> (Arc<Queue>, (u64, u64)) {
        let who = Arc::from(format!("{} ({})", asked.sidecar, asked.identity));
        let queue = Queue::remote(who, Arc::clone(&outlet.metrics), limits_of(channel));
        let queue = Arc::new(queue.seated(self.seat(outlet, channel, asked.distance)));
        queue.set_prefixes(asked.subscribe.prefixes.clone());
        let generation = queue.attach(Arc::clone(asked.waker), asked.id, None);
        let resume = self.resume(asked);
        let shared = channel.pattern != Pattern::PubSub;
        if queue.seat().is_some() {
            let received = resume.unwrap_or(0);
            queue.join(u64::from(asked.subscribe.credit_messages), received);
            let last = outlet.add(Arc::clone(&queue), Begin::Now, self.now());
            if resume.is_some() && !shared {
                // Its queue is gone: nobody knows how much of it was meant for this subscriber.
                let last = last.max(1);
                queue.tell_first(Gap { first: last, last, messages: 0, reason: GapReason::Disconnected });
            }
            return (queue, (received, generation));
        }
        let begin = match resume {
            // It was away for longer than its queue was kept.
            Some(received) => Begin::After { received, counted },
            None if asked.subscribe.replay => Begin::Kept,
            None => Begin::Now,
        };
        let received = outlet.add(Arc::clone(&queue), begin, self.now());
        (queue, (received, generation))
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
        let gap = guest.queue.close(counted);
        let Some(gap) = gap.filter(|gap| counted.is_some() && gap.messages > 0) else { return };
        let mut guests = self.guests();
        if guests.departed.len() >= DEPARTED_MAX {
            guests.departed.pop_first();
        }
        guests.departed.insert(key.clone(), gap.messages);
    }

    /// The subscriber was away for too long. What waited is counted now and told when it should come back after all;
    /// where messages are kept it may get them then, and what it does not get is counted then.
    fn remove_away(&self, key: &Key) {
        let Some(name) = self.guests().by_key.get(key).map(|guest| guest.name.clone()) else { return };
        let keeps = self.outlet(&name).keeps();
        self.remove_guest(key, (!keeps).then_some(GapReason::Disconnected));
    }

    /// The connection is lost: the queue is kept for a while.
    pub(crate) fn lose(self: &Arc<Self>, served: Served) {
        if !served.queue.detach(served.generation) {
            return;
        }
        let core = Arc::clone(self);
        let shared = self.outlet(&served.name).work.get().is_some();
        let patience = if shared { AWAY_SHARED_MAX } else { AWAY_MAX };
        self.background.spawn_until_shutdown("subscriber away", async move {
            tokio::time::sleep(patience).await;
            if served.queue.is_away_since(served.generation) {
                core.remove_away(&served.key);
            }
        });
    }

    /// Whose subscriptions are served, of which Channel.
    pub(super) fn guests_by_identity(&self) -> BTreeSet<(ChannelName, Arc<str>)> {
        let guests = self.guests();
        guests.by_key.iter().map(|(key, guest)| (guest.name.clone(), Arc::clone(&key.identity))).collect()
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

/// Another connection takes over the queue, of which the subscriber has everything up to `received`. Returns where it
/// goes on, and the generation.
fn go_on(queue: &Queue, outlet: &Outlet, (asked, received): (&Asked<'_>, u64)) -> (u64, u64) {
    queue.set_prefixes(asked.subscribe.prefixes.clone());
    if let Some(seat) = queue.seat() {
        let generation = queue.attach(Arc::clone(asked.waker), asked.id, None);
        return (seat.back(received, u64::from(asked.subscribe.credit_messages)), generation);
    }
    let received = received.min(outlet.last_sequence());
    (received, queue.attach(Arc::clone(asked.waker), asked.id, Some(received)))
}
