//! One message that exactly one receiver has to do, and what is remembered of it over its attempts. Pure.

use super::super::buffer::Amount;
use peer_wire::{Gap, Message};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Keys are told apart by so many slots: what is remembered of them is bounded, however many there are.
pub(super) const KEY_SLOTS: usize = 4096;

/// What a request adds to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    /// Nobody waits for the answer after this moment.
    pub(crate) deadline: Duration,
    /// Whether it may be executed twice.
    pub(crate) idempotent: bool,
}

/// See the head of the file. Shared by all who have the same message.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) sequence: u64,
    pub(crate) size: usize,
    /// When it was published, on the sidecar's monotonic clock.
    pub(crate) accepted: Duration,
    pub(crate) message: Message,
    pub(crate) call: Option<Call>,
    /// A request whose sender has given up.
    cancelled: AtomicBool,
    /// Of its key.
    pub(super) slot: Option<usize>,
}

impl Post {
    pub(crate) fn new(sequence: u64, accepted: Duration, message: Message, call: Option<Call>) -> Self {
        let slot = message.key.as_ref().map(|key| slot_of(key));
        let size = message.size_bytes();
        Self { sequence, size, accepted, message, call, cancelled: AtomicBool::new(false), slot }
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    pub(super) const fn amount(&self) -> Amount {
        Amount { messages: 1, bytes: self.size }
    }
}

/// FNV-1a: the same for every process, and good enough to spread keys.
fn slot_of(key: &[u8]) -> usize {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from((hash ^ (hash >> 32)) & 0xfff).unwrap_or(0) % KEY_SLOTS
}

/// A post that used up its attempts.
#[derive(Debug, Clone)]
pub(crate) struct Dead {
    pub(crate) post: Arc<Post>,
    /// How often it was tried.
    pub(crate) attempts: u16,
}

/// One attempt at a post.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) post: Arc<Post>,
    /// 1 for the first.
    pub(super) attempt: u16,
    /// Who had it last; somebody else is preferred.
    pub(super) avoid: u32,
    /// Set when an earlier attempt was acknowledged after all. Made by the second attempt.
    done: Option<Arc<AtomicBool>>,
}

impl Entry {
    pub(super) const fn first(post: Arc<Post>) -> Self {
        Self { post, attempt: 1, avoid: 0, done: None }
    }

    /// Another try, after `receiver` had it. What is returned besides tells an ack of the earlier one.
    pub(super) fn again(mut self, receiver: u32) -> (Self, Done) {
        let done = Arc::clone(self.done.get_or_insert_with(Arc::default));
        self.attempt = self.attempt.saturating_add(1);
        self.avoid = receiver;
        (self, Done(done))
    }

    pub(super) fn is_done(&self) -> bool {
        let cancelled = self.post.cancelled.load(Ordering::Relaxed);
        cancelled || self.done.as_ref().is_some_and(|done| done.load(Ordering::Relaxed))
    }

    /// Marks all later attempts as not needed.
    pub(super) fn finish(&self) {
        if let Some(done) = &self.done {
            done.store(true, Ordering::Relaxed);
        }
    }
}

/// Stands for an attempt that was given up and may be acknowledged late.
#[derive(Debug, Clone)]
pub(super) struct Done(Arc<AtomicBool>);

impl Done {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What waits: in the order in which it goes.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Work(Entry),
    Gap(Gap),
}

impl Item {
    pub(super) fn sequence(&self) -> u64 {
        match self {
            Self::Work(entry) => entry.post.sequence,
            Self::Gap(gap) => gap.first,
        }
    }
}
