//! One Channel as this sidecar publishes it: the numbering, and the queues of all subscribers.

use super::buffer::{Amount, Batch};
use super::calls::Calls;
use super::dead_letters::DeadLetters;
use super::queue::Queue;
use super::record::Recorder;
use super::replay::Ring;
use super::spill::Spill;
use super::work::{Rules, Work};
use crate::messaging::{ChannelName, Message, Problem, ProblemKind};
use crate::metrics::ChannelMetrics;
use crate::view::{ChannelView, Overflow, Replay};
use peer_wire::GapReason;
use runtime::clock::{self, Instant};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

pub(super) struct State {
    /// The last sequence number that was given; 0 = none.
    pub(super) last: u64,
    pub(super) queues: Vec<Arc<Queue>>,
    ring: Ring,
    /// What the newest view says of the ring.
    pub(super) replay: Option<Replay>,
}

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With what comes from now on.
    Now,
    /// With the oldest message that is kept.
    Kept,
    /// After this sequence number, up to which it has everything. Of what it missed, so many are counted already.
    After { received: u64, counted: u64 },
}

/// See the head of the file.
pub(crate) struct Outlet {
    pub(super) name: ChannelName,
    pub(crate) metrics: Arc<ChannelMetrics>,
    publishes: AtomicBool,
    /// Held while a publish waits for room, so that batches keep their order. Fair.
    pub(super) order: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// What its receivers share, where each message goes to one of them.
    pub(super) work: OnceLock<Arc<Work>>,
    /// Messages that used up their attempts.
    pub(super) dead_letters: Arc<DeadLetters>,
    /// Copies that wait to be written.
    pub(super) recorder: Arc<Recorder>,
    /// What subscribers have no room for, where it goes through a Topic.
    pub(super) spill: Arc<Spill>,
    /// Requests that wait for their reply.
    pub(super) calls: Arc<Calls>,
    /// When the app first published here.
    pub(super) begun: OnceLock<Instant>,
    /// A subscriber came, or came back, or fewer are asked for.
    arrived: Notify,
    /// What the newest view asks for, so that a publish that waits already need not wait for more.
    ready_most: AtomicUsize,
}

/// How long a publish waits for subscribers where the Channel names no `blockTimeout`.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the view says about a publish.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) overflow: Overflow,
    /// How long a publish waits in all: for subscribers, for its turn, and for room.
    pub(crate) patience: Duration,
    /// Subscribers that it waits for.
    pub(crate) ready_subscribers: usize,
    pub(crate) limits: Amount,
    /// Whether a Topic gets a copy.
    pub(crate) record: bool,
}

impl From<&ChannelView> for Policy {
    fn from(view: &ChannelView) -> Self {
        let patience = if view.overflow == Overflow::Block { view.block_timeout } else { PATIENCE };
        Self {
            overflow: view.overflow,
            patience,
            ready_subscribers: view.ready_subscribers,
            limits: limits_of(view),
            record: view.record.is_some(),
        }
    }
}

/// The buffer of one subscriber.
pub(crate) const fn limits_of(view: &ChannelView) -> Amount {
    Amount { messages: view.buffer_messages, bytes: view.buffer_bytes }
}

impl Outlet {
    pub(crate) fn new(name: ChannelName, metrics: Arc<ChannelMetrics>) -> Self {
        let state = State { last: 0, queues: Vec::new(), ring: Ring::default(), replay: None };
        let calls = Arc::new(Calls::new(name.clone()));
        let dead_letters = Arc::new(DeadLetters::new(Arc::clone(&metrics)));
        let recorder = Arc::new(Recorder::new(Arc::clone(&metrics)));
        let spill = Arc::new(Spill::new(Arc::clone(&metrics)));
        Self {
            name,
            metrics,
            publishes: AtomicBool::new(false),
            order: tokio::sync::Mutex::new(()),
            state: Mutex::new(state),
            work: OnceLock::new(),
            dead_letters,
            recorder,
            spill,
            calls,
            begun: OnceLock::new(),
            arrived: Notify::new(),
            ready_most: AtomicUsize::new(usize::MAX),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the app has published here.
    pub(crate) fn publishes(&self) -> bool {
        self.publishes.load(Ordering::Relaxed)
    }

    /// Remembers that the app publishes here; true the first time.
    pub(crate) fn note_publisher(&self) -> bool {
        let first = !self.publishes.swap(true, Ordering::Relaxed);
        if first {
            self.begun.get_or_init(clock::now);
        }
        first
    }

    /// Takes the next `count` sequence numbers; returns the first of them.
    pub(super) fn number(&self, count: usize) -> u64 {
        let mut state = self.lock();
        let first = state.last.saturating_add(1);
        state.last = state.last.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        first
    }

    pub(crate) fn last_sequence(&self) -> u64 {
        self.lock().last
    }

    pub(crate) fn is_unused(&self) -> bool {
        !self.publishes() && self.lock().queues.is_empty()
    }

    /// A subscriber gets everything from where it begins; returns the last sequence number before that. What it missed
    /// and is not kept any more is told first. Nothing is published meanwhile, so nothing is left out or doubled.
    pub(crate) fn add(&self, queue: Arc<Queue>, begin: Begin, now: Duration) -> u64 {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.ring.limit(state.replay, now);
        // Without a message that is kept, the first to come is the next one.
        let first = state.ring.first().unwrap_or_else(|| state.last.saturating_add(1));
        let (received, missed, counted) = match begin {
            Begin::Now => (state.last, None, 0),
            Begin::Kept => (first.saturating_sub(1), None, 0),
            Begin::After { received, counted } => {
                let received = received.min(state.last);
                let next = received.saturating_add(1);
                let missed = (next < first)
                    .then(|| queue.missed(next, first.saturating_sub(1), GapReason::Disconnected));
                (received, missed, counted)
            }
        };
        if let Some(gap) = missed {
            self.metrics.drop_counted(gap.reason.as_str(), gap.messages.saturating_sub(counted));
        }
        queue.begin(missed, state.ring.after(received));
        state.queues.push(queue);
        state.note_kept(&self.metrics);
        self.arrived.notify_one();
        received
    }

    /// Whether the publisher keeps messages.
    pub(crate) fn keeps(&self) -> bool {
        self.lock().replay.is_some()
    }

    /// Lets go of what is kept for too long.
    pub(crate) fn sweep(&self, now: Duration) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.ring.messages() > 0 {
            state.ring.limit(state.replay, now);
            state.note_kept(&self.metrics);
        }
    }

    /// The Channel is gone from the view: nothing is kept of it.
    pub(crate) fn forget(&self) {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.replay = None;
        state.ring.limit(None, Duration::ZERO);
        state.note_kept(&self.metrics);
    }

    /// A subscriber that was away is back.
    pub(crate) fn note_arrival(&self) {
        self.arrived.notify_one();
    }

    /// Subscribers of this pod and of others that are connected now.
    fn connected(&self) -> usize {
        self.lock().queues.iter().filter(|queue| queue.is_connected()).count()
    }

    pub(crate) fn remove(&self, queue: &Arc<Queue>) {
        self.lock().queues.retain(|other| !Arc::ptr_eq(other, queue));
    }

    /// Applies a new view at once, to publishes that wait too.
    pub(crate) fn apply(&self, view: &ChannelView, now: Duration) {
        self.ready_most.store(view.ready_subscribers, Ordering::Relaxed);
        self.arrived.notify_one();
        let mut guard = self.lock();
        let state = &mut *guard;
        for queue in &state.queues {
            queue.set_limits(limits_of(view));
        }
        state.replay = view.replay;
        state.ring.limit(view.replay, now);
        state.note_kept(&self.metrics);
    }

    pub(super) fn set_rules(&self, rules: Rules) {
        for queue in &self.lock().queues {
            queue.set_rules(rules);
        }
    }

    /// Publishes in order; returns the sequence number of the first message. The messages were checked before.
    pub(crate) async fn publish(
        &self,
        policy: Policy,
        mut messages: Vec<Message>,
        origin: Instant,
    ) -> Result<u64, Problem> {
        let begun = clock::now();
        let total = messages.len();
        let deadline = begun + policy.patience;
        let Ok(_order) = tokio::time::timeout_at(deadline, self.order.lock()).await else {
            return Err(self.overtaken(policy, total));
        };
        if policy.ready_subscribers > 0
            && tokio::time::timeout_at(deadline, self.ready(policy)).await.is_err()
        {
            return Err(self.not_ready(policy, total));
        }
        if policy.overflow == Overflow::Spill {
            return self.publish_spilling(policy, messages, (begun, origin)).await;
        }
        if let Some(work) = self.work.get() {
            return self.share_out(work, policy, messages, (begun, origin)).await;
        }
        let first = self.lock().last.saturating_add(1);
        let mut published = 0;
        while !messages.is_empty() {
            let rest = split_piece(&mut messages, policy.limits);
            let piece = std::mem::replace(&mut messages, rest);
            let sizes: Vec<usize> = piece.iter().map(Message::size_bytes).collect();
            let count = piece.len();
            if policy.record
                && tokio::time::timeout_at(deadline, self.recorder.room(&sizes, count, policy.limits))
                    .await
                    .is_err()
            {
                return Err(self.not_recorded(policy, (published, total)));
            }
            if let Err(queue) = self.put(policy, piece, sizes, (begun, origin)).await {
                return Err(self.blocked(&queue, policy, (published, total)));
            }
            published += count;
            self.metrics.published.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        }
        self.metrics.publish_duration.observe((clock::now() - begun).as_secs_f64());
        Ok(first)
    }

    /// Waits until there are as many subscribers as the Channel asks for. The caller has its turn, so nobody else
    /// waits here.
    async fn ready(&self, policy: Policy) {
        while self.connected() < policy.ready_subscribers.min(self.ready_most.load(Ordering::Relaxed)) {
            self.arrived.notified().await;
        }
    }

    /// Puts one piece into all queues, or fails with the queue that had no room in time.
    async fn put(
        &self,
        policy: Policy,
        piece: Vec<Message>,
        sizes: Vec<usize>,
        (begun, origin): (Instant, Instant),
    ) -> Result<(), Arc<Queue>> {
        let deadline = begun + policy.patience;
        loop {
            let full = {
                // The Channel spilled until now: who is behind gets the rest of that first.
                let spilled = self.spill.has_begun();
                let mut state = self.lock();
                let full = state.queues.iter().find(|queue| {
                    let blocks = policy.overflow == Overflow::Block && !queue.has_room(&piece, &sizes);
                    blocks || (spilled && queue.behind().is_behind())
                });
                let full = full.map(Arc::clone);
                let Some(full) = full else {
                    if policy.record {
                        self.recorder.take(state.last.saturating_add(1), piece.iter());
                    }
                    state.push(policy, piece, sizes, begun - origin);
                    if state.replay.is_some() {
                        state.note_kept(&self.metrics);
                    }
                    return Ok(());
                };
                full
            };
            if tokio::time::timeout_at(deadline, full.room_changed()).await.is_err() {
                return Err(full);
            }
        }
    }

    /// Another publisher of this pod waits for room already, and longer than this one may.
    fn overtaken(&self, policy: Policy, total: usize) -> Problem {
        if self.connected() < policy.ready_subscribers {
            return self.not_ready(policy, total);
        }
        Problem::new(
            ProblemKind::DeadlineExceeded,
            format!(
                "{}: another publisher of this pod waited for a subscriber's room for all of {:?}; 0 of {total} messages \
                 of this batch were published; have the subscribers read faster, or change spec.delivery",
                self.name, policy.patience,
            ),
        )
    }

    fn not_ready(&self, policy: Policy, total: usize) -> Problem {
        Problem::new(
            ProblemKind::Unavailable,
            format!(
                "{}: spec.ready.subscribers asks for {}, and {} subscribers are connected to this pod after {:?}; 0 of \
                 {total} messages of this batch were published; start the others, or lower spec.ready.subscribers",
                self.name,
                policy.ready_subscribers,
                self.connected(),
                policy.patience,
            ),
        )
    }

    fn blocked(&self, queue: &Queue, policy: Policy, (published, total): (usize, usize)) -> Problem {
        let (amount, limits) = (queue.amount(), queue.limits());
        Problem::new(
            ProblemKind::DeadlineExceeded,
            format!(
                "{}: subscriber {} had no room for {:?}: {} of {} messages and {} of {} bytes wait for it; {published} of \
                 {total} messages of this batch were published; have it read faster, or change \
                 spec.delivery.blockTimeout, spec.delivery.buffer or spec.delivery.overflow",
                self.name,
                queue.who(),
                policy.patience,
                amount.messages,
                limits.messages,
                amount.bytes,
                limits.bytes,
            ),
        )
    }
}

impl State {
    pub(super) fn note_kept(&self, metrics: &ChannelMetrics) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.replay_messages.set(number(self.ring.messages()));
        metrics.replay_bytes.set(number(self.ring.bytes()));
    }

    fn push(&mut self, policy: Policy, piece: Vec<Message>, sizes: Vec<usize>, accepted: Duration) {
        if self.queues.is_empty() && self.replay.is_none() {
            self.last = self.last.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            return;
        }
        let batch = self.begin_batch(piece, sizes, accepted);
        for queue in &self.queues {
            queue.offer(&batch, policy.overflow);
        }
    }

    /// Numbers a piece, and keeps it where something is kept.
    pub(super) fn begin_batch(
        &mut self,
        piece: Vec<Message>,
        sizes: Vec<usize>,
        accepted: Duration,
    ) -> Arc<Batch> {
        let first = self.last.saturating_add(1);
        self.last = self.last.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        let batch = Arc::new(Batch::new(first, accepted, piece, sizes));
        if self.replay.is_some() {
            self.ring.push(&batch, self.replay, accepted);
        }
        batch
    }
}

/// Cuts `messages` down to what a subscriber's buffer can hold at once, at least one; returns the rest.
pub(super) fn split_piece(messages: &mut Vec<Message>, limits: Amount) -> Vec<Message> {
    let mut bytes = 0_usize;
    let mut count = 0;
    for message in messages.iter() {
        bytes = bytes.saturating_add(message.size_bytes());
        if count > 0 && (count >= limits.messages || bytes > limits.bytes) {
            break;
        }
        count += 1;
    }
    messages.split_off(count)
}
