//! Adaptive group commit: what was written while the last round ran becomes durable in the next.
//!
//! There is no timer: a lone write is made durable at once, many writes share the next round. Who waits runs the
//! round when none is running, so that a lone write wakes no thread; what arrives meanwhile is left to the
//! committing thread. How a round makes things durable is the journal's part (`record_log::journal`).

use std::{
    collections::HashSet,
    io,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use record_log::journal::{self, Done, Journal, Member, WriteError, run_round};
use runtime::{clock, random};

use crate::{disk::DiskStorage, metrics::Metrics};

mod recovering;
mod storing;

pub(crate) use recovering::{JournalError, settings};

/// Something with a log to sync.
pub(crate) type Durable = dyn Member<DiskStorage>;

/// A round of so many bytes or logs may be run by who waits for it; a larger one is left to the thread, so that
/// requests are read meanwhile.
const OWN_BYTES_MAX: u64 = 64 * 1024;
const OWN_LOGS_MAX: usize = 16;

/// Logs in the order in which they came; the same log is there once.
#[derive(Default)]
struct Dirty {
    addresses: HashSet<usize>,
    logs: Vec<Arc<Durable>>,
}

impl Dirty {
    fn add(&mut self, log: Arc<Durable>) {
        if self.addresses.insert(Arc::as_ptr(&log).cast::<()>().addr()) {
            self.logs.push(log);
        }
    }

    fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }
}

#[derive(Default)]
struct State {
    /// Logs for the next round, and how many bytes were written to them.
    dirty: Dirty,
    dirty_bytes: u64,
    /// The next round.
    round: u64,
    /// All rounds below this have ended.
    ended: u64,
    /// A round is running.
    running: bool,
    /// The thread should run the next round.
    wanted: bool,
    waiters: Vec<(u64, Waker)>,
    stopping: bool,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    journal: Mutex<Journal<DiskStorage>>,
    /// What the journal had at the start, until all logs were opened.
    recovering: Mutex<Option<recovering::Recovering>>,
    storing: storing::Storing,
    /// Rounds run only when they are driven.
    is_driven: bool,
    metrics: Metrics,
}

/// Takes logs to be synced; clones share it.
#[derive(Clone)]
pub(crate) struct Committer {
    shared: Arc<Shared>,
}

/// Ends when the round of the logs that were handed over has ended, well or not: the logs know.
#[must_use = "dropping it early leaves the round to the committing thread"]
pub(crate) struct Synced {
    shared: Arc<Shared>,
    round: u64,
    done: bool,
}

/// The threads. Dropping it does not end them; [`stop`](Self::stop) does.
pub(crate) struct CommitThread {
    committer: Committer,
    threads: [std::thread::JoinHandle<()>; 2],
}

impl Committer {
    /// Opens the journal of a data folder and starts the threads.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub(crate) fn start(
        storage: DiskStorage,
        settings: journal::Settings,
        metrics: Metrics,
    ) -> Result<CommitThread, JournalError> {
        let shared = Arc::new(Shared::open(storage, settings, metrics)?);
        let (rounds, storing) = (Arc::clone(&shared), Arc::clone(&shared));
        let rounds = runtime::tasks::spawn_thread("commit", move || rounds.run());
        let storing = runtime::tasks::spawn_thread("store", move || storing.run_storing());
        let threads = [rounds.map_err(JournalError::Thread)?, storing.map_err(JournalError::Thread)?];
        Ok(CommitThread { committer: Self { shared }, threads })
    }

    /// One without threads, whose rounds somebody else has run, nobody who waits.
    ///
    /// # Errors
    /// See [`JournalError`].
    #[cfg(test)]
    pub(crate) fn driven(
        storage: DiskStorage,
        settings: journal::Settings,
        metrics: Metrics,
    ) -> Result<Self, JournalError> {
        let shared = Shared { is_driven: true, ..Shared::open(storage, settings, metrics)? };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Does what the threads would do now, for a simulation.
    #[cfg(test)]
    pub(crate) fn drive(&self) {
        let mut state = self.shared.lock();
        if !state.dirty.is_empty() {
            let dirty = state.begin();
            drop(state);
            self.shared.run_round(dirty);
            self.shared.drive_storing();
        }
    }

    /// Lets go of the logs that no round makes durable any more, for a simulation of a stop: they hold on to this.
    #[cfg(test)]
    pub(crate) fn abandon(&self) {
        let mut state = self.shared.lock();
        let left = (std::mem::take(&mut state.dirty), std::mem::take(&mut state.waiters));
        drop(state);
        drop(left);
    }

    /// After the threads ended and all logs were closed: the next start has nothing to read in the journal.
    pub(crate) fn close(&self) {
        self.shared.store_all();
        if let Err(error) = self.shared.journal().close() {
            tracing::warn!(%error, "cannot close the journal; the next start reads it");
        }
    }

    /// Has logs synced, to which `bytes` bytes were written in all.
    pub(crate) fn submit<I>(&self, logs: I, bytes: u64) -> Synced
    where
        I: IntoIterator<Item = Arc<Durable>>,
    {
        let mut state = self.shared.lock();
        let mut any = false;
        for log in logs {
            any = true;
            state.dirty.add(log);
        }
        state.dirty_bytes = state.dirty_bytes.saturating_add(bytes);
        let round = state.round;
        drop(state);
        Synced { shared: Arc::clone(&self.shared), round, done: !any }
    }

    /// Has the thread run what is waiting, if nobody else does. For who hands over and cannot wait at once.
    pub(crate) fn hurry(&self) {
        let mut state = self.shared.lock();
        if !state.dirty.is_empty() && !state.running && !state.wanted {
            state.wanted = true;
            self.shared.wake.notify_one();
        }
    }
}

impl CommitThread {
    pub(crate) fn committer(&self) -> Committer {
        self.committer.clone()
    }

    /// Ends the threads after a last round. Blocks until then.
    pub(crate) fn stop(self) {
        let shared = &self.committer.shared;
        shared.lock().stopping = true;
        shared.wake.notify_one();
        shared.storing.stop();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread that syncs panicked");
            }
        }
    }
}

impl Future for Synced {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !self.done {
            let shared = Arc::clone(&self.shared);
            self.done = shared.wait(self.round, context.waker());
        }
        if self.done { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Synced {
    /// Nobody waits: the thread does it, in its time.
    fn drop(&mut self) {
        if !self.done && self.shared.lock().ended <= self.round {
            Committer { shared: Arc::clone(&self.shared) }.hurry();
        }
    }
}

impl Shared {
    fn open(
        storage: DiskStorage,
        settings: journal::Settings,
        metrics: Metrics,
    ) -> Result<Self, JournalError> {
        let opened = Journal::open(storage, settings, random::number());
        let (journal, recovered) = opened.map_err(JournalError::Open)?;
        Ok(Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            journal: Mutex::new(journal),
            recovering: Mutex::new(recovering::Recovering::new(recovered)),
            storing: storing::Storing::default(),
            is_driven: false,
            metrics,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn journal(&self) -> MutexGuard<'_, Journal<DiskStorage>> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recovering(&self) -> MutexGuard<'_, Option<recovering::Recovering>> {
        self.recovering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a round has ended; when nobody runs it, this does.
    fn wait(&self, round: u64, waker: &Waker) -> bool {
        let mut state = self.lock();
        if state.ended > round {
            return true;
        }
        let own =
            !self.is_driven && state.dirty_bytes <= OWN_BYTES_MAX && state.dirty.logs.len() <= OWN_LOGS_MAX;
        if !state.running && !state.wanted && own && !state.stopping {
            let dirty = state.begin();
            drop(state);
            self.run_round(dirty);
            return true;
        }
        if !state.waiters.iter().any(|(known, waiter)| *known == round && waiter.will_wake(waker)) {
            state.waiters.push((round, waker.clone()));
        }
        if !state.running && !state.wanted {
            state.wanted = true;
            self.wake.notify_one();
        }
        false
    }

    /// Runs a round that was begun, and tells who waits.
    fn run_round(&self, dirty: Dirty) {
        let members = dirty.logs;
        let mut syncing = |sync: &mut dyn FnMut() -> io::Result<()>| self.timed(sync);
        let done = run_round(&members, &self.journal, &mut syncing);
        self.count(&done);
        if let Some(WriteError::Storage(error)) = done.failure {
            self.metrics.commit.journal_failed.set(1);
            tracing::error!(%error, "the journal failed: from now on every log is synced in its own file");
        }
        self.storing.take(&members, self.is_pressed());
        let mut state = self.lock();
        state.running = false;
        state.ended += 1;
        let ended = state.ended;
        let woken: Vec<Waker> =
            state.waiters.extract_if(.., |(round, _)| *round < ended).map(|(_, waker)| waker).collect();
        if !state.dirty.is_empty() {
            state.wanted = true;
        }
        if state.wanted || state.stopping {
            self.wake.notify_one();
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    fn count(&self, done: &Done) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.metrics.commit.rounds.inc();
        self.metrics.commit.synced_logs.with_label_values(&["journal"]).inc_by(number(done.together));
        self.metrics.commit.synced_logs.with_label_values(&["file"]).inc_by(number(done.alone));
        self.metrics.commit.journal_written_bytes.inc_by(done.together_bytes);
        self.tell_used();
    }

    fn tell_used(&self) {
        let used_bytes = self.journal().used_bytes();
        self.metrics.commit.journal_used_bytes.set(i64::try_from(used_bytes).unwrap_or(i64::MAX));
    }

    fn timed(&self, sync: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let started = clock::now();
        let outcome = sync();
        self.metrics.sync_duration.observe(started.elapsed().as_secs_f64());
        outcome
    }

    /// The thread: runs the rounds that nobody else does.
    fn run(&self) {
        loop {
            let mut state = self.lock();
            while !state.wanted || state.running {
                if state.stopping && !state.running {
                    if state.dirty.is_empty() {
                        return;
                    }
                    break;
                }
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.wanted = false;
            if state.dirty.is_empty() {
                continue;
            }
            let dirty = state.begin();
            drop(state);
            self.run_round(dirty);
        }
    }
}

impl State {
    fn begin(&mut self) -> Dirty {
        self.running = true;
        self.round += 1;
        self.dirty_bytes = 0;
        std::mem::take(&mut self.dirty)
    }
}
