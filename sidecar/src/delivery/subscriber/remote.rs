//! One publisher behind a connection, as one subscription sees it: what came from it, and how much more may.

use super::super::waker::Waker;
use super::answer::{Answer, Events};
use super::owing::Owing;
use super::restarted;
use crate::messaging::Resumed;
use peer_wire::{Credit, Gap, Resume, Sequenced};
use std::collections::VecDeque;
use std::sync::Arc;
use std::vec::IntoIter;

/// Every publisher may have at least this much under way.
pub(super) const WINDOW_BYTES_MIN: u64 = 64 * 1024;
/// However much credit the app gives, one publisher has no more messages under way.
pub(super) const SHARE_MAX: u64 = 1 << 20;
/// However large the buffer, one publisher has no more bytes under way.
pub(super) const WINDOW_BYTES_MAX: u64 = 1 << 30;

/// Came and waits for the app.
#[derive(Debug)]
enum Held {
    /// As they came, so that none is moved one by one.
    Messages(IntoIter<Sequenced>),
    Gap(Gap),
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Remote {
    /// The connection, while it stands.
    waker: Option<Arc<Waker>>,
    pub(super) epoch: u64,
    /// All up to here came or was told as a gap; `None` before the first acceptance in this epoch.
    received: Option<u64>,
    /// The publisher said goodbye after sending everything.
    clean: bool,
    /// Each with the epoch in which it came: what waits for the app outlives its publisher.
    inbox: VecDeque<(u64, Held)>,
    held_messages: u64,
    held_bytes: u64,
    /// Credit that it has not used yet.
    open_messages: u64,
    /// Bytes that went to the app and were not given back as credit.
    freed_bytes: u64,
    pub(super) prefixes_stale: bool,
    /// Acks, nacks and replies that it does not have yet.
    pub(super) owing: Owing,
    /// It has accepted the subscription on this connection.
    pub(super) standing: bool,
}

impl Remote {
    /// A publisher from which the app has something from an earlier subscription.
    pub(super) fn resumed(resumed: &Resumed) -> (Arc<str>, Self) {
        let remote = Self { epoch: resumed.epoch, received: Some(resumed.received), ..Self::default() };
        (Arc::clone(&resumed.publisher), remote)
    }

    pub(super) const fn is_attached(&self) -> bool {
        self.waker.is_some()
    }

    /// Neither a connection nor anything that the app has not seen.
    pub(super) fn is_gone(&self) -> bool {
        self.waker.is_none() && self.inbox.is_empty()
    }

    pub(super) fn wake(&self, id: u32) {
        if let Some(waker) = &self.waker {
            waker.mark_subscriber(id);
        }
    }

    /// A connection stands. When the publisher is not the process that it was, what that one had left to send is told as
    /// a gap in its own numbering; returns whether there is one.
    pub(super) fn attach(&mut self, epoch: u64, waker: Arc<Waker>) -> bool {
        let lost = self.received.filter(|_| self.epoch != epoch && !self.clean);
        if let Some(received) = lost {
            self.hold(Held::Gap(restarted(received)));
        }
        if self.epoch != epoch {
            self.epoch = epoch;
            self.received = None;
            self.owing = Owing::default();
        }
        self.standing = false;
        self.waker = Some(waker);
        self.clean = false;
        self.prefixes_stale = false;
        lost.is_some()
    }

    fn hold(&mut self, held: Held) {
        self.inbox.push_back((self.epoch, held));
    }

    pub(super) fn resume(&self) -> Option<Resume> {
        self.received.map(|received| Resume { epoch: self.epoch, received })
    }

    /// The credit of a fresh connection.
    pub(super) fn first_credit(&mut self, share: u64, window: u64) -> Credit {
        let messages = share.saturating_sub(self.held_messages);
        self.open_messages = messages;
        self.freed_bytes = 0;
        Credit {
            messages: u32::try_from(messages).unwrap_or(u32::MAX),
            bytes: window.saturating_sub(self.held_bytes).max(1),
        }
    }

    pub(super) fn opened(&mut self, received: u64) {
        self.received.get_or_insert(received);
        self.standing = true;
    }

    pub(super) fn deliver(&mut self, messages: Vec<Sequenced>) {
        let Some(last) = messages.last() else { return };
        self.received = Some(last.sequence);
        let count = u64::try_from(messages.len()).unwrap_or(u64::MAX);
        self.open_messages = self.open_messages.saturating_sub(count);
        self.held_messages = self.held_messages.saturating_add(count);
        let bytes = messages.iter().map(|message| message.frame_bytes).sum();
        self.held_bytes = self.held_bytes.saturating_add(bytes);
        self.hold(Held::Messages(messages.into_iter()));
    }

    pub(super) fn numbered_gap(&mut self, number: u64, gap: Gap) {
        self.received = Some(number);
        self.hold(Held::Gap(gap));
    }

    /// Messages that the app has not seen.
    pub(super) const fn held_messages(&self) -> u64 {
        self.held_messages
    }

    pub(super) fn gap(&mut self, gap: Gap) {
        self.received = Some(gap.last);
        self.hold(Held::Gap(gap));
    }

    /// Whether that connection is the current one.
    pub(super) fn is_carried_by(&self, waker: &Arc<Waker>) -> bool {
        self.waker.as_ref().is_some_and(|current| Arc::ptr_eq(current, waker))
    }

    pub(super) fn detach(&mut self, clean: bool) {
        self.waker = None;
        self.standing = false;
        self.clean = clean;
        self.open_messages = 0;
    }

    /// Moves to the answer what its credit allows; returns whether anything moved.
    pub(super) fn hand_over(&mut self, answer: &mut Answer<'_, impl Events>) -> bool {
        let mut moved = false;
        while let Some((epoch, held)) = self.inbox.front_mut() {
            answer.epoch = *epoch;
            match held {
                Held::Gap(gap) => answer.take_gap(gap),
                Held::Messages(messages) => {
                    while answer.allowed > 0
                        && let Some(message) = messages.next()
                    {
                        self.held_messages = self.held_messages.saturating_sub(1);
                        self.held_bytes = self.held_bytes.saturating_sub(message.frame_bytes);
                        self.freed_bytes = self.freed_bytes.saturating_add(message.frame_bytes);
                        moved = true;
                        answer.take_own(message);
                    }
                    if messages.len() > 0 {
                        break;
                    }
                }
            }
            moved = true;
            self.inbox.pop_front();
        }
        moved
    }

    /// Whether [`Self::owed`] may have something: asked often, so without the exact bytes.
    pub(super) const fn may_be_owed(&self, share: u64, window: u64) -> bool {
        self.waker.is_some()
            && (self.messages_owed(share) > 0 || self.freed_bytes.saturating_mul(4) >= window)
    }

    /// Small returns are collected until they are worth a frame, unless nothing is open.
    const fn messages_owed(&self, share: u64) -> u64 {
        let missing = share.saturating_sub(self.open_messages.saturating_add(self.held_messages));
        if missing.saturating_mul(4) >= share || self.open_messages == 0 { missing } else { 0 }
    }

    /// Credit to give, when the publisher still has `open`.
    pub(super) fn owed(&mut self, share: u64, window: u64, open: Credit) -> Option<Credit> {
        self.open_messages = u64::from(open.messages);
        let messages = self.messages_owed(share);
        let missing = window.saturating_sub(open.bytes.saturating_add(self.held_bytes));
        let bytes = if missing.saturating_mul(4) >= window || open.bytes == 0 { missing } else { 0 };
        if messages == 0 && bytes == 0 {
            return None;
        }
        if bytes > 0 {
            self.freed_bytes = 0;
        }
        self.open_messages = self.open_messages.saturating_add(messages);
        Some(Credit { messages: u32::try_from(messages).unwrap_or(u32::MAX), bytes })
    }
}
