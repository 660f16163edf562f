//! One app that answers requests.

use super::{ChannelEvent, Message, Problem, Receipt};
use crate::delivery::Subscriber;
use runtime::clock::{self, Instant};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A request to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeEvent {
    /// What [`Serving::reply`] names.
    pub id: u64,
    pub message: Message,
    /// How long its sender waits.
    pub timeout: Duration,
}

#[derive(Default)]
struct Open {
    last_id: u64,
    /// Requests without a reply, and until when somebody waits for it.
    requests: BTreeMap<u64, (Receipt, Instant)>,
}

/// See the head of the file. Dropping it ends it; requests that it has not answered fail, or go to others.
pub struct Serving {
    subscriber: Arc<Subscriber>,
    open: Mutex<Open>,
    ended: Option<Problem>,
}

impl Serving {
    pub(crate) fn new(subscriber: Arc<Subscriber>) -> Self {
        Self { subscriber, open: Mutex::default(), ended: None }
    }

    /// Why nothing follows.
    #[must_use]
    pub const fn ended(&self) -> Option<&Problem> {
        self.ended.as_ref()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that came, at least one; `None` after the end, for which [`Self::ended`] has the reason. Safe to drop and
    /// call again.
    pub async fn next(&mut self) -> Option<Vec<ServeEvent>> {
        loop {
            let events = self.subscriber.next().await?;
            let mut requests = Vec::new();
            for event in events {
                match event {
                    ChannelEvent::Message { message, receipt: Some(receipt), .. } => {
                        requests.push(self.enter(message, receipt));
                    }
                    // Nobody can be told of a request that is not there.
                    ChannelEvent::Message { .. } | ChannelEvent::Gap { .. } => {}
                    ChannelEvent::End { reason } => {
                        self.ended = Some(reason);
                        return None;
                    }
                }
            }
            if !requests.is_empty() {
                return Some(requests);
            }
        }
    }

    fn enter(&self, message: Message, receipt: Receipt) -> ServeEvent {
        let timeout = receipt.timeout.unwrap_or_default();
        let now = clock::now();
        let mut open = self.lock();
        open.last_id += 1;
        let id = open.last_id;
        // What nobody waits for any more needs no place: the rest is bounded by credit and time.
        if id.is_multiple_of(64) {
            open.requests.retain(|_, (_, until)| *until > now);
        }
        open.requests.insert(id, (receipt, now + timeout));
        ServeEvent { id, message, timeout }
    }

    /// Answers a request. An id that is not open is ignored: somebody has answered it, or nobody waits any more.
    pub fn reply(&self, id: u64, outcome: Result<Message, Problem>) {
        let request = self.lock().requests.remove(&id);
        if let Some((receipt, _)) = request {
            self.subscriber.reply(&receipt, outcome);
        }
    }

    /// The app is ready for so many more.
    pub fn grant(&self, requests: u32) {
        self.subscriber.grant(requests);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.subscriber.close();
    }
}
