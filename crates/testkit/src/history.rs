//! What was sent, acknowledged and read of one partition, and whether it fits together. Knows no broker and no
//! socket: it is the judge.

use std::collections::{HashMap, VecDeque};

/// A message: which writer's, and its number in this partition from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sent it.
    pub writer: u32,
    /// Which of that writer's in this partition.
    pub number: u32,
}

/// Messages that a broker said it has.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    /// The first of them.
    pub first: Message,
    /// How many of the same writer, in order.
    pub count: u32,
    /// Where the first one is.
    pub offset: i64,
    /// Which life of the broker said so.
    pub life: u64,
}

/// The history of one partition.
#[derive(Default)]
pub struct Line {
    /// How many messages each writer has sent.
    sent: HashMap<u32, u32>,
    /// What the log has to say next of each writer.
    expected: HashMap<u32, u32>,
    /// Not yet compared with the log.
    acknowledged: Vec<Acknowledged>,
    /// What was read, by offset from `start`.
    seen: VecDeque<Message>,
    start: i64,
    /// Messages went unread, so that nobody knows what comes next of whom.
    blind: bool,
    /// Acknowledged messages that were found where they should be.
    pub proven: u64,
    /// Acknowledged messages that retention took before they were read.
    pub expired: u64,
}

impl Line {
    /// Numbers messages that are about to be sent.
    pub fn send(&mut self, writer: u32, count: u32) -> u32 {
        let sent = self.sent.entry(writer).or_default();
        let first = *sent;
        *sent += count;
        first
    }

    /// Takes note that the broker has messages.
    pub fn acknowledge(&mut self, acknowledged: Acknowledged) {
        self.acknowledged.push(acknowledged);
    }

    /// The first offset that is remembered.
    #[must_use]
    pub const fn start(&self) -> i64 {
        self.start
    }

    /// The offset up to which the log was read.
    #[must_use]
    pub fn frontier(&self) -> i64 {
        self.start.saturating_add(i64::try_from(self.seen.len()).unwrap_or(i64::MAX))
    }

    /// Takes the next message of the log, or compares one that was read before.
    ///
    /// # Errors
    /// What does not fit.
    pub fn read(&mut self, offset: i64, message: Message) -> Result<(), String> {
        if offset < self.start {
            return Ok(());
        }
        if offset < self.frontier() {
            return self.read_again(offset, message);
        }
        if offset > self.frontier() {
            return Err(format!("offset {offset} follows {} in the log", self.frontier() - 1));
        }
        let Message { writer, number } = message;
        if number >= self.sent.get(&writer).copied().unwrap_or(0) {
            return Err(format!("offset {offset} has {message:?}, which was never sent"));
        }
        if let Some(expected) = self.expected.get(&writer).copied().or_else(|| (!self.blind).then_some(0))
            && number != expected
        {
            let what = if number < expected { "twice or late" } else { "before what was sent earlier" };
            return Err(format!("offset {offset} has {message:?} {what}: number {expected} comes next"));
        }
        self.expected.insert(writer, number + 1);
        self.seen.push_back(message);
        Ok(())
    }

    /// What was once readable stays as it is.
    ///
    /// # Errors
    /// What does not fit.
    pub fn read_again(&self, offset: i64, message: Message) -> Result<(), String> {
        let known = usize::try_from(offset - self.start).ok().and_then(|at| self.seen.get(at));
        match known {
            Some(known) if *known != message => {
                Err(format!("offset {offset} had {known:?} and now has {message:?}"))
            }
            _ => Ok(()),
        }
    }

    /// The log begins here now. It must have been told to let go of what was before.
    ///
    /// # Errors
    /// What does not fit.
    pub fn starts_at(&mut self, start: i64) -> Result<(), String> {
        if start < self.start {
            return Err(format!("the log begins at {start}, it began at {} before", self.start));
        }
        if start > self.frontier() {
            self.blind = true;
            self.seen.clear();
            self.expected.clear();
            self.start = start;
        }
        while self.start < start {
            self.seen.pop_front();
            self.start += 1;
        }
        let expired = &mut self.expired;
        self.acknowledged.retain(|acknowledged| {
            let stays = acknowledged.offset >= start;
            *expired += if stays { 0 } else { u64::from(acknowledged.count) };
            stays
        });
        Ok(())
    }

    /// Compares what was acknowledged with what was read; all that a life before `life` acknowledged must be there.
    ///
    /// # Errors
    /// What does not fit.
    pub fn settle(&mut self, life: u64) -> Result<(), String> {
        let frontier = self.frontier();
        for acknowledged in std::mem::take(&mut self.acknowledged) {
            let Acknowledged { first, count, offset, .. } = acknowledged;
            if offset.saturating_add(i64::from(count)) > frontier {
                if acknowledged.life < life {
                    return Err(format!("{acknowledged:?} is not there: the log ends at {frontier}"));
                }
                self.acknowledged.push(acknowledged);
                continue;
            }
            for (at, number) in (first.number..).take(usize::try_from(count).unwrap_or(0)).enumerate() {
                let place = offset - self.start + i64::try_from(at).unwrap_or(0);
                let seen = usize::try_from(place).ok().and_then(|place| self.seen.get(place));
                let message = Message { number, ..first };
                if seen != Some(&message) {
                    return Err(format!("{acknowledged:?}: {message:?} is not at its offset, {seen:?} is"));
                }
            }
            self.proven += u64::from(count);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
