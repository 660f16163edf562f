//! Adaptive group commit: one thread syncs all logs that were written to while its last sync ran.
//!
//! There is no timer: a lone write is synced at once, many writes share the next sync. A sync that fails is
//! never tried again: its log stops taking writes, and everybody who waited for it is told.

use std::{
    collections::HashSet,
    future::Future,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use record_log::SyncTicket;
use runtime::clock;
use tokio::sync::watch;

use crate::{disk::DiskFile, metrics::Metrics};

/// After so long without a write, the position that is synced is written down.
const QUIET: Duration = Duration::from_secs(1);

/// Something with a log to sync.
pub(crate) trait Durable: Send + Sync {
    /// What is to be synced.
    fn begin_sync(&self) -> Option<SyncTicket<DiskFile>>;
    /// A note of what is synced, see [`record_log::Log::begin_note`].
    fn begin_note(&self) -> Option<SyncTicket<DiskFile>>;
    /// The outcome: on an error the log must stop taking writes.
    fn finish_sync(&self, ticket: &SyncTicket<DiskFile>, outcome: io::Result<()>);
}

/// Logs in the order in which they came; the same log is there once.
#[derive(Default)]
struct Dirty {
    addresses: HashSet<usize>,
    logs: Vec<Arc<dyn Durable>>,
}

impl Dirty {
    fn add(&mut self, log: &Arc<dyn Durable>) {
        if self.addresses.insert(Arc::as_ptr(log).cast::<()>().addr()) {
            self.logs.push(Arc::clone(log));
        }
    }

    fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }
}

#[derive(Default)]
struct State {
    /// Logs for the next round.
    dirty: Dirty,
    /// The next round.
    round: u64,
    stopping: bool,
}

impl State {
    fn take(&mut self) -> Option<(u64, Dirty)> {
        if self.dirty.is_empty() {
            return None;
        }
        let round = self.round;
        self.round += 1;
        Some((round, std::mem::take(&mut self.dirty)))
    }
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    /// All rounds below this have ended.
    ended: watch::Sender<u64>,
    metrics: Metrics,
}

/// Hands logs to the committing thread; clones share it.
#[derive(Clone)]
pub(crate) struct Committer {
    shared: Arc<Shared>,
}

/// The thread itself. Dropping it does not end it; [`stop`](Self::stop) does.
pub(crate) struct CommitThread {
    committer: Committer,
    thread: std::thread::JoinHandle<()>,
}

impl Committer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(crate) fn start(metrics: Metrics) -> io::Result<CommitThread> {
        let committer = Self::driven(metrics);
        let shared = Arc::clone(&committer.shared);
        let thread = runtime::tasks::spawn_thread("commit", move || shared.run())?;
        Ok(CommitThread { committer, thread })
    }

    /// One without a thread, whose rounds somebody else has run.
    pub(crate) fn driven(metrics: Metrics) -> Self {
        let (ended, _) = watch::channel(0);
        Self { shared: Arc::new(Shared { state: Mutex::default(), wake: Condvar::new(), ended, metrics }) }
    }

    /// Runs what is a round now, for a simulation; without anything dirty nothing happens.
    #[cfg(test)]
    pub(crate) fn drive(&self) {
        let round = self.shared.lock().take();
        if let Some((round, dirty)) = round {
            self.shared.turn(round, &dirty);
        }
    }

    /// Has `log` synced; what is returned ends when that was done or failed. The log itself knows which.
    pub(crate) fn submit(&self, log: &Arc<dyn Durable>) -> impl Future<Output = ()> + Send + use<> {
        let round = {
            let mut state = self.shared.lock();
            state.dirty.add(log);
            state.round
        };
        self.shared.wake.notify_one();
        let mut ended = self.shared.ended.subscribe();
        async move {
            // The sender lives as long as the process serves.
            drop(ended.wait_for(|ended| *ended > round).await);
        }
    }
}

impl CommitThread {
    pub(crate) fn committer(&self) -> Committer {
        self.committer.clone()
    }

    /// Ends the thread after a last round. Blocks until then.
    pub(crate) fn stop(self) {
        self.committer.shared.lock().stopping = true;
        self.committer.shared.wake.notify_one();
        if self.thread.join().is_err() {
            tracing::error!("the committing thread panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut to_note = Dirty::default();
        while let Some((round, dirty)) = self.next_round(!to_note.is_empty()) {
            if dirty.is_empty() {
                for log in std::mem::take(&mut to_note).logs {
                    self.sync(&*log, log.begin_note());
                }
                continue;
            }
            self.turn(round, &dirty);
            dirty.logs.iter().for_each(|log| to_note.add(log));
        }
    }

    fn turn(&self, round: u64, dirty: &Dirty) {
        for log in &dirty.logs {
            self.sync(&**log, log.begin_sync());
        }
        self.ended.send_replace(round + 1);
    }

    /// Waits for something to do; nothing dirty means that it is quiet; `None` is the end.
    fn next_round(&self, may_note: bool) -> Option<(u64, Dirty)> {
        let mut state = self.lock();
        loop {
            if let Some(round) = state.take() {
                return Some(round);
            }
            if state.stopping {
                return None;
            }
            if may_note {
                let (woken, wait) =
                    self.wake.wait_timeout(state, QUIET).unwrap_or_else(PoisonError::into_inner);
                state = woken;
                if wait.timed_out() && state.dirty.is_empty() {
                    return Some((state.round, Dirty::default()));
                }
            } else {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn sync(&self, log: &dyn Durable, ticket: Option<SyncTicket<DiskFile>>) {
        let Some(ticket) = ticket else { return };
        let started = clock::now();
        let outcome = ticket.run();
        self.metrics.sync_duration.observe(started.elapsed().as_secs_f64());
        log.finish_sync(&ticket, outcome);
    }
}
