//! What was sent to one receiver under numbers that ascend, until it is confirmed, acknowledged or given up. Pure.

use super::post::{Done, Entry};
use peer_wire::Gap;
use std::collections::VecDeque;
use std::time::Duration;

/// Attempts that were given up and whose late ack is still understood.
const MOVED_MAX: usize = 1024;
/// Below this many places it is not worth to close the holes.
const PLACES_MIN: usize = 64;

#[derive(Debug)]
struct Place {
    number: u64,
    /// When an ack is due.
    due: Duration,
    entry: Option<Entry>,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Ascending; those without an entry are done.
    places: VecDeque<Place>,
    live: usize,
    /// Gaps that were told, until their receipt is confirmed.
    gaps: VecDeque<(u64, Gap)>,
    /// Attempts that were given up while their receiver lives.
    moved: VecDeque<(u64, Done)>,
}

impl Ledger {
    /// Entries that are not settled.
    pub(super) const fn len(&self) -> usize {
        self.live
    }

    pub(super) fn push(&mut self, number: u64, entry: Entry, due: Duration) {
        self.places.push_back(Place { number, due, entry: Some(entry) });
        self.live += 1;
    }

    pub(super) fn push_gap(&mut self, number: u64, gap: Gap) {
        self.gaps.push_back((number, gap));
    }

    /// Takes the entry of that number out.
    pub(super) fn take(&mut self, number: u64) -> Option<Entry> {
        let index = self.places.binary_search_by_key(&number, |place| place.number).ok()?;
        let entry = self.places.get_mut(index)?.entry.take()?;
        self.live -= 1;
        while self.places.front().is_some_and(|place| place.entry.is_none()) {
            self.places.pop_front();
        }
        if self.places.len() >= PLACES_MIN && self.live * 2 < self.places.len() {
            self.places.retain(|place| place.entry.is_some());
        }
        Some(entry)
    }

    /// Takes all entries whose numbers lie in the span.
    pub(super) fn take_span(&mut self, first: u64, last: u64) -> Vec<(u64, Entry)> {
        let start = self.places.partition_point(|place| place.number < first);
        let inside = self.places.range(start..).take_while(|place| place.number <= last);
        let numbers: Vec<u64> =
            inside.filter(|place| place.entry.is_some()).map(|place| place.number).collect();
        numbers.into_iter().filter_map(|number| self.take(number).map(|entry| (number, entry))).collect()
    }

    /// Receipt is confirmed up to there: entries that need no ack are done. Returns what they were.
    pub(super) fn confirm(&mut self, received: u64) -> Vec<Entry> {
        let mut done = Vec::new();
        while self.places.front().is_some_and(|place| place.number <= received) {
            if let Some(entry) = self.places.pop_front().and_then(|place| place.entry) {
                self.live -= 1;
                done.push(entry);
            }
        }
        done
    }

    /// Gaps up to there have come.
    pub(super) fn confirm_gaps(&mut self, received: u64) {
        while self.gaps.front().is_some_and(|(number, _)| *number <= received) {
            self.gaps.pop_front();
        }
    }

    /// Acks of numbers that were given up.
    pub(super) fn ack_moved(&mut self, first: u64, last: u64) {
        self.moved.retain(|(number, done)| {
            let acked = (first..=last).contains(number);
            if acked {
                done.set();
            }
            !acked
        });
    }

    /// The attempt of that number is given up.
    pub(super) fn note_moved(&mut self, number: u64, done: Done) {
        if self.moved.len() >= MOVED_MAX {
            self.moved.pop_front();
        }
        self.moved.push_back((number, done));
    }

    /// The first entry whose ack is overdue.
    pub(super) fn take_overdue(&mut self, now: Duration) -> Option<(u64, Entry)> {
        let place = self.places.iter().find(|place| place.entry.is_some())?;
        let number = if place.due <= now { place.number } else { return None };
        self.take(number).map(|entry| (number, entry))
    }

    /// When the next ack is due.
    pub(super) fn due(&self) -> Option<Duration> {
        self.places.iter().find(|place| place.entry.is_some()).map(|place| place.due)
    }

    /// What has not come, in order: it is sent again under the same numbers.
    pub(super) fn rewind(&mut self, received: u64) -> Vec<(u64, Result<Entry, Gap>)> {
        let mut back: Vec<(u64, Result<Entry, Gap>)> = Vec::new();
        while self.places.back().is_some_and(|place| place.number > received) {
            let Some(place) = self.places.pop_back() else { break };
            if let Some(entry) = place.entry {
                self.live -= 1;
                back.push((place.number, Ok(entry)));
            }
        }
        while let Some((number, gap)) = self.gaps.pop_back() {
            if number > received {
                back.push((number, Err(gap)));
            }
        }
        // Their numbers are used again, for others.
        self.moved.retain(|(number, _)| *number <= received);
        back.sort_by_key(|(number, _)| *number);
        back
    }

    /// Takes what is done without an answer.
    pub(super) fn take_done(&mut self) -> Vec<Entry> {
        let done: Vec<u64> = self
            .places
            .iter()
            .filter(|place| place.entry.as_ref().is_some_and(Entry::is_done))
            .map(|place| place.number)
            .collect();
        done.into_iter().filter_map(|number| self.take(number)).collect()
    }

    /// Ends it: all that is not settled, in order.
    pub(super) fn end(self) -> (Vec<Entry>, Vec<Gap>) {
        let entries = self.places.into_iter().filter_map(|place| place.entry).collect();
        (entries, self.gaps.into_iter().map(|(_, gap)| gap).collect())
    }
}
