//! What transactions copied from one partition, and whether it fits together: each message once, whole transactions
//! only, none that was not committed, and the committed offset of the group in step with the copies. Knows no
//! broker and no socket: it is the judge.

/// How a transaction came out, as far as its producer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nobody asked for it to be committed.
    Open,
    /// It was asked for, and there was no answer yet.
    Asked,
    Committed,
}

/// One transaction; it copies the messages from `from` up to `to`.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    fate: Fate,
    from: i64,
    to: i64,
}

/// A copy that a reader of committed messages was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Where it is.
    pub offset: i64,
    /// Which transaction brought it.
    pub attempt: usize,
    /// Which message it is a copy of.
    pub input: i64,
}

/// What a partition says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// Everything below is decided.
    pub stable: i64,
    /// Everything below can be read.
    pub high: i64,
}

/// What was read of a partition with copies.
#[derive(Default)]
struct View {
    /// In order: the first one is the copy of message 0.
    seen: Vec<Copy>,
    ends: Ends,
}

/// Where copies go: a partition of their own, and one that several copiers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A partition that nobody else writes to.
    Own,
    /// A partition of several copiers.
    Shared,
}

/// The copies of one partition's messages.
#[derive(Default)]
pub struct Copies {
    attempts: Vec<Attempt>,
    own: View,
    shared: View,
}

impl Copies {
    /// A transaction begins that copies the messages from `from` up to `to`.
    pub fn begin(&mut self, from: i64, to: i64) -> usize {
        self.attempts.push(Attempt { fate: Fate::Open, from, to });
        self.attempts.len() - 1
    }

    /// It is about to be committed: from now on nobody knows.
    pub fn ask(&mut self, attempt: usize) {
        self.fate(attempt, Fate::Asked);
    }

    /// The broker said that it is committed.
    pub fn commit(&mut self, attempt: usize) {
        self.fate(attempt, Fate::Committed);
    }

    /// The broker said that it is not, and never will be.
    pub fn abort(&mut self, attempt: usize) {
        self.fate(attempt, Fate::Open);
    }

    fn fate(&mut self, attempt: usize, fate: Fate) {
        if let Some(known) = self.attempts.get_mut(attempt) {
            known.fate = fate;
        }
    }

    fn view(&self, side: Side) -> &View {
        match side {
            Side::Own => &self.own,
            Side::Shared => &self.shared,
        }
    }

    /// How many copies were found that way.
    #[must_use]
    pub fn proven(&self) -> u64 {
        self.own.seen.len() as u64
    }

    /// Transactions that the broker said are committed.
    #[must_use]
    pub fn committed(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.fate == Fate::Committed).count()
    }

    /// Takes what a reader of committed messages found from the copy of message `first` up to `ends`.
    ///
    /// # Errors
    /// What does not fit.
    pub fn read(&mut self, side: Side, first: usize, found: &[Copy], ends: Ends) -> Result<(), String> {
        let view = match side {
            Side::Own => &mut self.own,
            Side::Shared => &mut self.shared,
        };
        let mut at = first;
        for copy in found {
            let attempt = self.attempts.get(copy.attempt).ok_or_else(|| format!("{copy:?} of nobody"))?;
            if usize::try_from(copy.input) != Ok(at) {
                return Err(format!("{copy:?} comes where the copy of {at} should: twice, late or lost"));
            }
            if attempt.fate == Fate::Open {
                return Err(format!("{copy:?} is of a transaction that nobody committed: {attempt:?}"));
            }
            let goes_on = at.checked_sub(1).and_then(|before| view.seen.get(before));
            let begins = goes_on.is_none_or(|before| before.attempt != copy.attempt);
            if begins != (attempt.from == copy.input) {
                return Err(format!("{copy:?} begins or goes on in the middle of {attempt:?}"));
            }
            match view.seen.get(at) {
                Some(before) if before != copy => return Err(format!("{before:?} is {copy:?} now")),
                Some(_) => {}
                None => view.seen.push(*copy),
            }
            at += 1;
        }
        if at < view.seen.len() {
            return Err(format!(
                "the copy of {at} was there before and is gone: {ends:?} after {:?}",
                view.ends
            ));
        }
        let last = view.seen.last().and_then(|copy| self.attempts.get(copy.attempt));
        if let Some(last) = last.filter(|last| usize::try_from(last.to) != Ok(at)) {
            return Err(format!("{last:?} is there in part: {at} copies"));
        }
        if ends.stable < view.ends.stable || ends.high < view.ends.high || ends.stable > ends.high {
            return Err(format!("{ends:?} follow {:?}", view.ends));
        }
        view.ends = ends;
        Ok(())
    }

    /// How many copies are known of a side, and where its reader was last.
    #[must_use]
    pub fn frontier(&self, side: Side) -> (usize, i64) {
        let view = self.view(side);
        (view.seen.len(), view.ends.stable)
    }

    /// Nothing of this copier is open, and its group has committed `offset`.
    ///
    /// # Errors
    /// What does not fit.
    pub fn settle(&self, side: Side, offset: i64) -> Result<(), String> {
        let view = self.view(side);
        // Others' transactions may hide ours where they write, too.
        if side == Side::Shared && view.ends.stable < view.ends.high {
            return Ok(());
        }
        if usize::try_from(offset) != Ok(view.seen.len()) {
            let found = view.seen.len();
            return Err(format!("{side:?}: {found} copies can be read and offset {offset} is committed"));
        }
        let lost = |attempt: &&Attempt| attempt.fate == Fate::Committed && attempt.to > offset;
        match self.attempts.iter().find(lost) {
            Some(lost) => Err(format!("{side:?}: {lost:?} is lost, offset {offset} is committed")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(attempt: usize, input: i64) -> Copy {
        Copy { offset: input + 10, attempt, input }
    }

    /// Messages 0 to 2 were committed in transaction 0, 2 to 4 were not in 1, and are in 2, which got no answer.
    fn copies() -> Copies {
        let mut copies = Copies::default();
        let first = copies.begin(0, 2);
        copies.ask(first);
        copies.commit(first);
        copies.begin(2, 4);
        let third = copies.begin(2, 4);
        copies.ask(third);
        copies
    }

    const ENDS: Ends = Ends { stable: 20, high: 30 };

    /// Goal: an honest broker passes, whether it committed what it gave no answer to or not.
    #[test]
    fn honest_copies_pass() {
        let mut copies = copies();
        copies.read(Side::Own, 0, &[copy(0, 0), copy(0, 1)], ENDS).unwrap();
        copies.settle(Side::Own, 2).unwrap();
        copies.read(Side::Own, 2, &[copy(2, 2), copy(2, 3)], Ends { stable: 30, high: 30 }).unwrap();
        copies
            .read(
                Side::Own,
                0,
                &[copy(0, 0), copy(0, 1), copy(2, 2), copy(2, 3)],
                Ends { stable: 30, high: 30 },
            )
            .unwrap();
        copies.settle(Side::Own, 4).unwrap();
        copies.settle(Side::Shared, 4).unwrap_err();
        assert_eq!((copies.proven(), copies.committed(), copies.frontier(Side::Own)), (4, 1, (4, 30)));
    }

    /// Goal: a copy too many, too few, of an aborted transaction or of half a transaction is found, and a stable
    /// offset that goes back.
    #[test]
    fn lies_are_found() {
        let read = |found: &[Copy]| copies().read(Side::Own, 0, found, ENDS);
        assert!(read(&[copy(0, 0), copy(0, 0)]).unwrap_err().contains("twice"));
        assert!(read(&[copy(0, 1)]).unwrap_err().contains("lost"));
        assert!(read(&[copy(0, 0)]).unwrap_err().contains("in part"));
        assert!(
            read(&[copy(0, 0), copy(0, 1), copy(1, 2), copy(1, 3)]).unwrap_err().contains("nobody committed")
        );
        let mut gone = copies();
        gone.read(Side::Own, 0, &[copy(0, 0), copy(0, 1)], ENDS).unwrap();
        assert!(gone.read(Side::Own, 0, &[], ENDS).unwrap_err().contains("gone"));
        assert!(gone.read(Side::Own, 2, &[], Ends { stable: 19, high: 30 }).unwrap_err().contains("follow"));
        assert!(gone.settle(Side::Own, 4).unwrap_err().contains("committed"));
        let lost = copies();
        assert!(lost.settle(Side::Own, 0).unwrap_err().contains("is lost"));
    }
}
