//! Messages that used up their attempts: they go to the Topic that `spec.delivery.deadLetter` names.
//!
//! Until one is written it counts against the buffer of its Channel: a broker that is away makes publishers wait, and
//! loses nothing. A message that the Topic can never take (too large) is dropped and counted.

use super::core::Core;
use super::origin::Origin;
use super::outlet::Outlet;
use super::work::{Dead, Work};
use super::writer::Outbox;
use crate::durable::Placement;
use crate::messaging::{ChannelName, Message, Position, Problem, TopicName};
use crate::metrics::ChannelMetrics;
use crate::view::{Acknowledge, ChannelView};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;

/// Of one Channel. Desks hold no more than their buffer; this bounds what the desks of subscribers that come and go
/// leave behind while the broker is away.
const WAITING_BYTES_MAX: usize = 64 << 20;
const WAITING_MAX: usize = 100_000;
/// Written at once.
const BATCH: usize = 256;

const REASON: &str = "attempts_exhausted";

/// One message, and the desk that makes room when it is written.
#[derive(Clone)]
pub(super) struct Letter {
    dead: Dead,
    work: Weak<Work>,
}

impl Letter {
    fn buried(&self) {
        if let Some(work) = self.work.upgrade() {
            work.with(|desk| desk.buried(self.dead.post.sequence));
        }
    }
}

#[derive(Default)]
struct Waiting {
    letters: VecDeque<Letter>,
    bytes: usize,
    /// Why the last try failed; empty when it did not.
    problem: String,
}

/// See the head of the file.
pub(crate) struct DeadLetters {
    waiting: Mutex<Waiting>,
    came: Notify,
    went: Notify,
    metrics: Arc<ChannelMetrics>,
    /// Whether somebody writes them.
    started: AtomicBool,
}

impl DeadLetters {
    pub(super) fn new(metrics: Arc<ChannelMetrics>) -> Self {
        Self {
            waiting: Mutex::default(),
            came: Notify::new(),
            went: Notify::new(),
            metrics,
            started: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what used up its attempts at `work`.
    pub(super) fn take(&self, work: &Weak<Work>, died: Vec<Dead>) {
        for dead in died {
            let letter = Letter { dead, work: Weak::clone(work) };
            let size = letter.dead.post.size;
            let mut waiting = self.lock();
            if waiting.letters.len() >= WAITING_MAX || waiting.bytes.saturating_add(size) > WAITING_BYTES_MAX
            {
                drop(waiting);
                self.give_up(&letter);
                continue;
            }
            waiting.bytes = waiting.bytes.saturating_add(size);
            waiting.letters.push_back(letter);
        }
        self.came.notify_one();
    }

    /// It is dropped after all.
    fn give_up(&self, letter: &Letter) {
        self.metrics.drop_counted(REASON, 1);
        letter.buried();
    }

    /// Waits until none waits.
    pub(super) async fn flushed(&self) {
        while !self.lock().letters.is_empty() {
            self.went.notified().await;
        }
    }

    /// The oldest `count` are dealt with; returns them.
    fn done(&self, count: usize) -> Vec<Letter> {
        let mut waiting = self.lock();
        let done: Vec<Letter> = waiting.letters.drain(..count).collect();
        let bytes: usize = done.iter().map(|letter| letter.dead.post.size).sum();
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        drop(waiting);
        self.went.notify_one();
        done
    }
}

impl Outbox for DeadLetters {
    type Entry = Letter;
    const WHAT: &'static str = "dead letters";

    fn topic(&self, channel: &ChannelView) -> Option<TopicName> {
        channel.dead_letter.clone()
    }

    fn placement(_: &Origin) -> Placement<'_> {
        Placement::ByKey
    }

    /// The message as it came, and where it comes from.
    fn record(&self, origin: &Origin, letter: &Letter) -> Message {
        let dead = &letter.dead;
        let mut record = origin.record(&dead.post.message, dead.post.sequence);
        let end = [("pinnace-attempts", dead.attempts.to_string()), ("pinnace-reason", REASON.to_owned())];
        record.headers.extend(end.map(|(name, value)| (name.to_owned(), Bytes::from(value))));
        record
    }

    async fn oldest(&self) -> Vec<Letter> {
        loop {
            let oldest: Vec<Letter> = self.lock().letters.iter().take(BATCH).cloned().collect();
            if !oldest.is_empty() {
                return oldest;
            }
            self.came.notified().await;
        }
    }

    fn written(&self, places: &[Position]) {
        self.metrics.dead_letters.inc_by(u64::try_from(places.len()).unwrap_or(u64::MAX));
        self.done(places.len()).iter().for_each(Letter::buried);
    }

    fn refused(&self) {
        self.unwanted(1);
    }

    fn unwanted(&self, count: usize) {
        self.done(count).iter().for_each(|letter| self.give_up(letter));
    }

    fn tell(&self, problem: &str) -> bool {
        let mut waiting = self.lock();
        let new = waiting.problem != problem;
        problem.clone_into(&mut waiting.problem);
        new
    }
}

impl Core {
    /// Whether the Topic for dead letters can be written; told before anything is published, not when it is too late.
    pub(super) fn check_dead_letter(&self, name: &ChannelName, channel: &ChannelView) -> Result<(), Problem> {
        let Some(topic) =
            channel.dead_letter.as_ref().filter(|_| channel.acknowledge == Acknowledge::Required)
        else {
            return Ok(());
        };
        self.topics.check_publish(topic).map(drop).map_err(|problem| {
            Problem::new(problem.kind, format!("{name}: spec.delivery.deadLetter: {}", problem.message))
        })
    }

    /// Starts to write the dead letters of a Channel, once.
    pub(super) fn write_dead_letters(&self, outlet: &Outlet) {
        let letters = Arc::clone(&outlet.dead_letters);
        if letters.started.swap(true, Ordering::Relaxed) {
            return;
        }
        self.write_out(self.origin_of(&outlet.name), letters);
    }
}
