//! One app's subscription: events from the local publisher and from peers, held until the app has credit.
//!
//! The app gets at most what it gave credit for. Each publisher behind a connection gets its share of that credit,
//! at least one message, so what this sidecar holds is bounded by the credit and the number of publishers.

mod answer;
mod owing;
mod remote;

pub(crate) use answer::{At, Events};
pub(crate) use owing::Acks;

use super::core::Core;
use super::queue::{GENERATION_FIRST, Queue};
use super::waker::Waker;
use crate::messaging::{ChannelEvent, ChannelName, Message, Problem, Receipt, Resumed};
use crate::metrics::ChannelMetrics;
use answer::Answer;
use bytes::Bytes;
use peer_wire::{Credit, Failure, Gap, GapReason, Sequenced, Span, Subscribe};
use remote::Remote;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;

/// Most messages of one answer of `next`, however much credit there is.
const ANSWER_MESSAGES_MAX: u64 = 4096;
/// Publishers that are gone and whose place is remembered in case they come back.
const REMEMBERED_MAX: usize = 1024;

/// What a subscriber has for the connection to one publisher.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) credit: Option<Credit>,
    pub(crate) prefixes: Option<Vec<Bytes>>,
    pub(crate) acks: Vec<Span>,
    /// With the delay in milliseconds.
    pub(crate) nacks: Vec<(u32, Vec<Span>)>,
    pub(crate) replies: Vec<(u64, Result<Message, Failure>)>,
}

/// What [`Subscriber::take`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Took {
    Nothing,
    Something,
    /// Nothing ever follows.
    End,
}

struct State {
    /// Messages that the app is ready for.
    credit: u64,
    prefixes: Vec<Bytes>,
    message_bytes_max: usize,
    buffer_bytes: usize,
    /// By name of the publisher's sidecar.
    remotes: BTreeMap<Arc<str>, Remote>,
    /// Which remote comes first in the next answer.
    turn: usize,
    /// How often publishers were asked.
    asked: u64,
    /// Handed to a door that acknowledges by coming back for more.
    taken: Vec<Receipt>,
    ended: Option<Problem>,
    finished: bool,
    /// The app is gone.
    closed: bool,
}

/// What the view says that matters to a subscriber.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) message_bytes_max: usize,
    pub(crate) buffer_bytes: usize,
}

/// The publisher's sidecar, and the connection that speaks for it.
pub(crate) type Source<'a> = (&'a str, &'a Arc<Waker>);

/// See the head of the file.
pub(crate) struct Subscriber {
    pub(crate) id: u32,
    pub(crate) name: ChannelName,
    core: Weak<Core>,
    metrics: Arc<ChannelMetrics>,
    local: Arc<Queue>,
    own: Arc<str>,
    own_epoch: u64,
    acks: Acks,
    replay: bool,
    ready: Arc<Notify>,
    state: Mutex<State>,
}

/// What a subscriber is made from.
pub(crate) struct Parts {
    pub(crate) id: u32,
    pub(crate) name: ChannelName,
    pub(crate) metrics: Arc<ChannelMetrics>,
    pub(crate) local: Arc<Queue>,
    /// Notified by the local queue.
    pub(crate) ready: Arc<Notify>,
    pub(crate) bounds: Bounds,
    pub(crate) prefixes: Vec<Bytes>,
    pub(crate) credit: u32,
    pub(crate) acks: Acks,
    /// Begin with what publishers keep.
    pub(crate) replay: bool,
    pub(crate) resumed: Vec<Resumed>,
}

impl Subscriber {
    pub(crate) fn new(core: &Arc<Core>, parts: Parts) -> Self {
        let state = State {
            credit: u64::from(parts.credit),
            prefixes: parts.prefixes,
            message_bytes_max: parts.bounds.message_bytes_max,
            buffer_bytes: parts.bounds.buffer_bytes,
            remotes: parts.resumed.iter().map(Remote::resumed).collect(),
            turn: 0,
            asked: 0,
            taken: Vec::new(),
            ended: None,
            finished: false,
            closed: false,
        };
        Self {
            id: parts.id,
            name: parts.name,
            core: Arc::downgrade(core),
            metrics: parts.metrics,
            local: parts.local,
            own: Arc::clone(core.sidecar()),
            own_epoch: core.epoch(),
            acks: parts.acks,
            replay: parts.replay,
            ready: parts.ready,
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) const fn local(&self) -> &Arc<Queue> {
        &self.local
    }

    pub(crate) async fn next(&self) -> Option<Vec<ChannelEvent>> {
        loop {
            let mut events = Vec::new();
            match self.take(&mut events) {
                Took::Nothing => self.came().await,
                Took::Something => return Some(events),
                Took::End => return None,
            }
        }
    }

    /// Waits until there may be something to take: something came, or there is credit again.
    pub(crate) async fn came(&self) {
        self.ready.notified().await;
    }

    /// The door has come back: what it had is with the app.
    fn acknowledge_taken(&self) {
        let taken = std::mem::take(&mut self.lock().taken);
        if !taken.is_empty() {
            self.settle(&taken, None);
        }
    }

    /// Hands over what is there.
    pub(crate) fn take(&self, events: &mut impl Events) -> Took {
        self.acknowledge_taken();
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.finished {
            return Took::End;
        }
        if let Some(reason) = state.ended.take() {
            state.finished = true;
            events.end(reason);
            return Took::Something;
        }
        let allowed = state.credit.min(ANSWER_MESSAGES_MAX);
        let taken = (self.acks == Acks::WhenTaken).then(Vec::new);
        let mut answer = Answer::new(events, (&self.own, self.own_epoch), (allowed, taken));
        self.collect_local(&mut answer);
        self.collect_remotes(state, &mut answer);
        let messages = allowed - answer.allowed;
        if answer.allowed == 0 && allowed < state.credit {
            // There may be more, and nobody says so again.
            self.ready.notify_one();
        }
        state.credit -= messages;
        let (gap_messages, took) = (answer.gap_messages, answer.took);
        state.taken.extend(answer.taken.into_iter().flatten());
        self.local.set_credit(state.credit);
        self.metrics.delivered.inc_by(messages);
        self.metrics.gap.inc_by(gap_messages);
        if took { Took::Something } else { Took::Nothing }
    }

    fn collect_local(&self, answer: &mut Answer<'_, impl Events>) {
        let now = self.core.upgrade().map(|core| core.now()).unwrap_or_default();
        self.local.drain(GENERATION_FIRST, answer, now);
    }

    fn collect_remotes(&self, state: &mut State, answer: &mut Answer<'_, impl Events>) {
        let count = state.remotes.len();
        if count == 0 {
            return;
        }
        state.turn = (state.turn + 1) % count;
        let (share, window) = (state.share(), state.window_bytes());
        let (after, before) = {
            let mut remotes: Vec<_> = state.remotes.iter_mut().collect();
            let after = remotes.split_off(state.turn.min(remotes.len()));
            (after, remotes)
        };
        for (sidecar, remote) in after.into_iter().chain(before) {
            answer.publisher = Arc::clone(sidecar);
            let took = remote.hand_over(answer);
            if took && remote.may_be_owed(share, window) {
                remote.wake(self.id);
            }
        }
    }

    pub(crate) fn grant(&self, messages: u32) {
        let mut state = self.lock();
        state.credit = state.credit.saturating_add(u64::from(messages)).min(u64::from(u32::MAX));
        let (share, window) = (state.share(), state.window_bytes());
        for remote in state.remotes.values() {
            if remote.may_be_owed(share, window) {
                remote.wake(self.id);
            }
        }
        let credit = state.credit;
        drop(state);
        self.local.set_credit(credit);
        self.ready.notify_one();
    }

    pub(crate) fn set_prefixes(&self, prefixes: Vec<Bytes>) {
        if peer_wire::limits::check_prefixes(&prefixes).is_err() {
            tracing::warn!(channel = %self.name, "prefixes above their limits are ignored");
            return;
        }
        self.local.set_prefixes(prefixes.clone());
        let mut state = self.lock();
        state.prefixes = prefixes;
        for remote in state.remotes.values_mut() {
            remote.prefixes_stale = true;
            remote.wake(self.id);
        }
    }

    /// Messages that came from peers and that the app has not taken.
    #[cfg(test)]
    pub(crate) fn held_messages(&self) -> u64 {
        self.lock().remotes.values().map(Remote::held_messages).sum()
    }

    /// The app is gone.
    pub(crate) fn close(&self) {
        if let Some(core) = self.core.upgrade() {
            core.remove_subscriber(self);
        }
        self.local.close(None);
        let mut state = self.lock();
        self.lose(state.remotes.values().map(Remote::held_messages).sum());
        state.remotes.clear();
        state.closed = true;
    }

    /// Publishers believe that so many have arrived, the app does not get them, and without acknowledgement nobody else
    /// does.
    fn lose(&self, messages: u64) {
        if messages > 0 && self.local.seat().is_some() && self.acks == Acks::None {
            self.metrics.drop_counted(GapReason::Disconnected.as_str(), messages);
        }
    }

    /// Cuts the subscription: the app gets `reason` next, and then nothing.
    pub(crate) fn end(&self, reason: Problem) {
        let mut state = self.lock();
        if state.ended.is_none() && !state.finished {
            state.ended = Some(reason);
            self.ready.notify_one();
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        let state = self.lock();
        state.finished || state.ended.is_some()
    }

    /// Whether it goes on and a connection to that sidecar carries it.
    pub(crate) fn hears(&self, sidecar: &str) -> bool {
        let state = self.lock();
        let goes_on = !state.closed && !state.finished && state.ended.is_none();
        goes_on && state.remotes.get(sidecar).is_some_and(Remote::is_attached)
    }

    pub(crate) fn set_bounds(&self, bounds: Bounds) {
        let mut state = self.lock();
        state.message_bytes_max = bounds.message_bytes_max;
        state.buffer_bytes = bounds.buffer_bytes;
    }

    /// A connection to a publisher stands: what to ask it for.
    pub(crate) fn open(&self, sidecar: &Arc<str>, epoch: u64, waker: &Arc<Waker>) -> Subscribe {
        let mut guard = self.lock();
        let state = &mut *guard;
        let remote = state.remotes.entry(Arc::clone(sidecar)).or_default();
        if remote.attach(epoch, Arc::clone(waker)) {
            self.ready.notify_one();
        }
        let resume = remote.resume();
        let (share, window) = (state.share(), state.window_bytes());
        let remote = state.remotes.entry(Arc::clone(sidecar)).or_default();
        let credit = remote.first_credit(share, window);
        state.asked += 1;
        Subscribe {
            namespace: self.name.namespace.to_string(),
            name: self.name.name.to_string(),
            message_bytes_max: u32::try_from(state.message_bytes_max).unwrap_or(u32::MAX),
            credit_messages: credit.messages,
            credit_bytes: credit.bytes,
            resume,
            replay: self.replay,
            ordinal: Some(state.asked),
            prefixes: state.prefixes.clone(),
        }
    }

    /// The publisher accepted; what follows comes after `received`.
    pub(crate) fn opened(&self, from: Source<'_>, received: u64) {
        self.with(from, |remote| {
            remote.opened(received);
            remote.wake(self.id);
        });
    }

    pub(crate) fn deliver(&self, from: Source<'_>, messages: Vec<Sequenced>) {
        if self.lock().closed {
            // The connection has not heard of it yet.
            return self.lose(u64::try_from(messages.len()).unwrap_or(u64::MAX));
        }
        self.with(from, |remote| remote.deliver(messages));
        self.ready.notify_one();
    }

    pub(crate) fn gap(&self, from: Source<'_>, gap: Gap) {
        self.with(from, |remote| remote.gap(gap));
        self.ready.notify_one();
    }

    /// What is to be sent to a publisher, given the credit that it still has.
    pub(crate) fn owed(&self, (sidecar, waker): Source<'_>, open: Credit) -> Owed {
        let mut guard = self.lock();
        let state = &mut *guard;
        let (share, window) = (state.share(), state.window_bytes());
        let prefixes = state.prefixes.clone();
        let Some(remote) = state.remotes.get_mut(sidecar).filter(|remote| remote.is_carried_by(waker)) else {
            return Owed::default();
        };
        let stale = std::mem::take(&mut remote.prefixes_stale);
        let prefixes = stale.then_some(prefixes);
        if !remote.standing {
            // Credit shows a publisher that its answer has come: nothing is said before it.
            return Owed { prefixes, ..Owed::default() };
        }
        let owing = remote.owing.take();
        Owed {
            credit: remote.owed(share, window, open),
            prefixes,
            acks: owing.acks,
            nacks: owing.nacks,
            replies: owing.replies,
        }
    }

    /// The connection ended. After a clean end the publisher had sent everything.
    pub(crate) fn detach(&self, from: Source<'_>, clean: bool) {
        self.with(from, |remote| remote.detach(clean));
        let mut state = self.lock();
        if state.remotes.len() > REMEMBERED_MAX {
            state.remotes.retain(|_, remote| !remote.is_gone());
        }
    }

    /// What an older connection still brings is ignored: the newer one brings it again.
    fn with(&self, (sidecar, waker): Source<'_>, work: impl FnOnce(&mut Remote)) {
        if let Some(remote) = self.lock().remotes.get_mut(sidecar)
            && remote.is_carried_by(waker)
        {
            work(remote);
        }
    }
}

impl State {
    /// Messages that one publisher may have under way or waiting here.
    fn share(&self) -> u64 {
        if self.credit == 0 {
            return 0;
        }
        (self.credit / self.attached()).clamp(1, remote::SHARE_MAX)
    }

    /// Bytes that one publisher may have under way or waiting here.
    fn window_bytes(&self) -> u64 {
        let bytes = u64::try_from(self.buffer_bytes).unwrap_or(u64::MAX);
        (bytes / self.attached()).clamp(remote::WINDOW_BYTES_MIN, remote::WINDOW_BYTES_MAX)
    }

    fn attached(&self) -> u64 {
        let count = self.remotes.values().filter(|remote| remote.is_attached()).count();
        u64::try_from(count).unwrap_or(u64::MAX).max(1)
    }
}

/// A publisher that started anew without a goodbye: what it had left to send is lost, nobody knows how much.
pub(super) const fn restarted(received: u64) -> Gap {
    let next = received.saturating_add(1);
    Gap { first: next, last: next, messages: 0, reason: GapReason::Lost }
}
