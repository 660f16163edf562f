//! Holds the client of one request to its quotas: the time that its handler takes is counted, the answer says how
//! long to wait, and the connection is muted for as long.

use std::{
    pin::Pin,
    task::{Context as Poller, Poll},
    time::Duration,
};

use kafka_wire::Message;
use runtime::clock;

use super::milliseconds;
use crate::broker::Context;

/// A request of somebody while there are quotas.
pub(crate) struct Hold {
    context: Context,
    spent: Duration,
    wait_ms: i32,
}

impl Hold {
    /// `None` while there are no quotas at all.
    pub(crate) fn of(context: &Context) -> Option<Self> {
        let hold = || Self { context: context.clone(), spent: Duration::ZERO, wait_ms: 0 };
        context.broker.quotas.in_use().then(hold)
    }

    /// Counts bytes that are produced. Nothing more is read until they may be.
    pub(crate) fn produce(&mut self, bytes: usize) {
        self.wait_ms = self.context.broker.quotas.produced(&self.context, bytes);
        if self.wait_ms > 0 {
            self.context.caller.mute.stop_reading(milliseconds(self.wait_ms));
        }
    }

    /// Does a part of the work.
    pub(crate) fn work<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let began = clock::now();
        let done = work();
        self.spent += began.elapsed();
        done
    }

    /// Does the rest of the work, and puts into the answer how long its client waits.
    pub(crate) async fn settle<M: Message>(self, work: impl Future<Output = M>) -> M {
        let mut timed = Timed { work: Box::pin(work), spent: self.spent };
        let mut answer = (&mut timed).await;
        let request_ms = self.context.broker.quotas.worked(&self.context, timed.spent);
        let handler_ms = answer.throttle_time_ms().map_or(0, |slot| *slot);
        // For what it produced it is not read from already, and what was begun behind it goes on.
        let mute_ms = request_ms.max(handler_ms);
        if mute_ms > 0 {
            self.context.caller.mute.stop(milliseconds(mute_ms));
        }
        if let Some(slot) = answer.throttle_time_ms() {
            *slot = mute_ms.max(self.wait_ms);
        }
        answer
    }
}

/// Work whose time on a thread is counted; not the time for which it waits.
struct Timed<F> {
    work: Pin<Box<F>>,
    spent: Duration,
}

impl<F: Future> Future for Timed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<F::Output> {
        let began = clock::now();
        let polled = self.work.as_mut().poll(poller);
        self.spent += began.elapsed();
        polled
    }
}
