//! `spec.record`: a copy of every message goes to a Topic, in the order of publishing.
//!
//! What is published waits here until the Topic has it. The queue has the limits of one subscriber's buffer, and room
//! is made sure of before a message is numbered: a broker that is away makes publishers wait, and leaves no hole in the
//! Topic while their pod lives. Keys are the records' keys; messages without one go to one partition for each publisher.

use super::buffer::Amount;
use super::core::Core;
use super::origin::Origin;
use super::outlet::{Outlet, Policy};
use super::writer::Outbox;
use crate::durable::Placement;
use crate::messaging::{ChannelName, Message, Position, Problem, ProblemKind, TopicName};
use crate::metrics::ChannelMetrics;
use crate::view::ChannelView;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Written at once, whichever is reached first.
const BATCH: Amount = Amount { messages: 1000, bytes: 1 << 20 };
/// Refused sequence numbers that are remembered: more than publishers wait for at once.
const REFUSED_MAX: usize = 4096;
/// How long a publisher that can be told waits for its copy: as long as for a message to the Topic itself.
const RECORDED_MAX: Duration = Duration::from_secs(30);

pub(super) struct Entry {
    sequence: u64,
    message: Message,
    size: usize,
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// Why the last try failed; empty when it did not.
    problem: String,
    /// The last ones that the Topic did not take, for those who wait for them.
    refused: VecDeque<u64>,
}

/// Copies that are not written yet. See the head of the file.
pub(crate) struct Recorder {
    waiting: Mutex<Waiting>,
    came: Notify,
    /// Nothing up to this sequence number waits any more.
    settled: watch::Sender<u64>,
    metrics: Arc<ChannelMetrics>,
    /// Whether somebody writes them.
    started: AtomicBool,
}

impl Recorder {
    pub(super) fn new(metrics: Arc<ChannelMetrics>) -> Self {
        Self {
            waiting: Mutex::default(),
            came: Notify::new(),
            settled: watch::Sender::new(0),
            metrics,
            started: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of `sizes` fit now, in order. One that is alone always fits.
    fn fitting(&self, sizes: &[usize], limits: Amount) -> usize {
        let waiting = self.lock();
        let mut load = Amount { messages: waiting.entries.len(), bytes: waiting.bytes };
        let mut count = 0;
        for size in sizes {
            load.add(*size);
            if load.messages > 1 && (load.messages > limits.messages || load.bytes > limits.bytes) {
                break;
            }
            count += 1;
        }
        count
    }

    /// Waits until the first `enough` of `sizes` fit; returns how many do. Who publishes holds the order, so nobody else
    /// takes the room meanwhile.
    pub(super) async fn room(&self, sizes: &[usize], enough: usize, limits: Amount) -> usize {
        let mut settled = self.settled.subscribe();
        loop {
            let fitting = self.fitting(sizes, limits);
            // The sender is ours: it does not go before this call.
            if fitting >= enough || settled.changed().await.is_err() {
                return fitting;
            }
        }
    }

    /// Takes copies of what is published now.
    pub(super) fn take<'a>(&self, first: u64, messages: impl Iterator<Item = &'a Message>) {
        let mut waiting = self.lock();
        for (sequence, message) in (first..).zip(messages) {
            let size = message.size_bytes();
            waiting.bytes = waiting.bytes.saturating_add(size);
            waiting.entries.push_back(Arc::new(Entry { sequence, message: message.clone(), size }));
        }
        self.note_load(&waiting);
        drop(waiting);
        self.came.notify_one();
    }

    fn note_load(&self, waiting: &Waiting) {
        self.metrics.record_waiting.set(i64::try_from(waiting.entries.len()).unwrap_or(i64::MAX));
    }

    /// The oldest `count` are dealt with.
    fn done(&self, count: usize) {
        let mut waiting = self.lock();
        let last =
            count.checked_sub(1).and_then(|last| waiting.entries.get(last)).map(|entry| entry.sequence);
        let bytes: usize = waiting.entries.drain(..count).map(|entry| entry.size).sum();
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        self.note_load(&waiting);
        drop(waiting);
        if let Some(last) = last {
            self.settled.send_replace(last);
        }
    }

    /// Whether one of these was refused.
    fn has_refused(&self, first: u64, last: u64) -> bool {
        self.lock().refused.iter().any(|sequence| (first..=last).contains(sequence))
    }

    /// How much waits and why, for a text.
    pub(super) fn trouble(&self) -> String {
        let waiting = self.lock();
        let (messages, bytes) = (waiting.entries.len(), waiting.bytes);
        let why = if waiting.problem.is_empty() {
            "the Topic is slower than this publisher"
        } else {
            &waiting.problem
        };
        format!("{messages} messages and {bytes} bytes wait to be recorded: {why}")
    }

    /// Waits until nothing up to `sequence` waits any more.
    async fn settled(&self, sequence: u64) {
        // An error means that the sender is gone, and it is ours.
        drop(self.settled.subscribe().wait_for(|settled| *settled >= sequence).await);
    }

    /// Waits until nothing waits.
    pub(super) async fn flushed(&self) {
        let last = self.lock().entries.back().map(|entry| entry.sequence);
        if let Some(last) = last {
            self.settled(last).await;
        }
    }
}

impl Outbox for Recorder {
    type Entry = Arc<Entry>;
    const WHAT: &'static str = "record";

    fn topic(&self, channel: &ChannelView) -> Option<TopicName> {
        channel.record.clone()
    }

    fn placement(origin: &Origin) -> Placement<'_> {
        Placement::KeyOrSource(&origin.publisher)
    }

    fn record(&self, origin: &Origin, entry: &Arc<Entry>) -> Message {
        origin.record(&entry.message, entry.sequence)
    }

    async fn oldest(&self) -> Vec<Arc<Entry>> {
        loop {
            let mut load = Amount::default();
            let oldest: Vec<Arc<Entry>> = self
                .lock()
                .entries
                .iter()
                .take_while(|entry| {
                    load.add(entry.size);
                    load.messages == 1 || (load.messages <= BATCH.messages && load.bytes <= BATCH.bytes)
                })
                .cloned()
                .collect();
            if !oldest.is_empty() {
                return oldest;
            }
            self.came.notified().await;
        }
    }

    fn written(&self, places: &[Position]) {
        self.metrics.recorded.inc_by(u64::try_from(places.len()).unwrap_or(u64::MAX));
        self.done(places.len());
    }

    fn refused(&self) {
        let mut waiting = self.lock();
        let sequence = waiting.entries.front().map(|entry| entry.sequence);
        waiting.refused.extend(sequence);
        if waiting.refused.len() > REFUSED_MAX {
            waiting.refused.pop_front();
        }
        drop(waiting);
        self.unwanted(1);
    }

    fn unwanted(&self, count: usize) {
        self.metrics.unrecorded.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        self.done(count);
    }

    fn tell(&self, problem: &str) -> bool {
        let mut waiting = self.lock();
        let new = waiting.problem != problem;
        problem.clone_into(&mut waiting.problem);
        new
    }
}

impl Core {
    /// Whether the Topic can be written and takes these; told before anything is published.
    pub(super) fn check_record(
        &self,
        name: &ChannelName,
        channel: &ChannelView,
        messages: &[Message],
    ) -> Result<(), Problem> {
        let Some(topic) = &channel.record else { return Ok(()) };
        self.check_copies(name, ("spec.record", topic), (messages, 0))
    }

    /// Starts to write the copies of a Channel's messages, once.
    pub(super) fn write_record(&self, outlet: &Outlet) {
        let recorder = Arc::clone(&outlet.recorder);
        if recorder.started.swap(true, Ordering::Relaxed) {
            return;
        }
        self.write_out(self.origin_of(&outlet.name), recorder);
    }
}

impl Outlet {
    /// Waits until the Topic has everything from `first` to `last`.
    pub(super) async fn recorded(&self, first: u64, last: u64) -> Result<(), Problem> {
        if tokio::time::timeout(RECORDED_MAX, self.recorder.settled(last)).await.is_err() {
            let text = format!(
                "{}: published, and not recorded within {RECORDED_MAX:?}: {}; they are still written once that is mended",
                self.name,
                self.recorder.trouble()
            );
            return Err(Problem::new(ProblemKind::DeadlineExceeded, text));
        }
        if self.recorder.has_refused(first, last) {
            let text = format!(
                "{}: published, and not recorded: the Topic of spec.record does not take it; raise its \
                 spec.maxMessageSize by 1 KiB above the Channel's",
                self.name
            );
            return Err(Problem::new(ProblemKind::InvalidArgument, text));
        }
        Ok(())
    }

    /// No room for copies within the time that a publish has.
    pub(super) fn not_recorded(&self, policy: Policy, (published, total): (usize, usize)) -> Problem {
        let text = format!(
            "{}: spec.record: {} for {:?} already; {published} of {total} messages of this batch were published",
            self.name,
            self.recorder.trouble(),
            policy.patience
        );
        Problem::new(ProblemKind::DeadlineExceeded, text)
    }
}
