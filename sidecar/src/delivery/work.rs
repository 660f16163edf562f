//! Shared work at the edge: the lock around a desk, its timer, and the queues of its receivers, which are woken when
//! something is assigned to them. What is decided is in `work/desk.rs` and `work/settle.rs`.

mod desk;
mod ledger;
mod post;
mod receiver;
mod settle;

pub(crate) use desk::{Desk, Offered, Rules, Settle, spans_of};
pub(crate) use post::{Call, Dead, Post};

use super::buffer::{Amount, Batch, Moved, Sink};
use super::dead_letters::DeadLetters;
use super::prefixes::Prefixes;
use super::queue::Queue;
use super::spill::{Behind, joined};
use crate::messaging::Message;
use crate::metrics::ChannelMetrics;
use peer_wire::{Distance, Gap, GapReason, Span};
use runtime::clock::Instant;
use runtime::tasks::Tasks;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

struct State {
    desk: Desk,
    queues: BTreeMap<u32, Weak<Queue>>,
    /// The last id of a receiver.
    last_id: u32,
    /// When the timer is to look again.
    due: Option<Duration>,
}

/// See the head of the file.
pub(crate) struct Work {
    state: Mutex<State>,
    room: Notify,
    timer: Arc<Notify>,
    metrics: Arc<ChannelMetrics>,
    ends: Ends,
    /// What overflowed and comes back, where messages go to any receiver.
    behind: Behind,
    /// For those who tell later what became of a message.
    this: Weak<Self>,
}

/// Told which requests have failed.
pub(crate) type Failures = Box<dyn Fn(Vec<u64>) + Send + Sync>;

/// Where messages go that no receiver gets any more.
pub(crate) struct Ends {
    pub(crate) failures: Failures,
    pub(crate) dead_letters: Arc<DeadLetters>,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Work").finish_non_exhaustive()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // The timer sees that nobody is left.
        self.timer.notify_one();
    }
}

/// What a change of the desk means for others. Run it without holding the lock of a queue.
#[must_use]
pub(crate) struct Effects {
    woken: Vec<Arc<Queue>>,
    failed: Vec<u64>,
    died: Vec<Dead>,
}

impl Work {
    pub(crate) fn new(rules: Rules, metrics: Arc<ChannelMetrics>, ends: Ends) -> Arc<Self> {
        let state = State { desk: Desk::new(rules), queues: BTreeMap::new(), last_id: 0, due: None };
        let (state, room, timer) = (Mutex::new(state), Notify::new(), Arc::new(Notify::new()));
        let behind = Behind::new(Arc::clone(&metrics));
        Arc::new_cyclic(|this| Self { state, room, timer, metrics, ends, behind, this: Weak::clone(this) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the desk; what it means for others is returned.
    fn change<R>(&self, work: impl FnOnce(&mut Desk) -> R) -> (R, Effects) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let before = state.desk.waiting();
        let result = work(&mut state.desk);
        let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.lag.add(signed(state.desk.waiting()) - signed(before));
        for (reason, messages) in state.desk.poll_dropped() {
            self.metrics.drop_counted(reason.as_str(), messages);
        }
        let queues = &state.queues;
        let woken = state.desk.poll_woken().into_iter();
        let woken = woken.filter_map(|id| queues.get(&id).and_then(Weak::upgrade)).collect();
        let (failed, died) = (state.desk.poll_failed(), state.desk.poll_died());
        let due = state.desk.due();
        if due != state.due {
            state.due = due;
            self.timer.notify_one();
        }
        (result, Effects { woken, failed, died })
    }

    fn run(&self, effects: Effects) {
        for queue in effects.woken {
            queue.wake();
        }
        if !effects.failed.is_empty() {
            (self.ends.failures)(effects.failed);
        }
        if !effects.died.is_empty() {
            self.ends.dead_letters.take(&self.this, effects.died);
        }
    }

    /// Changes the desk and tells all whom it concerns.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Desk) -> R) -> R {
        let (result, effects) = self.change(work);
        self.run(effects);
        self.room.notify_one();
        result
    }

    pub(crate) fn load(&self) -> Amount {
        self.lock().desk.load()
    }

    pub(crate) fn has_receivers(&self) -> bool {
        self.lock().desk.has_receivers()
    }

    pub(crate) const fn behind(&self) -> &Behind {
        &self.behind
    }

    /// Told when there may be more room, or another receiver.
    pub(crate) const fn room(&self) -> &Notify {
        &self.room
    }

    /// Whether [`Self::fill`] takes all of it for certain. Where keys choose the receiver nobody can say before.
    pub(crate) fn fits(&self, messages: &[Message], sizes: &[usize]) -> bool {
        let more = Amount { messages: messages.len(), bytes: sizes.iter().sum() };
        let keyed = messages.iter().any(|message| message.key.is_some());
        !keyed && self.lock().desk.fits_pool(more)
    }

    /// Takes messages in order while there is room; returns the index of the first that it did not take.
    pub(crate) fn fill(&self, batch: &Batch) -> usize {
        let posts: Vec<Arc<Post>> = posts_of(batch, &Prefixes::default());
        self.offer(&posts, true).0
    }

    /// Waits until there may be more room, or another receiver. A receiver that comes between this call and the wait
    /// ends it too.
    pub(crate) fn room_changed(&self) -> Notified<'_> {
        self.room.notified()
    }

    /// Offers posts in order; returns how many were taken or dropped, and why not all.
    pub(crate) fn offer(&self, posts: &[Arc<Post>], block: bool) -> (usize, Offered) {
        let ((count, last), effects) = self.change(|desk| {
            for (index, post) in posts.iter().enumerate() {
                match desk.offer(post, block) {
                    Offered::Taken | Offered::Dropped => {}
                    refused => return (index, refused),
                }
            }
            (posts.len(), Offered::Taken)
        });
        self.run(effects);
        (count, last)
    }

    /// A place for another receiver, so far away.
    pub(crate) fn seat(self: &Arc<Self>, distance: Distance) -> Seat {
        let mut state = self.lock();
        state.last_id += 1;
        Seat { work: Arc::clone(self), id: state.last_id, distance }
    }

    /// Lets time act until the work is gone.
    pub(crate) fn keep_time(self: &Arc<Self>, tasks: &Tasks, origin: Instant) {
        let (work, timer) = (Arc::downgrade(self), Arc::clone(&self.timer));
        drop(tasks.spawn_until_shutdown("redelivery", async move {
            while let Some(due) = work.upgrade().map(|work| work.lock().due) {
                match due {
                    None => timer.notified().await,
                    Some(due) => {
                        if tokio::time::timeout_at(origin + due, timer.notified()).await.is_err()
                            && let Some(work) = work.upgrade()
                        {
                            let now = runtime::clock::now().saturating_duration_since(origin);
                            work.with(|desk| desk.expire(now));
                        }
                    }
                }
            }
        }));
    }
}

/// One receiver's place at shared work.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    work: Arc<Work>,
    id: u32,
    distance: Distance,
}

impl Seat {
    pub(crate) const fn work(&self) -> &Arc<Work> {
        &self.work
    }

    /// The receiver is here; `queue` is woken when something is assigned to it.
    pub(crate) fn join(&self, queue: Weak<Queue>, credit: u64, number: u64) {
        self.work.lock().queues.insert(self.id, queue);
        self.work.with(|desk| desk.join(self.id, self.distance, (credit, number)));
        // Many requests may wait for the first who comes.
        self.work.room.notify_waiters();
    }

    /// Sends what is assigned. Run the effects without holding the lock of a queue.
    pub(crate) fn take(&self, sink: &mut impl Sink, keep: bool, now: Duration) -> (Moved, Effects) {
        self.work.change(|desk| desk.take(self.id, sink, (keep, now)))
    }

    pub(crate) fn after(&self, effects: Effects, moved: usize) {
        self.work.run(effects);
        if moved > 0 {
            self.work.room.notify_one();
        }
    }

    pub(crate) fn confirm(&self, received: u64) {
        self.work.with(|desk| desk.confirm(self.id, received));
    }

    pub(crate) fn credit(&self, more: u64) {
        self.work.with(|desk| desk.credit(self.id, more));
    }

    pub(crate) fn set_credit(&self, credit: u64) {
        self.work.with(|desk| desk.set_credit(self.id, credit));
    }

    pub(crate) fn away(&self) {
        self.work.with(|desk| desk.away(self.id));
    }

    pub(crate) fn back(&self, received: u64, credit: u64) -> u64 {
        self.work.with(|desk| desk.back(self.id, received, credit))
    }

    pub(crate) fn leave(&self, counted: Option<GapReason>) -> Option<Gap> {
        let gap = self.work.with(|desk| desk.leave(self.id, counted));
        self.work.lock().queues.remove(&self.id);
        if counted != Some(GapReason::Shutdown) || self.work.has_receivers() {
            return gap;
        }
        // The last one of a process that ends: what overflowed is not handed over any more.
        let behind = self.work.behind.give_up(GapReason::Shutdown);
        if let Some(behind) = behind {
            self.work.metrics.drop_counted(GapReason::Shutdown.as_str(), behind.messages);
        }
        joined(gap, behind)
    }

    pub(crate) fn tell(&self, gap: Gap) {
        self.work.with(|desk| desk.tell(gap, self.id));
    }

    pub(crate) fn ack(&self, spans: &[Span]) {
        self.work.with(|desk| desk.ack(self.id, spans));
    }

    pub(crate) fn nack(&self, spans: &[Span], delay: Duration, now: Duration) {
        self.work.with(|desk| desk.nack(self.id, spans, (delay, now)));
    }

    /// The sequence number of the request that was answered, if somebody still waits for it.
    pub(crate) fn reply(&self, number: u64) -> Option<u64> {
        self.work.with(|desk| desk.reply(self.id, number))
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.work.lock().desk.is_flushed() && !self.work.behind.is_behind()
    }

    pub(crate) fn set_rules(&self, rules: Rules) {
        self.work.with(|desk| desk.set_rules(rules));
    }

    /// Whether all of it has room; only where this is the one receiver.
    pub(crate) fn fits_all(&self, more: Amount) -> bool {
        self.work.lock().desk.fits_all(more)
    }

    /// Takes what matches of a batch, in order, while there is room, where this is the one receiver; returns the index of
    /// the first message that it did not take. Run the effects without holding the lock of a queue.
    pub(crate) fn fill(&self, batch: &Batch, prefixes: &Prefixes) -> (usize, Effects) {
        let posts = posts_of(batch, prefixes);
        let (refused, effects) = self.work.change(|desk| {
            posts.iter().find(|post| desk.offer(post, true) != Offered::Taken).map(|post| post.sequence)
        });
        let index = refused.and_then(|sequence| usize::try_from(sequence - batch.sequence(0)).ok());
        (index.unwrap_or(batch.len()), effects)
    }

    /// Takes what matches of a batch, where this is the one receiver: whether it fits or not, or dropping what does not.
    /// Run the effects without holding the lock of a queue.
    pub(crate) fn offer(&self, batch: &Batch, prefixes: &Prefixes, drops: bool) -> Effects {
        let posts = posts_of(batch, prefixes);
        let ((), effects) = self.work.change(|desk| {
            for post in &posts {
                if drops {
                    desk.offer(post, false);
                } else {
                    desk.force(post);
                }
            }
        });
        effects
    }
}

fn posts_of(batch: &Batch, prefixes: &Prefixes) -> Vec<Arc<Post>> {
    let posts = batch
        .matching(prefixes)
        .map(|(sequence, message)| Post::new(sequence, batch.accepted(), message.clone(), None));
    posts.map(Arc::new).collect()
}

#[cfg(test)]
mod tests;
