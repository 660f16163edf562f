//! Tells the task of one connection what it has to look at: bounded by what exists, however often it is told.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// Ids that need attention.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Queues that the peer drains: something waits, or the queue was revoked.
    pub(crate) queues: BTreeSet<u32>,
    /// Our subscriptions: credit or prefixes to send.
    pub(crate) subscribers: BTreeSet<u32>,
}

/// Shared by the connection's task and those who have something for it.
#[derive(Debug, Default)]
pub(crate) struct Waker {
    marks: Mutex<Marks>,
    notify: Notify,
}

impl Waker {
    pub(crate) fn mark_queue(&self, id: u32) {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).queues.insert(id);
        self.notify.notify_one();
    }

    pub(crate) fn mark_subscriber(&self, id: u32) {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).subscribers.insert(id);
        self.notify.notify_one();
    }

    pub(crate) fn take(&self) -> Marks {
        std::mem::take(&mut *self.marks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for a mark. Safe to drop and call again.
    pub(crate) async fn marked(&self) {
        self.notify.notified().await;
    }
}
