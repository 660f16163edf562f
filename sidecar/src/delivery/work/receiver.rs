//! One receiver of shared work, and the choice between several. Pure.

use super::super::buffer::Amount;
use super::ledger::Ledger;
use super::post::{Entry, Item};
use peer_wire::Distance;
use std::collections::VecDeque;

/// Most messages that one receiver gets in a row before the choice is made anew.
const RUN_MAX: i64 = 64;
/// Its credit may hold so many runs at least, so that a run is fair.
const RUN_SHARE: i64 = 16;

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Receiver {
    /// Its connection stands.
    pub(super) present: bool,
    /// From the publisher's sidecar.
    pub(super) distance: Distance,
    /// Credit that nothing is assigned to. Below zero where a key leaves no choice.
    pub(super) free: i64,
    /// The most that was free at once: what "relative to its credit" is measured against.
    pub(super) capacity: i64,
    /// Grows with every choice: among equals, who waited longest is next.
    pub(super) turn: u64,
    pub(super) assigned: VecDeque<Item>,
    /// Messages among them.
    pub(super) waiting: usize,
    /// What is assigned, and what was sent and counts until it is acknowledged.
    pub(super) load: Amount,
    pub(super) ledger: Ledger,
    /// The last number that was used.
    pub(super) number: u64,
    /// Slots of keys that stick to it.
    pub(super) slots: usize,
}

impl Receiver {
    pub(super) fn new(distance: Distance, credit: u64, number: u64) -> Self {
        let credit = signed(credit);
        Self {
            present: true,
            distance,
            free: credit,
            capacity: credit.max(1),
            turn: 0,
            assigned: VecDeque::new(),
            waiting: 0,
            load: Amount::default(),
            ledger: Ledger::default(),
            number,
            slots: 0,
        }
    }

    pub(super) fn set_free(&mut self, free: i64) {
        self.free = free;
        self.capacity = self.capacity.max(free);
    }

    /// Takes the first item, which is not sent: somebody else gets it, or nobody.
    pub(super) fn unassign(&mut self) -> Option<Item> {
        let item = self.assigned.pop_front()?;
        if let Item::Work(entry) = &item {
            self.free += 1;
            self.waiting = self.waiting.saturating_sub(1);
            self.load.take(entry.post.size);
        }
        Some(item)
    }

    pub(super) fn assign(&mut self, entry: Entry) {
        self.free -= 1;
        self.waiting += 1;
        self.load.add(entry.post.size);
        self.assigned.push_back(Item::Work(entry));
    }

    /// From now on, only what is assigned counts.
    pub(super) fn count_assigned(&mut self) {
        self.load = Amount::default();
        for item in &self.assigned {
            if let Item::Work(entry) = item {
                self.load.add(entry.post.size);
            }
        }
    }

    pub(super) fn candidate(&self, id: u32, avoided: bool) -> Candidate {
        let (distance, turn) = (self.distance, self.turn);
        Candidate { id, distance, free: self.free, capacity: self.capacity, turn, avoided }
    }
}

pub(super) fn signed(credit: u64) -> i64 {
    i64::try_from(credit).unwrap_or(i64::MAX).min(1 << 40)
}

/// One of those who could do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) id: u32,
    pub(super) distance: Distance,
    pub(super) free: i64,
    pub(super) capacity: i64,
    pub(super) turn: u64,
    /// Had it already: only when nobody else has credit.
    pub(super) avoided: bool,
}

/// Who gets the next message, and how many in a row: of those that have credit the nearest, so that one which is near and
/// slow holds up no more than its credit; among the equally near the one with the least outstanding relative to its credit, which is
/// the one with the largest share of it free; among equals the one whose turn was longest ago.
pub(super) fn choose(candidates: impl Iterator<Item = Candidate>) -> Option<(u32, i64)> {
    let best = candidates.filter(|candidate| candidate.free > 0).min_by(|one, other| {
        let share =
            |candidate: &Candidate, of: &Candidate| i128::from(candidate.free) * i128::from(of.capacity);
        one.avoided
            .cmp(&other.avoided)
            .then_with(|| one.distance.cmp(&other.distance))
            .then_with(|| share(other, one).cmp(&share(one, other)))
            .then_with(|| one.turn.cmp(&other.turn))
            .then_with(|| one.id.cmp(&other.id))
    })?;
    Some((best.id, (best.free / RUN_SHARE).clamp(1, RUN_MAX)))
}
