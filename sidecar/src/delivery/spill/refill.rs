//! Fills up who is behind: from memory, and where that does not reach back far enough, from the Topic.

use super::super::buffer::{Amount, Batch};
use super::super::origin::Origin;
use super::super::outlet::Outlet;
use super::behind::Backlog;
use super::cursor::{Cursor, Place, Step};
use super::lane::Lane;
use super::{Links, restored};
use crate::durable::{LogReader, Read};
use crate::messaging::{Message, Problem, ProblemKind};
use runtime::backoff::Backoff;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Taken from memory in one go: others wait for the lock meanwhile.
const CHUNK: usize = 1000;
/// How long a reader of the Topic is kept for someone who makes no room; a new one takes some milliseconds.
const HOLD: Duration = Duration::from_secs(2);
/// How long nothing may come before it is looked whether anything can.
const QUIET: Duration = Duration::from_millis(500);
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(10);

enum Next {
    /// It has caught up, or is gone.
    Done,
    More,
    /// It has no room.
    Full,
    /// What comes next is in the Topic alone, at this offset.
    InTopic(Backlog, i64),
}

impl Outlet {
    pub(super) fn begin_refill(&self, lane: Lane) {
        if let Some(links) = self.spill.links.get() {
            drop(links.tasks.spawn_until_shutdown("spill", refill(links.clone(), lane)));
        }
    }

    /// Fills up from memory. Under the lock of the outlet: what is published meanwhile comes after it.
    fn fill_from_memory(&self, lane: &Lane) -> Next {
        let state = self.lock();
        let lanes = self.lanes(&state);
        let mut held = self.spill.lock();
        let backlog = lane.behind().backlog().filter(|_| lanes.iter().any(|present| present.is(lane)));
        let next = backlog.map_or(Next::Done, |backlog| {
            let entries = held.window.from(backlog.next, CHUNK);
            let Some(first) = entries.first() else {
                return self.not_in_memory(lane, backlog, held.window.first_from(backlog.next));
            };
            let messages: Vec<Message> = entries.iter().map(|entry| entry.message.clone()).collect();
            let sizes = entries.iter().map(|entry| entry.size).collect();
            let batch = Arc::new(Batch::new(first.sequence, first.accepted, messages, sizes));
            let index = put(lane, &batch, |_| None);
            if index < batch.len() { Next::Full } else { Next::More }
        });
        let caught_up = lane.behind().backlog().is_none_or(|backlog| backlog.next > state.last);
        if matches!(next, Next::Done) || caught_up {
            lane.behind().end();
            // A publish that waits because the Channel does not spill any more.
            lane.room().notify_one();
            if lanes.iter().all(|lane| !lane.behind().is_behind()) {
                held.clear();
                self.spill.went.notify_one();
            }
            return Next::Done;
        }
        next
    }

    /// `following`: the first number in memory that is not before what comes next.
    fn not_in_memory(&self, lane: &Lane, backlog: Backlog, following: Option<u64>) -> Next {
        match (backlog.offset, following) {
            (Some(offset), _) => Next::InTopic(backlog, offset),
            // The Topic did not take it.
            (None, following) => {
                let last = following.map_or_else(|| backlog.last(), |following| following.saturating_sub(1));
                self.lose_before(following, lane, (backlog.next, last), None);
                Next::More
            }
        }
    }

    /// What comes next for it is not in the Topic any more. What is in memory is not lost.
    fn lose(&self, lane: &Lane, range: (u64, u64), offset: Option<i64>) {
        let in_memory = self.spill.lock().window.first_from(range.0);
        self.lose_before(in_memory, lane, range, offset);
    }

    fn lose_before(
        &self,
        in_memory: Option<u64>,
        lane: &Lane,
        (first, last): (u64, u64),
        offset: Option<i64>,
    ) {
        let last = last.min(in_memory.map_or(u64::MAX, |number| number.saturating_sub(1)));
        if last < first {
            return;
        }
        let messages = lane.lose(first, last);
        tracing::warn!(channel = %self.name, first, last, "messages that overflowed are not in the Topic of spec.delivery.spill any more");
        self.metrics.drop_counted(peer_wire::GapReason::SpillLost.as_str(), messages);
        let lost = usize::try_from(messages).unwrap_or(usize::MAX);
        lane.behind().advance(last.saturating_add(1), offset, Amount { messages: lost, bytes: 0 });
    }
}

/// Puts as much of a batch as there is room for, and notes it; returns how many messages. `offset_of` says where the one of
/// that index is in the Topic, when it is not in memory.
fn put(lane: &Lane, batch: &Arc<Batch>, offset_of: impl Fn(usize) -> Option<i64>) -> usize {
    let index = lane.fill(batch);
    let (all, rest) = (lane.wanted(batch, 0), lane.wanted(batch, index));
    let went = Amount { messages: all.messages - rest.messages, bytes: all.bytes - rest.bytes };
    lane.behind().advance(batch.sequence(index), offset_of(index), went);
    index
}

async fn refill(links: Links, lane: Lane) {
    let mut backoff = Backoff::new(PAUSE_FIRST, PAUSE_MOST);
    let mut reading = None;
    while let Some(outlet) = links.outlet.upgrade() {
        let full = match outlet.fill_from_memory(&lane) {
            Next::Done => return,
            Next::More => {
                tokio::task::yield_now().await;
                false
            }
            Next::Full => true,
            Next::InTopic(backlog, offset) => {
                match read_on(&links, &outlet, (&lane, &mut reading), (backlog, offset)).await {
                    Ok(all) => {
                        backoff.reset();
                        !all
                    }
                    Err(problem) => {
                        tracing::warn!(channel = %outlet.name, %problem, "what overflowed is not read back; tried again");
                        reading = None;
                        drop(outlet);
                        tokio::time::sleep(backoff.next_pause()).await;
                        continue;
                    }
                }
            }
        };
        drop(outlet);
        if full && tokio::time::timeout(HOLD, lane.room().notified()).await.is_err() {
            // Others may want to read; and it may be gone.
            reading = None;
        }
    }
}

/// What was read and not yet put, each with its offset.
#[derive(Default)]
struct Run {
    first: u64,
    accepted: Duration,
    messages: Vec<Message>,
    offsets: Vec<i64>,
}

impl Run {
    fn push(&mut self, sequence: u64, offset: i64, record: Message) {
        let (message, accepted) = restored(record);
        if self.messages.is_empty() {
            (self.first, self.accepted) = (sequence, accepted);
        }
        self.messages.push(message);
        self.offsets.push(offset);
    }

    fn batch(&self, from: usize) -> Arc<Batch> {
        let messages: Vec<Message> = self.messages.iter().skip(from).cloned().collect();
        let sizes = messages.iter().map(Message::size_bytes).collect();
        let first = self.first.saturating_add(u64::try_from(from).unwrap_or(u64::MAX));
        Arc::new(Batch::new(first, self.accepted, messages, sizes))
    }
}

/// A reader of the Topic, whose turn it is.
struct Reading {
    reader: LogReader,
    cursor: Cursor,
    _turn: OwnedSemaphorePermit,
}

/// Reads a little of the Topic, and puts it; returns whether there was room for all of it.
async fn read_on(
    links: &Links,
    outlet: &Outlet,
    (lane, reading): (&Lane, &mut Option<Reading>),
    (backlog, offset): (Backlog, i64),
) -> Result<bool, Problem> {
    let mut current = match reading.take() {
        Some(current) => current,
        None => match begin_reading(links, outlet, (backlog, offset)).await {
            Ok(Some(begun)) => begun,
            Ok(None) => return Ok(true),
            // The Topic is gone, or is not this app's any more: it does not give anything back.
            Err(problem) if matches!(problem.kind, ProblemKind::NotFound | ProblemKind::PermissionDenied) => {
                tracing::warn!(channel = %outlet.name, %problem, "what overflowed cannot be read back");
                outlet.lose(lane, (backlog.next, backlog.last()), None);
                return Ok(true);
            }
            Err(problem) => return Err(problem),
        },
    };
    if current.cursor.next() != backlog.next {
        // Some came from memory meanwhile.
        current.cursor = Cursor::new(backlog.next);
    }
    let written = outlet.spill.written_place();
    let came = match tokio::time::timeout(QUIET, current.reader.next()).await {
        Ok(came) => came?,
        Err(_) => quiet(&current.reader, &current.cursor, written).await?,
    };
    let position = current.reader.position();
    let (run, missing) = judge(&links.origin, &mut current.cursor, came, (position, written));
    if !put_all(lane, &run, position).await {
        return Ok(false);
    }
    if let Some(Missing { first, last, back }) = missing {
        outlet.lose(lane, (first, last), Some(back.unwrap_or(position)));
        if let Some(back) = back {
            current.reader.seek(back)?;
        }
    }
    *reading = Some(current);
    Ok(true)
}

async fn begin_reading(
    links: &Links,
    outlet: &Outlet,
    (backlog, offset): (Backlog, i64),
) -> Result<Option<Reading>, Problem> {
    let turn = Arc::clone(&links.readers).acquire_owned().await;
    let topic = outlet.spill.lock().topic.clone();
    let (Ok(turn), Some(topic)) = (turn, topic) else { return Ok(None) };
    let reader = links.topics.read_from(&topic, &links.origin.publisher, offset)?;
    Ok(Some(Reading { reader, cursor: Cursor::new(backlog.next), _turn: turn }))
}

/// Nothing came for a while. What was written is there, unless the log is another one that does not reach so far.
async fn quiet(reader: &LogReader, cursor: &Cursor, written: Option<Place>) -> Result<Read, Problem> {
    let expected = written.filter(|written| written.sequence >= cursor.next());
    if let Some(written) = expected {
        let end = reader.end().await?;
        if end <= written.offset {
            return Ok(Read::Gone { end });
        }
    }
    Ok(Read::Records(Vec::new()))
}

/// What the Topic does not have, behind what was read before it.
struct Missing {
    first: u64,
    last: u64,
    /// Where the reading goes on.
    back: Option<i64>,
}

/// What was read, and what is missing after it.
fn judge(
    origin: &Origin,
    cursor: &mut Cursor,
    came: Read,
    (position, written): (i64, Option<Place>),
) -> (Run, Option<Missing>) {
    let mut run = Run::default();
    let missing = |first, step| match step {
        Step::Missing { last, back } => Some(Missing { first, last, back }),
        Step::Take | Step::Skip => None,
    };
    let records = match came {
        Read::Records(records) => records,
        Read::Gone { end } => {
            let first = cursor.next();
            return (run, missing(first, cursor.gone(end, written)));
        }
    };
    for (offset, record) in records {
        let first = cursor.next();
        let found = origin.opened(record);
        let step = cursor.meet(offset, found.as_ref().map(|(sequence, _)| *sequence), written);
        match (step, found) {
            (Step::Take, Some((sequence, message))) => run.push(sequence, offset, message),
            (Step::Missing { .. }, _) => return (run, missing(first, step)),
            (Step::Take | Step::Skip, _) => {}
        }
    }
    let first = cursor.next();
    (run, missing(first, cursor.reach(position.saturating_sub(1), written)))
}

/// Puts what was read, waiting for room; false when there was none for a while, or nobody needs it any more.
async fn put_all(lane: &Lane, run: &Run, position: i64) -> bool {
    let mut from = 0;
    while from < run.messages.len() {
        let batch = run.batch(from);
        let offset_of = |index: usize| run.offsets.get(from + index).copied().or(Some(position));
        from += put(lane, &batch, offset_of);
        if from == run.messages.len() {
            break;
        }
        let room = tokio::time::timeout(HOLD, lane.room().notified()).await;
        if room.is_err() || !lane.behind().is_behind() {
            return false;
        }
    }
    true
}
