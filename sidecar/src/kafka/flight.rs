//! The requests of one connection whose answers are on their way, in order.
//!
//! Brokers answer in the order of the requests; that is how the door knows what an answer is.

use super::rewrite::Expected;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Requests of one connection that may wait for their answers. Clients keep to a few.
const IN_FLIGHT_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Flight {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    expected: VecDeque<Expected>,
    /// Answers that were recognised but are not written yet.
    writing: usize,
}

impl Flight {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request before it is sent.
    pub(super) fn sent(&self, expected: Expected) {
        self.state().expected.push_back(expected);
    }

    /// What the next answer answers.
    pub(super) fn next(&self) -> Option<Expected> {
        let mut state = self.state();
        let next = state.expected.pop_front();
        state.writing += usize::from(next.is_some());
        next
    }

    /// All answers taken so far are with the client.
    pub(super) fn written(&self) {
        self.state().writing = 0;
        self.changed.notify_waiters();
    }

    pub(super) fn has_room(&self) -> bool {
        self.state().expected.len() < IN_FLIGHT_MAX
    }

    async fn until(&self, done: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            if done(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until another request may be sent.
    pub(super) async fn room(&self) {
        self.until(|state| state.expected.len() < IN_FLIGHT_MAX).await;
    }

    /// Waits until every request has its answer.
    pub(super) async fn landed(&self) {
        self.until(|state| state.expected.is_empty() && state.writing == 0).await;
    }
}
