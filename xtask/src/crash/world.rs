//! What the threads of a crash test share: where the broker is in which life, what was found wrong, and the
//! histories of all partitions.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::link::{Broken, Link};
use testkit::copies::Copies;
use testkit::history::Line;

/// A partition that producers write to.
pub(crate) struct Track {
    pub(crate) topic: &'static str,
    pub(crate) partition: i32,
    pub(crate) line: Mutex<Line>,
}

/// Committed offsets of one group: what was acknowledged last, and the largest that was ever sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) acknowledged: i64,
    pub(crate) sent: i64,
}

#[derive(Clone, Copy, Default)]
struct Place {
    life: u64,
    /// `None` from just before a kill until the next start has succeeded.
    address: Option<SocketAddr>,
    ended: bool,
}

/// Figures of a run.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) resent: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) rebalances: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) topics_made: AtomicU64,
    pub(crate) writers: AtomicU64,
}

/// Counts one.
pub(crate) fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed)
}

/// What is shared.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) tracks: Vec<Track>,
    /// By group and index of the track.
    pub(crate) committed: Mutex<BTreeMap<(&'static str, usize), Committed>>,
    /// By index of the track: the generation that had it last, and its member.
    pub(crate) owners: Mutex<BTreeMap<usize, (i32, String)>>,
    /// What transactions copied, by copier.
    pub(crate) copies: [Arc<Mutex<Copies>>; 2],
    pub(crate) counts: Counts,
    place: Mutex<Place>,
    moved: Condvar,
    failed: AtomicBool,
    wrong: Mutex<Vec<String>>,
}

/// A poisoned lock is a panic that ends the run anyway.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn new(seed: u64, tracks: &[(&'static str, i32)]) -> Self {
        let track =
            |&(topic, partition): &(&'static str, i32)| Track { topic, partition, line: Mutex::default() };
        Self {
            seed,
            tracks: tracks.iter().map(track).collect(),
            committed: Mutex::default(),
            owners: Mutex::default(),
            copies: <[_; 2]>::default(),
            counts: Counts::default(),
            place: Mutex::default(),
            moved: Condvar::new(),
            failed: AtomicBool::new(false),
            wrong: Mutex::default(),
        }
    }

    /// The index of a partition that producers write to.
    pub(crate) fn track_at(&self, topic: &str, partition: i32) -> Option<(usize, &Track)> {
        let found = |track: &&Track| track.topic == topic && track.partition == partition;
        self.tracks.iter().enumerate().find(|(_, track)| found(track))
    }

    /// The broker serves at `address`, or is about to be killed.
    pub(crate) fn moves(&self, address: Option<SocketAddr>) -> u64 {
        let mut place = lock(&self.place);
        place.life += u64::from(address.is_some());
        place.address = address;
        self.moved.notify_all();
        place.life
    }

    /// Nobody needs to go on.
    pub(crate) fn end(&self) {
        lock(&self.place).ended = true;
        self.moved.notify_all();
    }

    /// Waits for a life after `seen` and connects; `None` at the end.
    pub(crate) fn connect(&self, seen: u64) -> Option<(u64, Link)> {
        let mut seen = seen;
        loop {
            let (life, address) = self.next_life(seen)?;
            match Link::open(address) {
                Ok(link) => return Some((life, link)),
                Err(broken) => self.lost(life, "connecting", broken),
            }
            seen = life;
        }
    }

    fn next_life(&self, seen: u64) -> Option<(u64, SocketAddr)> {
        let mut place = lock(&self.place);
        loop {
            if place.ended {
                return None;
            }
            match place.address {
                Some(address) if place.life > seen => return Some((place.life, address)),
                _ => place = self.moved.wait(place).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// A connection of `life` broke: that is wrong unless the broker was killed.
    pub(crate) fn lost(&self, life: u64, doing: &str, broken: Broken) {
        match broken {
            Broken::Wrong(what) => self.wrong(format!("{doing}: {what}")),
            Broken::Gone(error) => {
                let place = *lock(&self.place);
                if place.life == life && place.address.is_some() {
                    self.wrong(format!("{doing}: the connection broke though the broker lived: {error}"));
                }
            }
        }
    }

    /// Notes something that must not be. The run ends soon.
    pub(crate) fn wrong(&self, what: String) {
        println!("wrong: {what}");
        self.failed.store(true, Ordering::Relaxed);
        lock(&self.wrong).push(what);
        self.end();
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn findings(&self) -> Vec<String> {
        lock(&self.wrong).clone()
    }
}
