//! One Channel as this sidecar publishes it: the numbering, and the queues of all subscribers.

use super::buffer::{Amount, Batch};
use super::calls::Calls;
use super::queue::Queue;
use super::work::{Rules, Work};
use crate::messaging::{ChannelName, Message, Problem, ProblemKind};
use crate::metrics::ChannelMetrics;
use crate::view::{ChannelView, Overflow};
use runtime::clock::{self, Instant};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

struct State {
    /// The last sequence number that was given; 0 = none.
    last: u64,
    queues: Vec<Arc<Queue>>,
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
    /// Requests that wait for their reply.
    pub(super) calls: Arc<Calls>,
    /// When the app first published here.
    pub(super) begun: OnceLock<Instant>,
}

/// What the view says about overflow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) overflow: Overflow,
    pub(crate) block_timeout: Duration,
    pub(crate) limits: Amount,
}

impl From<&ChannelView> for Policy {
    fn from(view: &ChannelView) -> Self {
        Self { overflow: view.overflow, block_timeout: view.block_timeout, limits: limits_of(view) }
    }
}

/// The buffer of one subscriber.
pub(crate) const fn limits_of(view: &ChannelView) -> Amount {
    Amount { messages: view.buffer_messages, bytes: view.buffer_bytes }
}

impl Outlet {
    pub(crate) fn new(name: ChannelName, metrics: Arc<ChannelMetrics>) -> Self {
        let state = State { last: 0, queues: Vec::new() };
        let calls = Arc::new(Calls::new(name.clone()));
        Self {
            name,
            metrics,
            publishes: AtomicBool::new(false),
            order: tokio::sync::Mutex::new(()),
            state: Mutex::new(state),
            work: OnceLock::new(),
            calls,
            begun: OnceLock::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
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

    /// A subscriber gets everything from now on; returns the last sequence number before it.
    pub(crate) fn add(&self, queue: Arc<Queue>) -> u64 {
        let mut state = self.lock();
        state.queues.push(queue);
        state.last
    }

    pub(crate) fn remove(&self, queue: &Arc<Queue>) {
        self.lock().queues.retain(|other| !Arc::ptr_eq(other, queue));
    }

    pub(crate) fn set_limits(&self, limits: Amount) {
        for queue in &self.lock().queues {
            queue.set_limits(limits);
        }
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
        let deadline = begun + policy.block_timeout;
        let Ok(_order) = tokio::time::timeout_at(deadline, self.order.lock()).await else {
            return Err(self.overtaken(policy, total));
        };
        if let Some(work) = self.work.get() {
            return self.share_out(work, policy, (messages, begun - origin, deadline)).await;
        }
        let first = self.lock().last.saturating_add(1);
        let mut published = 0;
        while !messages.is_empty() {
            let rest = split_piece(&mut messages, policy.limits);
            let piece = std::mem::replace(&mut messages, rest);
            let sizes: Vec<usize> = piece.iter().map(Message::size_bytes).collect();
            let count = piece.len();
            if let Err(queue) = self.put(policy, piece, sizes, (begun, origin)).await {
                return Err(self.blocked(&queue, policy, (published, total)));
            }
            published += count;
            self.metrics.published.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        }
        self.metrics.publish_duration.observe((clock::now() - begun).as_secs_f64());
        Ok(first)
    }

    /// Puts one piece into all queues, or fails with the queue that had no room in time.
    async fn put(
        &self,
        policy: Policy,
        piece: Vec<Message>,
        sizes: Vec<usize>,
        (begun, origin): (Instant, Instant),
    ) -> Result<(), Arc<Queue>> {
        let deadline = begun + policy.block_timeout;
        loop {
            let full = {
                let mut state = self.lock();
                let full = match policy.overflow {
                    Overflow::Block => {
                        state.queues.iter().find(|queue| !queue.has_room(&piece, &sizes)).map(Arc::clone)
                    }
                    _ => None,
                };
                let Some(full) = full else {
                    state.push(policy, piece, sizes, begun - origin);
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
        Problem::new(
            ProblemKind::DeadlineExceeded,
            format!(
                "{}: another publisher of this pod waited for a subscriber's room for all of {:?}; 0 of {total} messages \
                 of this batch were published; have the subscribers read faster, or change spec.delivery",
                self.name, policy.block_timeout,
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
                policy.block_timeout,
                amount.messages,
                limits.messages,
                amount.bytes,
                limits.bytes,
            ),
        )
    }
}

impl State {
    fn push(&mut self, policy: Policy, piece: Vec<Message>, sizes: Vec<usize>, accepted: Duration) {
        let first = self.last.saturating_add(1);
        self.last = self.last.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if self.queues.is_empty() {
            return;
        }
        let batch = Arc::new(Batch::new(first, accepted, piece, sizes));
        for queue in &self.queues {
            queue.offer(&batch, policy.overflow);
        }
    }
}

/// Cuts `messages` down to what a subscriber's buffer can hold at once, at least one; returns the rest.
fn split_piece(messages: &mut Vec<Message>, limits: Amount) -> Vec<Message> {
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
