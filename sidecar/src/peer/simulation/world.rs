//! What a run remembers: chances, a log of all that happened with its moment, and what was found wrong.

use super::records::Records;
use runtime::clock::{self, Instant};
use std::collections::BTreeMap;
use std::fmt::Arguments;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use testkit::chance::Chance;

/// Log lines that are kept for the reader of a failure.
const LINES_MAX: usize = 200_000;

/// The subscriber's process, and its id there.
pub(super) type Subscription = (u64, u32);

/// How a subscription began at a publisher.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning {
    /// What follows comes after this number.
    pub(super) after: u64,
    pub(super) at: Duration,
    /// What the publisher may have published by then.
    pub(super) offered: u64,
}

/// See the head of the file.
pub(super) struct World {
    chance: Mutex<Chance>,
    /// `None`: nobody reads it.
    log: Mutex<Option<Vec<String>>>,
    wrong: Mutex<Option<String>>,
    pub(super) records: Mutex<Records>,
    /// By the publisher's process.
    begun: Mutex<BTreeMap<(Subscription, u64), Beginning>>,
    origin: Instant,
    /// Pieces are often cut.
    ragged: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// With `verbose`, all that happens is kept as text.
    pub(super) fn new(seed: u64, ragged: bool, verbose: bool) -> Self {
        Self {
            chance: Mutex::new(Chance::new(seed, 1)),
            log: Mutex::new(verbose.then(Vec::new)),
            wrong: Mutex::default(),
            records: Mutex::default(),
            begun: Mutex::default(),
            origin: clock::now(),
            ragged,
        }
    }

    /// A number below `limit`; 0 when there is none.
    pub(super) fn below(&self, limit: u64) -> u64 {
        lock(&self.chance).below(limit)
    }

    /// A place in a list of that length.
    pub(super) fn pick(&self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    pub(super) fn one_in(&self, times: u64) -> bool {
        lock(&self.chance).one_in(times)
    }

    /// A duration below `most_ms`.
    pub(super) fn moment(&self, most_ms: u64) -> Duration {
        Duration::from_millis(self.below(most_ms))
    }

    /// How much of `most` bytes goes at once: at least one, where there is one.
    pub(super) fn piece(&self, most: usize) -> usize {
        if most < 2 || !self.one_in(if self.ragged { 3 } else { 50 }) {
            return most;
        }
        1 + usize::try_from(self.below(most as u64)).unwrap_or(0)
    }

    pub(super) fn now(&self) -> Duration {
        clock::now() - self.origin
    }

    pub(super) fn log(&self, line: Arguments<'_>) {
        if let Some(lines) = lock(&self.log).as_mut().filter(|lines| lines.len() < LINES_MAX) {
            lines.push(format!("{:>9.3} {line}", self.now().as_secs_f64()));
        }
    }

    /// The first thing wrong is what counts.
    pub(super) fn wrong(&self, what: &str) {
        self.log(format_args!("WRONG: {what}"));
        lock(&self.wrong).get_or_insert_with(|| format!("at {:.3} s: {what}", self.now().as_secs_f64()));
    }

    pub(super) fn found(&self) -> Option<String> {
        lock(&self.wrong).clone()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        lock(&self.log).clone().unwrap_or_default()
    }

    pub(super) fn records(&self) -> MutexGuard<'_, Records> {
        lock(&self.records)
    }

    /// A publisher's answer has come to the subscriber.
    pub(super) fn begun(&self, subscription: Subscription, publisher: u64, after: u64) {
        let (process, id) = subscription;
        self.log(format_args!("subscription {id} of process {process} begins at {publisher} after {after}"));
        let (at, records) = (self.now(), self.records());
        let taking = records.takings.iter().find(|taking| (taking.process, taking.id) == subscription);
        let numbering = taking.and_then(|taking| records.numberings.get(&(taking.scene, publisher)));
        let offered = numbering.map_or(0, |numbering| numbering.next_id);
        lock(&self.begun).entry((subscription, publisher)).or_insert(Beginning { after, at, offered });
    }

    /// How the subscription began at that publisher, if it ever did.
    pub(super) fn beginning(&self, subscription: Subscription, publisher: u64) -> Option<Beginning> {
        lock(&self.begun).get(&(subscription, publisher)).copied()
    }
}
