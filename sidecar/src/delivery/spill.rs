//! `overflow: Spill`: what a subscriber has no room for goes through a Topic and comes back in order.
//!
//! Who has overflowed is behind: everything from there on is written to one partition of the Topic, once for all who are
//! behind, and each of them is filled up from it as it makes room. The last of it is in memory too; who has come so far
//! that the rest is there, and has room for it, gets messages directly again. Nobody else is concerned.
//!
//! Locks are taken in this order: the outlet's, the one here, that of who is behind, that of a queue.

mod behind;
mod cursor;
mod lane;
mod refill;
mod window;

pub(crate) use behind::{Behind, joined};
pub(super) use lane::Lane;

use super::buffer::Amount;
use super::core::Core;
use super::origin::Origin;
use super::outlet::{Outlet, Policy, State, split_piece};
use super::writer::Outbox;
use crate::durable::{Placement, Topics};
use crate::messaging::{ChannelName, Message, Position, Problem, ProblemKind, TopicName};
use crate::metrics::ChannelMetrics;
use crate::view::ChannelView;
use bytes::Bytes;
use cursor::Place;
use runtime::clock::{self, Instant};
use runtime::tasks::Tasks;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use window::{Entry, Window};

/// When a message was published, in microseconds on the clock of its publisher's process.
const ACCEPTED: &str = "pinnace-accepted";
/// What that header takes, digits and lengths included.
const ACCEPTED_BYTES_MAX: usize = 50;
/// Headers that would be taken for ours when a message comes back.
const RESERVED: &str = "pinnace-";

/// What is spilled.
#[derive(Default)]
struct Held {
    window: Window,
    /// Where it goes while anybody is behind.
    topic: Option<TopicName>,
    /// Where it goes the next time: what the view names.
    topic_next: Option<TopicName>,
    /// Why the last write failed; empty when it did not.
    problem: String,
}

/// What it needs of the sidecar, once there is anything to spill.
#[derive(Clone)]
struct Links {
    outlet: Weak<Outlet>,
    origin: Origin,
    topics: Topics,
    tasks: Tasks,
    /// Who may read back at the same time.
    readers: Arc<Semaphore>,
}

/// See the head of the file.
pub(crate) struct Spill {
    held: Mutex<Held>,
    links: OnceLock<Links>,
    came: Notify,
    /// Something was written, or is not needed any more.
    went: Notify,
    metrics: Arc<ChannelMetrics>,
}

impl Spill {
    pub(super) fn new(metrics: Arc<ChannelMetrics>) -> Self {
        Self {
            held: Mutex::default(),
            links: OnceLock::new(),
            came: Notify::new(),
            went: Notify::new(),
            metrics,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything may ever have overflowed here.
    pub(super) fn has_begun(&self) -> bool {
        self.links.get().is_some()
    }

    fn written_place(&self) -> Option<Place> {
        self.lock().window.written()
    }

    /// Waits until the Topic has everything that somebody is behind by.
    pub(super) async fn flushed(&self) {
        while !self.lock().window.is_written() {
            self.went.notified().await;
        }
    }
}

impl Held {
    /// Nobody is behind any more.
    fn clear(&mut self) {
        self.window.clear();
        self.topic = None;
    }

    /// Lets go of what the Topic has, beyond `limits`; who still needs it is told where it is.
    fn evict(&mut self, limits: Amount, lanes: &[Lane]) {
        while let Some((sequence, offset)) = self.window.evict(limits) {
            if let Some(offset) = offset {
                lanes.iter().for_each(|lane| lane.behind().evicted(sequence, offset));
            }
        }
    }
}

impl Outbox for Spill {
    type Entry = Arc<Entry>;
    const WHAT: &'static str = "spill";

    fn topic(&self, _: &ChannelView) -> Option<TopicName> {
        self.lock().topic.clone()
    }

    fn placement(origin: &Origin) -> Placement<'_> {
        Placement::Source(&origin.publisher)
    }

    fn record(&self, origin: &Origin, entry: &Arc<Entry>) -> Message {
        let mut record = origin.record(&entry.message, entry.sequence);
        record.headers.push((ACCEPTED.to_owned(), Bytes::from(entry.accepted.as_micros().to_string())));
        record
    }

    async fn oldest(&self) -> Vec<Arc<Entry>> {
        loop {
            let oldest = self.lock().window.oldest();
            if !oldest.is_empty() {
                return oldest;
            }
            self.came.notified().await;
        }
    }

    fn written(&self, places: &[Position]) {
        self.metrics.spilled.inc_by(u64::try_from(places.len()).unwrap_or(u64::MAX));
        let mut held = self.lock();
        for place in places {
            held.window.settle(Some(place.offset));
        }
        self.settled(held);
    }

    fn refused(&self) {
        self.unwanted(1);
    }

    fn unwanted(&self, count: usize) {
        let mut held = self.lock();
        for _ in 0..count {
            held.window.settle(None);
        }
        self.settled(held);
    }

    fn tell(&self, problem: &str) -> bool {
        let mut held = self.lock();
        let new = held.problem != problem;
        problem.clone_into(&mut held.problem);
        new
    }
}

impl Spill {
    fn settled(&self, mut held: MutexGuard<'_, Held>) {
        if held.topic.is_none() {
            held.window.clear();
        }
        drop(held);
        self.went.notify_one();
    }
}

/// The message as it was published, with when that was.
fn restored(mut message: Message) -> (Message, Duration) {
    let place = message.headers.iter().rposition(|(name, _)| name == ACCEPTED);
    let value = place.map(|place| message.headers.remove(place).1).unwrap_or_default();
    let micros = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
    (message, Duration::from_micros(micros.unwrap_or(0)))
}

impl Core {
    /// Whether the Topic can be written and read and takes these; told before anything is published.
    pub(super) fn check_spill(
        &self,
        name: &ChannelName,
        channel: &ChannelView,
        messages: &[Message],
    ) -> Result<(), Problem> {
        let Some(topic) = &channel.spill else { return Ok(()) };
        const FIELD: &str = "spec.delivery.spill";
        self.check_copies(name, (FIELD, topic), (messages, ACCEPTED_BYTES_MAX))?;
        self.topics
            .check_subscribe(topic)
            .map_err(|problem| Problem::new(problem.kind, format!("{name}: {FIELD}: {}", problem.message)))?;
        let mut names = messages.iter().flat_map(|message| message.headers.iter().map(|(name, _)| name));
        match names.find(|name| name.starts_with(RESERVED)) {
            None => Ok(()),
            Some(header) => {
                let text = format!(
                    "{name}: {FIELD}: header {header} begins with {RESERVED}, which is kept for what Pinnace adds; \
                     rename it"
                );
                Err(Problem::new(ProblemKind::InvalidArgument, text))
            }
        }
    }

    /// Makes ready to spill into that Topic.
    pub(super) fn begin_spill(&self, outlet: &Arc<Outlet>, topic: &TopicName) {
        let mut held = outlet.spill.lock();
        if held.topic_next.as_ref() != Some(topic) {
            held.topic_next = Some(topic.clone());
        }
        drop(held);
        outlet.spill.links.get_or_init(|| {
            let origin = self.origin_of(&outlet.name);
            self.write_out(origin.clone(), Arc::clone(&outlet.spill));
            Links {
                outlet: Arc::downgrade(outlet),
                origin,
                topics: self.topics.clone(),
                tasks: self.background.clone(),
                readers: Arc::clone(&self.spill_readers),
            }
        });
    }
}

impl Outlet {
    /// Who can be behind.
    fn lanes(&self, state: &State) -> Vec<Lane> {
        match self.work.get() {
            Some(work) => vec![Lane::Work(Arc::clone(work))],
            None => state.queues.iter().map(|queue| Lane::Queue(Arc::clone(queue))).collect(),
        }
    }

    /// Publishes in order; what somebody has no room for is spilled. Called in the order of publishing.
    pub(super) async fn publish_spilling(
        &self,
        policy: Policy,
        mut messages: Vec<Message>,
        (begun, origin): (Instant, Instant),
    ) -> Result<u64, Problem> {
        let (accepted, deadline) = (begun - origin, begun + policy.patience);
        let (total, mut published) = (messages.len(), 0);
        let first = self.last_sequence().saturating_add(1);
        while !messages.is_empty() {
            let rest = split_piece(&mut messages, policy.limits);
            let mut piece = std::mem::replace(&mut messages, rest);
            while !piece.is_empty() {
                let sizes: Vec<usize> = piece.iter().map(Message::size_bytes).collect();
                let mut room = piece.len();
                if policy.record {
                    let recorder = self.recorder.room(&sizes, 1, policy.limits);
                    let Ok(found) = tokio::time::timeout_at(deadline, recorder).await else {
                        return Err(self.not_recorded(policy, (published, total)));
                    };
                    room = found;
                }
                let count = self.put_or_spill(policy, &mut piece, (sizes, room), accepted);
                published += count;
                self.metrics.published.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
                let waits = count == 0;
                if waits && tokio::time::timeout_at(deadline, self.spill.went.notified()).await.is_err() {
                    return Err(self.not_spilled(policy, (published, total)));
                }
            }
        }
        self.metrics.publish_duration.observe((clock::now() - begun).as_secs_f64());
        Ok(first)
    }

    /// Publishes the first ones of `piece`, at most `room`; returns how many.
    fn put_or_spill(
        &self,
        policy: Policy,
        piece: &mut Vec<Message>,
        (mut sizes, room): (Vec<usize>, usize),
        accepted: Duration,
    ) -> usize {
        let mut state = self.lock();
        let lanes = self.lanes(&state);
        let mut held = self.spill.lock();
        let spills = lanes.iter().any(|lane| lane.behind().is_behind() || !lane.has_room(piece, &sizes));
        let count = if spills { held.window.fitting(&sizes, policy.limits).min(room) } else { room };
        if count == 0 {
            return 0;
        }
        let rest = piece.split_off(count);
        let taken = std::mem::replace(piece, rest);
        sizes.truncate(count);
        if policy.record {
            self.recorder.take(state.last.saturating_add(1), taken.iter());
        }
        let batch = state.begin_batch(taken, sizes, accepted);
        if state.replay.is_some() {
            state.note_kept(&self.metrics);
        }
        let mut from = count;
        for lane in &lanes {
            let index = if lane.behind().is_behind() { 0 } else { lane.fill(&batch) };
            if index < count {
                let wanted = lane.wanted(&batch, index);
                if lane.behind().add(batch.sequence(index), batch.sequence(count - 1), wanted) {
                    self.begin_refill(lane.clone());
                }
                from = from.min(index);
            }
        }
        if from < count {
            let Held { topic, topic_next, window, .. } = &mut *held;
            if topic.is_none() {
                topic.clone_from(topic_next);
            }
            window.take(&batch, from);
            held.evict(policy.limits, &lanes);
            self.spill.came.notify_one();
        }
        count
    }

    /// The Topic took nothing within the time that a publish has.
    fn not_spilled(&self, policy: Policy, (published, total): (usize, usize)) -> Problem {
        let held = self.spill.lock();
        let waiting = held.window.waiting();
        let why =
            if held.problem.is_empty() { "the Topic is slower than this publisher" } else { &held.problem };
        let text = format!(
            "{}: spec.delivery.spill: {} messages and {} bytes wait to be written for {:?} already: {why}; {published} of \
             {total} messages of this batch were published",
            self.name, waiting.messages, waiting.bytes, policy.patience
        );
        Problem::new(ProblemKind::DeadlineExceeded, text)
    }
}
