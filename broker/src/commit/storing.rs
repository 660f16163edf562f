//! Behind the rounds: logs that the journal keeps batches for are synced in their own files, one by one and with
//! pauses, so that the journal can be used again; and the journal's next file is made before it is needed.
//!
//! When no round ran for a while all logs are, once, and then this sleeps until there is a round again.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use record_log::journal::store;

use super::{Durable, Shared};

/// After so long without a round, the journal is emptied.
const QUIET: Duration = Duration::from_secs(1);
/// From this part of the journal on it is emptied while rounds go on, in percent.
const PRESSED_PERCENT: u64 = 50;
/// Above this part without pauses.
const URGENT_PERCENT: u64 = 85;
/// Between two logs: a sync of a log's own file holds up the journal's.
const PAUSE: Duration = Duration::from_millis(2);

/// Logs by folder. Who deletes one need not tell.
type Known = BTreeMap<String, Weak<Durable>>;

#[derive(Default)]
struct State {
    /// Logs that were in a round since all were stored.
    known: Known,
    /// Those that could not be stored: they took no more writes.
    stuck: Known,
    rounds: u64,
    /// A file is wanted, or the journal is half full.
    pressed: bool,
    stopping: bool,
}

/// What the rounds tell the storing thread.
#[derive(Default)]
pub(super) struct Storing {
    state: Mutex<State>,
    wake: Condvar,
    /// It sleeps for want of work.
    asleep: AtomicBool,
}

impl Storing {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of logs that were in a round.
    pub(super) fn take(&self, logs: &[Arc<Durable>], pressed: bool) {
        let mut state = self.lock();
        for log in logs {
            if !state.known.contains_key(log.folder()) {
                state.known.insert(log.folder().to_owned(), Arc::downgrade(log));
            }
        }
        state.rounds += 1;
        let newly = pressed && !state.pressed;
        state.pressed |= pressed;
        drop(state);
        if newly || self.asleep.swap(false, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.wake.notify_one();
    }

    /// Waits; says whether it is over.
    fn pause(&self, time: Duration) -> bool {
        let state = self.lock();
        let waited = self.wake.wait_timeout_while(state, time, |state| !state.stopping);
        waited.unwrap_or_else(PoisonError::into_inner).0.stopping
    }

    fn get(&self, folder: &str) -> Option<Weak<Durable>> {
        let state = self.lock();
        state.known.get(folder).or_else(|| state.stuck.get(folder)).cloned()
    }
}

/// What is to be done next.
enum Work {
    /// Room is needed.
    Press,
    /// There was no round for a while.
    Empty,
    Stop,
}

impl Shared {
    /// Whether the storing thread has something to do that does not wait.
    pub(super) fn is_pressed(&self) -> bool {
        let journal = self.journal();
        journal.wants_more() || (journal.used_bytes() > 0 && journal.used_percent() >= PRESSED_PERCENT)
    }

    /// Waits; says whether it is over.
    fn pause(&self, time: Duration) -> bool {
        !self.is_driven && self.storing.pause(time)
    }

    /// The storing thread.
    pub(super) fn run_storing(&self) {
        loop {
            match self.next_work() {
                Work::Stop => return,
                Work::Press => {
                    self.grow();
                    let before = self.journal().used_percent();
                    if before >= PRESSED_PERCENT {
                        self.store_needed();
                        // A log that cannot be stored keeps its part of the journal: no use in trying all the time.
                        if self.journal().used_percent() >= before && self.pause(QUIET) {
                            return;
                        }
                    }
                }
                Work::Empty => self.store_all(),
            }
        }
    }

    fn next_work(&self) -> Work {
        let storing = &self.storing;
        let mut state = storing.lock();
        loop {
            if state.stopping {
                return Work::Stop;
            }
            if std::mem::take(&mut state.pressed) {
                return Work::Press;
            }
            if state.known.is_empty() {
                storing.asleep.store(true, Ordering::Release);
                state = storing.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                storing.asleep.store(false, Ordering::Release);
                continue;
            }
            let rounds = state.rounds;
            let waited = storing.wake.wait_timeout(state, QUIET);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if timeout.timed_out() && state.rounds == rounds && !state.pressed && !state.stopping {
                return Work::Empty;
            }
        }
    }

    /// Makes the journal's next file, when one is wanted.
    fn grow(&self) {
        let wanted = self.journal().wants_file();
        match wanted.map(record_log::journal::NewFile::make) {
            None => {}
            Some(Ok(made)) => self.journal().add(made),
            Some(Err(error)) => {
                // Rounds go on without: every log is synced in its own file.
                tracing::warn!(%error, "cannot make a file of the journal");
                self.pause(QUIET);
            }
        }
    }

    /// Stores the logs that the journal keeps something for now.
    fn store_needed(&self) {
        let needed = self.journal().needed();
        for folder in needed {
            match self.storing.get(&folder).map(|known| known.upgrade()) {
                Some(Some(log)) => self.store(&*log),
                // It was deleted.
                Some(None) => self.journal().confirm(&folder, i64::MAX),
                None => {}
            }
            let urgent = self.journal().used_percent() >= URGENT_PERCENT;
            if !urgent && self.pause(PAUSE) {
                return;
            }
        }
    }

    /// Stores all logs that were in a round since this was done last.
    pub(super) fn store_all(&self) {
        let (known, rounds) = {
            let mut state = self.storing.lock();
            (std::mem::take(&mut state.known), state.rounds)
        };
        let (mut left, mut stored) = (known.into_iter(), Known::new());
        for (folder, log) in left.by_ref() {
            match log.upgrade() {
                Some(log) => self.store(&*log),
                None => self.journal().confirm(&folder, i64::MAX),
            }
            stored.insert(folder, log);
            // It is not quiet any more.
            if self.storing.lock().rounds != rounds && self.pause(PAUSE) {
                break;
            }
        }
        let needed: HashSet<String> = self.journal().needed().into_iter().collect();
        let mut state = self.storing.lock();
        // What this did not come to is for the next time.
        for (folder, log) in left {
            state.known.entry(folder).or_insert(log);
        }
        state.stuck.extend(stored);
        state.stuck.retain(|folder, _| needed.contains(folder));
    }

    /// What the storing thread might do about now; how often depends on the rounds alone.
    #[cfg(test)]
    pub(super) fn drive_storing(&self) {
        let rounds = self.storing.lock().rounds;
        if rounds.is_multiple_of(3) {
            self.grow();
        }
        if rounds.is_multiple_of(29) {
            self.store_all();
        } else if rounds.is_multiple_of(5) && self.journal().used_percent() >= PRESSED_PERCENT {
            self.store_needed();
        }
    }

    fn store(&self, log: &Durable) {
        store(log, &self.journal, &mut |sync| self.timed(sync));
        self.metrics.commit.journal_stored_logs.inc();
        self.tell_used();
    }
}
