//! Gaps without a message between them, as few as possible. Pure.

use peer_wire::{Gap, GapReason};

/// Adds `more`, which comes after `gap` and has its reason. A number that nobody knows stays unknown.
pub(super) const fn join(gap: &mut Gap, more: &Gap) {
    gap.last = more.last;
    gap.messages = match (gap.messages, more.messages) {
        (0, _) | (_, 0) => 0,
        (one, other) => one.saturating_add(other),
    };
}

/// Collects gaps in the order of their ranges; at most one for each reason comes out.
#[derive(Debug, Default)]
pub(super) struct Losses {
    gaps: Vec<Gap>,
    /// The end of everything that was added.
    last: u64,
    /// A reason came again after another one: the ranges are laid out anew.
    mixed: bool,
}

impl Losses {
    pub(super) fn add(&mut self, gap: &Gap) {
        self.last = gap.last;
        let neighbour = self.gaps.len().saturating_sub(1);
        match self.gaps.iter().position(|known| known.reason == gap.reason) {
            Some(place) => {
                self.mixed |= place != neighbour;
                if let Some(known) = self.gaps.get_mut(place) {
                    join(known, gap);
                }
            }
            None => self.gaps.push(*gap),
        }
    }

    pub(super) fn add_message(&mut self, sequence: u64, reason: GapReason) {
        self.add(&Gap { first: sequence, last: sequence, messages: 1, reason });
    }

    /// The gaps, in order. Where reasons alternated, the numbers are exact for each reason and the whole range is
    /// exact; which part of it stands for which reason is not. Every reason has room: its parts were disjoint, and
    /// each spanned at least as many sequence numbers as it counted messages, and at least one.
    pub(super) fn take(&mut self) -> Vec<Gap> {
        let mut gaps = std::mem::take(&mut self.gaps);
        if std::mem::take(&mut self.mixed) {
            let mut next = gaps.first().map_or(0, |gap| gap.first);
            for gap in &mut gaps {
                gap.first = next;
                next = next.saturating_add(gap.messages.max(1));
                gap.last = next.saturating_sub(1);
            }
        }
        if let Some(gap) = gaps.last_mut() {
            gap.last = self.last;
        }
        gaps
    }
}
