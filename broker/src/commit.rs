//! Adaptive group commit: one thread syncs all logs that were written to while its last sync ran.
//!
//! There is no timer: a lone write is synced at once, many writes share the next sync. A sync that fails is
//! never tried again: its log stops taking writes, and everybody who waited for it is told.

use std::{
    collections::HashMap,
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

/// By address: the same log is synced once a round.
type Dirty = HashMap<usize, Arc<dyn Durable>>;

#[derive(Default)]
struct State {
    /// Logs for the next round.
    dirty: Dirty,
    /// The next round.
    round: u64,
    stopping: bool,
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
        let (ended, _) = watch::channel(0);
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Condvar::new(), ended, metrics });
        let committer = Self { shared: Arc::clone(&shared) };
        let thread = runtime::tasks::spawn_thread("commit", move || shared.run())?;
        Ok(CommitThread { committer, thread })
    }

    /// Has `log` synced; what is returned ends when that was done or failed. The log itself knows which.
    pub(crate) fn submit(&self, log: &Arc<dyn Durable>) -> impl Future<Output = ()> + Send + use<> {
        let round = {
            let mut state = self.shared.lock();
            let address = Arc::as_ptr(log).cast::<()>().addr();
            state.dirty.entry(address).or_insert_with(|| Arc::clone(log));
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
        let mut to_note = Dirty::new();
        while let Some((round, dirty)) = self.next_round(!to_note.is_empty()) {
            if dirty.is_empty() {
                for log in to_note.drain().map(|(_, log)| log) {
                    self.sync(&*log, log.begin_note());
                }
                continue;
            }
            for log in dirty.values() {
                self.sync(&**log, log.begin_sync());
            }
            self.ended.send_replace(round + 1);
            to_note.extend(dirty);
        }
    }

    /// Waits for something to do; nothing dirty means that it is quiet; `None` is the end.
    fn next_round(&self, may_note: bool) -> Option<(u64, Dirty)> {
        let mut state = self.lock();
        loop {
            if !state.dirty.is_empty() {
                let round = state.round;
                state.round += 1;
                return Some((round, std::mem::take(&mut state.dirty)));
            }
            if state.stopping {
                return None;
            }
            if may_note {
                let (woken, wait) =
                    self.wake.wait_timeout(state, QUIET).unwrap_or_else(PoisonError::into_inner);
                state = woken;
                if wait.timed_out() && state.dirty.is_empty() {
                    return Some((state.round, Dirty::new()));
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
