//! The bounded queue between one publisher's sidecar and one subscriber, local or behind a connection.

use super::buffer::{Amount, Batch, Buffer, Moved, Outcome, Sink};
use super::prefixes::Prefixes;
use super::spill::{Behind, joined};
use super::waker::Waker;
use super::work::{Rules, Seat};
use crate::messaging::Problem;
use crate::metrics::ChannelMetrics;
use crate::view::Overflow;
use bytes::Bytes;
use peer_wire::{Gap, GapReason, Message};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Who empties the queue.
#[derive(Debug)]
enum Consumer {
    /// A subscription of this sidecar's app.
    Local(Arc<Notify>),
    /// A connection, where the subscription has this id.
    Link { waker: Arc<Waker>, id: u32 },
    /// Nobody for now: the connection is lost, the subscriber may come back.
    Away,
}

#[derive(Debug)]
struct State {
    buffer: Buffer,
    limits: Amount,
    prefixes: Prefixes,
    consumer: Consumer,
    /// Counts consumers, so that an old connection neither takes from the queue nor ends it when a new one has it.
    generation: u64,
    /// After which number it began, until the subscriber has shown that it knows.
    unheard: Option<u64>,
    revoked: Option<Problem>,
}

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Names the subscriber in errors.
    who: Arc<str>,
    metrics: Arc<ChannelMetrics>,
    state: Mutex<State>,
    room: Notify,
    /// Set where messages come from shared work, and not from the buffer of this queue.
    seat: Option<Seat>,
    /// What overflowed and comes back.
    behind: Behind,
}

/// The generation of a queue's first consumer: the only one of a local queue.
pub(crate) const GENERATION_FIRST: u64 = 0;

impl Queue {
    pub(crate) fn local(
        who: Arc<str>,
        metrics: Arc<ChannelMetrics>,
        limits: Amount,
        ready: Arc<Notify>,
    ) -> Self {
        Self::new(who, metrics, limits, Consumer::Local(ready))
    }

    /// For a subscriber behind a connection; follow it with [`Self::attach`].
    pub(crate) fn remote(who: Arc<str>, metrics: Arc<ChannelMetrics>, limits: Amount) -> Self {
        Self::new(who, metrics, limits, Consumer::Away)
    }

    fn new(who: Arc<str>, metrics: Arc<ChannelMetrics>, limits: Amount, consumer: Consumer) -> Self {
        let state = State {
            buffer: Buffer::default(),
            limits,
            prefixes: Prefixes::default(),
            consumer,
            generation: GENERATION_FIRST,
            unheard: None,
            revoked: None,
        };
        let behind = Behind::new(Arc::clone(&metrics));
        Self { who, metrics, state: Mutex::new(state), room: Notify::new(), seat: None, behind }
    }

    /// The queue of one receiver of shared work; follow it with [`Self::join`].
    pub(crate) fn seated(mut self, seat: Option<Seat>) -> Self {
        self.seat = seat;
        self
    }

    pub(crate) const fn seat(&self) -> Option<&Seat> {
        self.seat.as_ref()
    }

    /// Begins to take part in shared work, where there is any.
    pub(crate) fn join(self: &Arc<Self>, credit: u64, number: u64) {
        if let Some(seat) = &self.seat {
            seat.join(Arc::downgrade(self), credit, number);
        }
    }

    /// Something is to be sent.
    pub(crate) fn wake(&self) {
        self.lock().consumer.wake();
    }

    pub(crate) fn set_rules(&self, rules: Rules) {
        if let Some(seat) = &self.seat {
            seat.set_rules(rules);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn who(&self) -> &str {
        &self.who
    }

    pub(crate) fn set_prefixes(&self, prefixes: Vec<Bytes>) {
        self.lock().prefixes = Prefixes::new(prefixes);
    }

    pub(crate) fn set_limits(&self, limits: Amount) {
        self.lock().limits = limits;
        self.room.notify_one();
    }

    pub(crate) fn limits(&self) -> Amount {
        self.lock().limits
    }

    pub(crate) fn amount(&self) -> Amount {
        self.seat.as_ref().map_or_else(|| self.lock().buffer.amount(), |seat| seat.work().load())
    }

    /// Whether [`Self::offer`] under `Block` takes all of it. A subscriber that is away never holds anybody up.
    pub(crate) fn has_room(&self, messages: &[Message], sizes: &[usize]) -> bool {
        let state = self.lock();
        // Who has to acknowledge loses nothing by being away.
        let loses = self.seat.is_none() && matches!(state.consumer, Consumer::Away);
        loses || self.fits_now(&state, messages, sizes)
    }

    fn fits_now(&self, state: &State, messages: &[Message], sizes: &[usize]) -> bool {
        let more = Amount::of(messages, sizes, &state.prefixes);
        match &self.seat {
            Some(seat) => seat.fits_all(more),
            None => state.buffer.fits(more, state.limits),
        }
    }

    /// Whether somebody empties it.
    pub(crate) fn is_connected(&self) -> bool {
        !matches!(self.lock().consumer, Consumer::Away)
    }

    /// Waits until there may be more room.
    pub(crate) async fn room_changed(&self) {
        self.room().notified().await;
    }

    pub(crate) const fn behind(&self) -> &Behind {
        &self.behind
    }

    /// Told when there may be more room.
    pub(crate) fn room(&self) -> &Notify {
        self.seat.as_ref().map_or(&self.room, |seat| seat.work().room())
    }

    /// Whether [`Self::fill`] takes all of it.
    pub(crate) fn fits(&self, messages: &[Message], sizes: &[usize]) -> bool {
        self.fits_now(&self.lock(), messages, sizes)
    }

    /// What it would get of a batch from message `from` on.
    pub(crate) fn wanted(&self, batch: &Batch, from: usize) -> Amount {
        batch.wanted(from, &self.lock().prefixes)
    }

    /// Takes what matches, in order, while there is room; returns the index of the first message that it did not take.
    pub(crate) fn fill(&self, batch: &Arc<Batch>) -> usize {
        let mut guard = self.lock();
        if let Some(seat) = &self.seat {
            let (index, effects) = seat.fill(batch, &guard.prefixes);
            drop(guard);
            seat.after(effects, 0);
            return index;
        }
        let state = &mut *guard;
        let before = state.buffer.amount().messages;
        let index = state.buffer.push_while_room(batch, &state.prefixes, state.limits);
        let taken = state.buffer.amount().messages.saturating_sub(before);
        self.metrics.lag.add(i64::try_from(taken).unwrap_or(i64::MAX));
        if taken > 0 {
            state.consumer.wake();
        }
        index
    }

    /// It never gets these, which come after all that waits.
    pub(crate) fn lose(&self, gap: Gap) {
        if let Some(seat) = &self.seat {
            return seat.tell(gap);
        }
        let mut state = self.lock();
        state.buffer.push_gap(&gap);
        state.consumer.wake();
    }

    /// Takes what matches of `batch` under the policy; what is dropped is counted and becomes a gap.
    pub(crate) fn offer(&self, batch: &Arc<Batch>, overflow: Overflow) {
        let mut guard = self.lock();
        if let Some(seat) = &self.seat {
            let effects = seat.offer(batch, &guard.prefixes, overflow != Overflow::Block);
            drop(guard);
            return seat.after(effects, 0);
        }
        let state = &mut *guard;
        let (buffer, prefixes, limits) = (&mut state.buffer, &state.prefixes, state.limits);
        let (waited, away) = (buffer.amount().messages, matches!(state.consumer, Consumer::Away));
        let refusal = if away { GapReason::Disconnected } else { GapReason::DroppedNewest };
        let outcome = match overflow {
            // Neither holds the publisher up, so both go on while the subscriber is away.
            Overflow::DropOldest => buffer.push_dropping_oldest(batch, prefixes, limits),
            Overflow::KeepLatest => buffer.push_keeping_latest(batch, prefixes, limits),
            Overflow::Block if !away => Outcome { taken: buffer.push(batch, prefixes), ..Outcome::default() },
            _ => buffer.push_or_drop(batch, prefixes, limits, refusal),
        };
        let lag = |messages: usize| i64::try_from(messages).unwrap_or(i64::MAX);
        self.metrics.lag.add(lag(buffer.amount().messages) - lag(waited));
        for (messages, reason) in [
            (outcome.refused, refusal),
            (outcome.dropped_oldest, GapReason::DroppedOldest),
            (outcome.replaced, GapReason::Replaced),
        ] {
            if messages > 0 {
                self.metrics.drop_counted(reason.as_str(), messages);
            }
        }
        if outcome.taken > 0 || outcome.refused > 0 {
            state.consumer.wake();
        }
    }

    /// What comes before everything else: what the subscriber missed, and what the publisher kept for it.
    pub(crate) fn begin<'a>(&self, missed: Option<Gap>, kept: impl Iterator<Item = (&'a Arc<Batch>, usize)>) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(gap) = missed {
            state.buffer.push_gap_first(gap);
        }
        for (batch, from) in kept {
            state.buffer.push_kept(batch, from, &state.prefixes);
        }
        let waiting = state.buffer.amount().messages;
        self.metrics.lag.add(i64::try_from(waiting).unwrap_or(i64::MAX));
        state.consumer.wake();
    }

    /// A gap before all that waits: what a subscriber missed before this queue began.
    pub(crate) fn tell_first(&self, gap: Gap) {
        if let Some(seat) = &self.seat {
            return seat.tell(gap);
        }
        let mut state = self.lock();
        state.buffer.push_gap_first(gap);
        state.consumer.wake();
    }

    /// A range that the subscriber missed while it had no queue. Under a filter nobody knows how much of it.
    pub(crate) fn missed(&self, first: u64, last: u64, reason: GapReason) -> Gap {
        let all = self.lock().prefixes.is_all();
        let messages = if all { last.saturating_sub(first).saturating_add(1) } else { 0 };
        Gap { first, last, messages, reason }
    }

    /// Hands over what waits, to the consumer of that generation. `now` is on the clock of the batches.
    pub(crate) fn drain(&self, generation: u64, sink: &mut impl Sink, now: Duration) -> Moved {
        let (moved, effects) = {
            let mut state = self.lock();
            if state.generation != generation {
                return Moved::default();
            }
            let keep = matches!(state.consumer, Consumer::Link { .. });
            match &self.seat {
                Some(seat) => {
                    let (moved, effects) = seat.take(sink, keep, now);
                    (moved, Some((seat, effects)))
                }
                None => (state.buffer.drain(sink, keep), None),
            }
        };
        if let Some((seat, effects)) = effects {
            seat.after(effects, moved.messages);
        } else if moved.messages > 0 {
            self.metrics.lag.sub(i64::try_from(moved.messages).unwrap_or(i64::MAX));
            self.room.notify_one();
        }
        if let Some(oldest) = moved.oldest {
            self.metrics.delivery_duration.observe(now.saturating_sub(oldest).as_secs_f64());
        }
        moved
    }

    pub(crate) fn is_empty(&self) -> bool {
        let sent = self.seat.as_ref().map_or_else(|| self.lock().buffer.is_empty(), Seat::is_flushed);
        sent && !self.behind.is_behind()
    }

    /// The consumer of that generation is ready for more.
    pub(crate) fn credit(&self, generation: u64, more: u32) {
        if let Some(seat) = &self.seat
            && more > 0
            && self.is_generation(generation)
        {
            seat.credit(u64::from(more));
        }
    }

    /// The one consumer of a local queue is ready for so many in all.
    pub(crate) fn set_credit(&self, credit: u64) {
        if let Some(seat) = &self.seat {
            seat.set_credit(credit);
        }
    }

    /// The consumer of that generation has everything up to `received`.
    pub(crate) fn confirm(&self, generation: u64, received: u64) {
        let mut state = self.lock();
        if state.generation != generation {
            return;
        }
        state.unheard = None;
        match &self.seat {
            Some(seat) => {
                drop(state);
                seat.confirm(received);
            }
            None => state.buffer.confirm(received),
        }
    }

    /// The subscriber is told that it begins after `received`.
    pub(crate) fn begins(&self, received: u64) {
        self.lock().unheard = Some(received);
    }

    /// Where it began, while the subscriber may not know that it did: the answer may be lost with its connection.
    pub(crate) fn unheard(&self) -> Option<u64> {
        self.lock().unheard
    }

    /// A connection empties the queue from now on. With `resume`, the subscriber has everything up to there and
    /// gets the rest. Returns the generation to [`Self::detach`] with.
    pub(crate) fn attach(&self, waker: Arc<Waker>, id: u32, resume: Option<u64>) -> u64 {
        let mut state = self.lock();
        if let Some(received) = resume {
            state.buffer.confirm(received);
            let before = state.buffer.amount().messages;
            state.buffer.rewind();
            let again = state.buffer.amount().messages.saturating_sub(before);
            self.metrics.lag.add(i64::try_from(again).unwrap_or(i64::MAX));
        }
        state.consumer = Consumer::Link { waker, id };
        state.generation += 1;
        state.consumer.wake();
        state.generation
    }

    /// The connection of that generation is lost. Returns whether the subscriber is away now.
    pub(crate) fn detach(&self, generation: u64) -> bool {
        let mut state = self.lock();
        if state.generation != generation {
            return false;
        }
        state.consumer = Consumer::Away;
        drop(state);
        if let Some(seat) = &self.seat {
            seat.away();
        }
        self.room.notify_one();
        true
    }

    /// Whether nobody came back since that generation was detached.
    pub(crate) fn is_away_since(&self, generation: u64) -> bool {
        let state = self.lock();
        state.generation == generation && matches!(state.consumer, Consumer::Away)
    }

    /// Whether the consumer is still the one of that generation.
    pub(crate) fn is_generation(&self, generation: u64) -> bool {
        self.lock().generation == generation
    }

    /// The subscriber may not have this any more; its connection tells it why.
    pub(crate) fn revoke(&self, problem: Problem) {
        let mut state = self.lock();
        state.revoked = Some(problem);
        state.consumer.wake();
    }

    pub(crate) fn revoked(&self) -> Option<Problem> {
        self.lock().revoked.clone()
    }

    /// Like [`Self::close`], unless another consumer has the queue.
    pub(crate) fn close_of(&self, generation: u64, reason: GapReason) -> Option<Gap> {
        if self.is_generation(generation) { self.close(Some(reason)) } else { None }
    }

    /// Ends the queue; what waited is dropped, and returned as one gap. With a reason it counts as dropped.
    pub(crate) fn close(&self, counted: Option<GapReason>) -> Option<Gap> {
        let mut state = self.lock();
        let waiting = state.buffer.amount().messages;
        state.consumer = Consumer::Away;
        state.generation += 1;
        let behind = self.behind.give_up(counted.unwrap_or(GapReason::Other));
        if let (Some(reason), Some(gap)) = (counted, behind) {
            self.metrics.drop_counted(reason.as_str(), gap.messages);
        }
        if let Some(seat) = &self.seat {
            drop(state);
            return joined(seat.leave(counted), behind);
        }
        let gap = state.buffer.clear(counted.unwrap_or(GapReason::Other));
        self.metrics.lag.sub(i64::try_from(waiting).unwrap_or(i64::MAX));
        if let Some(reason) = counted {
            // Gaps that wait were counted when they came about.
            self.metrics.drop_counted(reason.as_str(), u64::try_from(waiting).unwrap_or(u64::MAX));
        }
        self.room.notify_one();
        joined(gap, behind)
    }
}

impl Consumer {
    fn wake(&self) {
        match self {
            Self::Local(ready) => ready.notify_one(),
            Self::Link { waker, id } => waker.mark_queue(*id),
            Self::Away => {}
        }
    }
}
