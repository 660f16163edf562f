//! Messages that used up their attempts: they go to the Topic that `spec.delivery.deadLetter` names.
//!
//! Until one is written it counts against the buffer of its Channel: a broker that is away makes publishers wait, and
//! loses nothing. A message that the Topic can never take (too large) is dropped and counted.

use super::core::Core;
use super::origin::Origin;
use super::outlet::Outlet;
use super::work::{Dead, Work};
use crate::durable::Topics;
use crate::messaging::{ChannelName, Message, Problem, ProblemKind, TopicName};
use crate::metrics::ChannelMetrics;
use crate::view::{Acknowledge, ChannelView, ViewReceiver};
use bytes::Bytes;
use runtime::backoff::Backoff;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// Of one Channel. Desks hold no more than their buffer; this bounds what the desks of subscribers that come and go
/// leave behind while the broker is away.
const WAITING_BYTES_MAX: usize = 64 << 20;
const WAITING_MAX: usize = 100_000;
/// Written at once.
const BATCH: usize = 256;
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(10);

const REASON: &str = "attempts_exhausted";

/// One message, and the desk that makes room when it is written.
#[derive(Clone)]
struct Letter {
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

    /// The oldest ones; they stay until [`Self::done`].
    async fn oldest(&self) -> Vec<Letter> {
        loop {
            let oldest: Vec<Letter> = self.lock().letters.iter().take(BATCH).cloned().collect();
            if !oldest.is_empty() {
                return oldest;
            }
            self.came.notified().await;
        }
    }

    /// The oldest `count` are dealt with.
    fn done(&self, count: usize) {
        let mut waiting = self.lock();
        let done: Vec<Letter> = waiting.letters.drain(..count).collect();
        let bytes: usize = done.iter().map(|letter| letter.dead.post.size).sum();
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        drop(waiting);
        self.went.notify_one();
    }
}

/// Writes the dead letters of one Channel.
struct Writer {
    origin: Origin,
    topics: Topics,
    view: ViewReceiver,
    letters: Arc<DeadLetters>,
}

impl Writer {
    async fn run(self) {
        let mut backoff = Backoff::new(PAUSE_FIRST, PAUSE_MOST);
        let mut told = String::new();
        loop {
            let letters = self.letters.oldest().await;
            let Err(problem) = self.write(&letters).await else {
                backoff.reset();
                told.clear();
                continue;
            };
            if problem.message != told {
                tracing::warn!(channel = %self.origin.channel, %problem, waiting = letters.len(), "dead letters are not written; tried again");
                told = problem.message;
            }
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }

    /// Writes them all, or says why they are to be tried again.
    async fn write(&self, letters: &[Letter]) -> Result<(), Problem> {
        let target = {
            let view = self.view.borrow();
            view.channels.get(&self.origin.channel).and_then(|channel| channel.dead_letter.clone())
        };
        let Some(topic) = target else {
            // It was taken out of the Channel meanwhile.
            letters.iter().for_each(|letter| self.letters.give_up(letter));
            self.letters.done(letters.len());
            return Ok(());
        };
        let all: Vec<Message> = letters.iter().map(|letter| self.record(&letter.dead)).collect();
        match self.topics.publish(&topic, all).await {
            Ok(_) => {
                self.written(letters);
                Ok(())
            }
            Err(problem) if problem.kind == ProblemKind::InvalidArgument => {
                self.write_each(&topic, letters).await
            }
            Err(problem) => Err(problem),
        }
    }

    /// One of them does not fit: the others do.
    async fn write_each(&self, topic: &TopicName, letters: &[Letter]) -> Result<(), Problem> {
        for letter in letters {
            match self.topics.publish(topic, vec![self.record(&letter.dead)]).await {
                Ok(_) => self.written(std::slice::from_ref(letter)),
                Err(problem) if problem.kind == ProblemKind::InvalidArgument => {
                    let sequence = letter.dead.post.sequence;
                    tracing::warn!(channel = %self.origin.channel, sequence, %problem, "a dead letter was dropped");
                    self.letters.give_up(letter);
                    self.letters.done(1);
                }
                Err(problem) => return Err(problem),
            }
        }
        Ok(())
    }

    fn written(&self, letters: &[Letter]) {
        self.letters.metrics.dead_letters.inc_by(u64::try_from(letters.len()).unwrap_or(u64::MAX));
        letters.iter().for_each(Letter::buried);
        self.letters.done(letters.len());
    }

    /// The message as it came, and where it comes from.
    fn record(&self, dead: &Dead) -> Message {
        let mut record = self.origin.record(&dead.post.message, dead.post.sequence);
        let end = [("pinnace-attempts", dead.attempts.to_string()), ("pinnace-reason", REASON.to_owned())];
        record.headers.extend(end.map(|(name, value)| (name.to_owned(), Bytes::from(value))));
        record
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
        let writer = Writer {
            origin: self.origin_of(&outlet.name),
            topics: self.topics.clone(),
            view: self.view_receiver(),
            letters,
        };
        drop(self.background.spawn_until_shutdown("dead letters", writer.run()));
    }
}
