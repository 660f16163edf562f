//! Where one reader of the Topic is, and what a record that it meets means. Pure.
//!
//! The writer puts messages into one partition in the order of their numbers. After a failure it writes some of them once
//! more, so a record may come again, and one may come before another that is still to be written. The last place of each
//! number is the one that the writer was told of, and these places ascend.

/// A message's number, and its offset in the Topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) sequence: u64,
    pub(super) offset: i64,
}

/// What a record means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is the next message.
    Take,
    /// It is somebody else's, or was taken already, or comes again.
    Skip,
    /// The Topic does not have anything up to this number any more. With an offset, the reading goes on there.
    Missing { last: u64, back: Option<i64> },
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Cursor {
    /// The number that comes next.
    next: u64,
    /// The lowest number that came too early.
    early: Option<Place>,
    /// Where the next one must have come.
    bound: Option<Place>,
}

impl Cursor {
    pub(super) const fn new(next: u64) -> Self {
        Self { next, early: None, bound: None }
    }

    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// The reader met a record with that number of ours, or of somebody else. `written`: the last place that the writer
    /// knows.
    pub(super) fn meet(&mut self, offset: i64, sequence: Option<u64>, written: Option<Place>) -> Step {
        match sequence {
            Some(sequence) if sequence == self.next => {
                *self = Self::new(self.next.saturating_add(1));
                return Step::Take;
            }
            Some(sequence)
                if sequence > self.next && self.early.is_none_or(|early| sequence < early.sequence) =>
            {
                self.early = Some(Place { sequence, offset });
            }
            _ => {}
        }
        self.reach(offset, written)
    }

    /// The log does not have what was to be read, and ends before `end`: what was written behind that is gone.
    pub(super) fn gone(&mut self, end: i64, written: Option<Place>) -> Step {
        let gone = written.filter(|written| written.sequence >= self.next && written.offset >= end);
        let Some(Place { sequence: last, .. }) = gone else {
            // The log is read from its beginning now.
            *self = Self::new(self.next);
            return Step::Skip;
        };
        *self = Self::new(last.saturating_add(1));
        Step::Missing { last, back: None }
    }

    /// Everything up to this offset was read.
    pub(super) fn reach(&mut self, offset: i64, written: Option<Place>) -> Step {
        // Kept once it is known, or a busy writer would be ahead for ever. Places ascend: when they do not, the log was
        // made anew.
        let anew = |bound: &Place| written.is_some_and(|written| written.offset < bound.offset);
        let bound = self.bound.filter(|bound| !anew(bound));
        self.bound = bound.or_else(|| written.filter(|written| written.sequence >= self.next));
        let Some(bound) = self.bound.filter(|bound| offset >= bound.offset) else { return Step::Skip };
        let before_early = self.early.map_or(u64::MAX, |early| early.sequence.saturating_sub(1));
        let last = bound.sequence.min(before_early);
        let back = self.early.map(|early| early.offset);
        *self = Self::new(last.saturating_add(1));
        Step::Missing { last, back }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads a log from `next` on, as the reader does; returns what was taken and what was missing.
    fn read(log: &[u64], mut next: u64, written: Place) -> (Vec<u64>, Vec<u64>) {
        let (mut taken, mut missing) = (Vec::new(), Vec::new());
        let mut cursor = Cursor::new(next);
        let mut offset = 0;
        while cursor.next() <= written.sequence {
            let sequence = usize::try_from(offset).ok().and_then(|place| log.get(place)).copied();
            let step = match sequence {
                Some(sequence) => cursor.meet(offset, Some(sequence), Some(written)),
                None => cursor.reach(offset, Some(written)),
            };
            offset += 1;
            match step {
                Step::Take => taken.push(next),
                Step::Skip => continue,
                Step::Missing { last, back } => {
                    missing.extend(next..=last);
                    offset = back.unwrap_or(offset);
                }
            }
            next = cursor.next();
        }
        (taken, missing)
    }

    /// Goal: what was written twice, and what came too early because a write before it failed, is taken once and in order.
    #[test]
    fn repeats_are_no_gaps() {
        let log = [1, 2, 2, 4, 3, 4, 5, 3, 4, 5, 6];
        let (taken, missing) = read(&log, 1, Place { sequence: 6, offset: 10 });
        assert_eq!((taken, missing), ((1..=6).collect(), vec![]));
    }

    /// Goal: a hole is found, whatever comes after it, and at the end of the log.
    #[test]
    fn holes_are_found() {
        let (taken, missing) = read(&[1, 4, 5], 1, Place { sequence: 6, offset: 3 });
        assert_eq!((taken, missing), (vec![1, 4, 5], vec![2, 3, 6]));
        let (taken, missing) = read(&[], 7, Place { sequence: 9, offset: 0 });
        assert_eq!((taken, missing), (vec![], vec![7, 8, 9]));
    }

    /// Goal: nothing is given up before the writer knows that it is there.
    #[test]
    fn what_is_not_written_yet_is_waited_for() {
        let mut cursor = Cursor::new(5);
        assert_eq!(cursor.meet(10, Some(6), None), Step::Skip);
        assert_eq!(cursor.reach(10, Some(Place { sequence: 4, offset: 9 })), Step::Skip);
        assert_eq!(cursor.reach(10, Some(Place { sequence: 6, offset: 12 })), Step::Skip);
        assert_eq!(cursor.meet(11, Some(5), Some(Place { sequence: 6, offset: 12 })), Step::Take);
        assert_eq!(cursor.meet(12, Some(6), Some(Place { sequence: 6, offset: 12 })), Step::Take);
    }

    /// Goal: a log that was made anew while somebody was behind gives what it has, whether the writer has gone on in it or
    /// not.
    #[test]
    fn a_log_made_anew_is_noticed() {
        let mut cursor = Cursor::new(7);
        let old = Some(Place { sequence: 95, offset: 89 });
        assert_eq!(cursor.meet(1, Some(97), old), Step::Skip);
        let new = Some(Place { sequence: 100, offset: 4 });
        assert_eq!(cursor.reach(4, new), Step::Missing { last: 96, back: Some(1) });
        assert_eq!(cursor.meet(1, Some(97), new), Step::Take);
        let mut cursor = Cursor::new(7);
        assert_eq!(cursor.gone(89, old), Step::Missing { last: 95, back: None });
        assert_eq!(cursor.next(), 96);
        let mut cursor = Cursor::new(7);
        assert_eq!(cursor.gone(90, old), Step::Skip);
        assert_eq!(cursor.next(), 7);
    }

    proptest! {
        /// Goal: with writes that fail in the middle and are begun again, and records that are gone, everything that is
        /// left is taken in order, and the rest is missing: nothing is both, and nothing is neither.
        #[test]
        fn every_number_is_taken_or_missing(
            tries in prop::collection::vec((1_u64..5, prop::collection::vec(any::<bool>(), 4)), 1..12),
            gone in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let (mut log, mut next, mut places) = (Vec::new(), 1_u64, Vec::new());
            for (count, outcomes) in tries {
                let mut all = true;
                for (sequence, went) in (next..next + count).zip(outcomes) {
                    if went {
                        log.push(sequence);
                    }
                    all &= went;
                    if all {
                        places.push((sequence, log.len() - 1));
                        next = sequence + 1;
                    }
                }
            }
            let Some((last, offset)) = places.last().copied() else { return Ok(()) };
            let mut lost: Vec<u64> = gone.iter().map(|index| places[index.index(places.len())].0).collect();
            lost.sort_unstable();
            lost.dedup();
            // A record that is gone is gone with its repeats: somebody else's stands there.
            let log: Vec<u64> = log.into_iter().map(|sequence| if lost.contains(&sequence) { 0 } else { sequence }).collect();
            let written = Place { sequence: last, offset: i64::try_from(offset).unwrap() };
            let (taken, missing) = read(&log, 1, written);
            prop_assert_eq!(&missing, &lost);
            prop_assert_eq!(taken, (1..=last).filter(|sequence| !lost.contains(sequence)).collect::<Vec<_>>());
        }
    }
}
