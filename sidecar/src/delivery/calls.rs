//! Requests that wait for their reply, by sequence number.

use super::core::Core;
use super::share;
use super::work::{Call, Offered, Post, Work};
use crate::messaging::{ChannelName, Message, Problem, ProblemKind};
use crate::route;
use peer_wire::{Failure, FailureCode};
use runtime::clock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the first request of a Channel waits for those who answer to find this sidecar.
const DISCOVERY_MAX: Duration = Duration::from_secs(2);

type Outcome = Result<Message, Problem>;

/// See the head of the file.
pub(crate) struct Calls {
    name: ChannelName,
    waiting: Mutex<BTreeMap<u64, oneshot::Sender<Outcome>>>,
}

impl Calls {
    pub(super) const fn new(name: ChannelName) -> Self {
        Self { name, waiting: Mutex::new(BTreeMap::new()) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, oneshot::Sender<Outcome>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever had these is gone.
    pub(super) fn fail(&self, sequences: &[u64]) {
        for sequence in sequences {
            let text = format!(
                "{}: the one who had the request is gone before it replied; it may have been executed; requests that \
                 may be executed twice can be marked as idempotent and go to another",
                self.name
            );
            self.complete(*sequence, Err(Problem::new(ProblemKind::Unavailable, text)));
        }
    }

    /// Returns whether somebody waited.
    pub(super) fn complete(&self, sequence: u64, outcome: Outcome) -> bool {
        self.lock().remove(&sequence).is_some_and(|waiting| waiting.send(outcome).is_ok())
    }
}

/// How somebody asks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asking {
    /// `None` = the Channel's `requestTimeout`, which it never exceeds.
    pub(crate) timeout: Option<Duration>,
    /// It may be executed twice.
    pub(crate) idempotent: bool,
    /// Waits for somebody who serves, and for room, for as long as for the reply.
    pub(crate) patient: bool,
}

/// A request for as long as somebody waits for its reply.
struct Waiting<'a> {
    calls: &'a Calls,
    work: &'a Work,
    post: &'a Post,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.calls.lock().remove(&self.post.sequence).is_some() {
            self.post.cancel();
            self.work.with(super::work::Desk::forget_cancelled);
        }
    }
}

impl Core {
    /// Sends one request and waits for its reply.
    pub(crate) async fn request(
        &self,
        name: &ChannelName,
        message: Message,
        Asking { timeout, idempotent, patient }: Asking,
    ) -> Outcome {
        self.refuse_when_draining(name)?;
        let view = self.view();
        let channel = route::request(&view, name, &self.identity())?;
        self.audit_call(name, channel);
        let mut messages = vec![message];
        super::core::check(name, channel, &mut messages)?;
        let timeout = timeout.map_or(channel.request_timeout, |timeout| timeout.min(channel.request_timeout));
        let begun = clock::now();
        let deadline = begun + timeout;
        let outlet = self.outlet(name);
        if outlet.note_publisher() {
            self.changed();
        }
        let Some(work) = self.shared_work(&outlet, channel) else {
            return Err(Problem::new(ProblemKind::Internal, format!("{name}: a request needs shared work")));
        };
        let discovered = outlet.begun.get().map_or(begun, |first| *first + DISCOVERY_MAX).min(deadline);
        let found_until = if patient { deadline } else { discovered };
        loop {
            let changed = work.room_changed();
            if work.has_receivers() {
                break;
            }
            if tokio::time::timeout_at(found_until, changed).await.is_err() {
                return Err(no_responders(name));
            }
        }
        let sequence = outlet.number(1);
        let message = messages.pop().unwrap_or_default();
        let call = Call { deadline: self.now() + (deadline - begun), idempotent };
        let post = Arc::new(Post::new(sequence, self.now(), message, Some(call)));
        let (sender, receiver) = oneshot::channel();
        outlet.calls.lock().insert(sequence, sender);
        let _waiting = Waiting { calls: &outlet.calls, work: &work, post: &post };
        loop {
            let changed = work.room_changed();
            let refused = match work.offer(std::slice::from_ref(&post), true).1 {
                Offered::Taken | Offered::Dropped => break,
                Offered::Nobody => no_responders(name),
                Offered::Full => share::too_many_requests(name, work.load()),
            };
            if !patient || tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Err(refused);
            }
        }
        outlet.metrics.published.inc();
        let outcome = tokio::time::timeout_at(deadline, receiver).await;
        outlet.metrics.publish_duration.observe((clock::now() - begun).as_secs_f64());
        match outcome {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Problem::new(ProblemKind::Unavailable, format!("{name}: shutting down"))),
            Err(_) => {
                let text = format!(
                    "{name}: no reply within {timeout:?}; the request may have been executed; have those who answer be \
                     faster, or change spec.requestTimeout"
                );
                Err(Problem::new(ProblemKind::DeadlineExceeded, text))
            }
        }
    }

    /// The answer to a request of ours has come.
    pub(super) fn answered(&self, name: &ChannelName, sequence: Option<u64>, outcome: Outcome) {
        let outlet = self.outlet(name);
        if !sequence.is_some_and(|sequence| outlet.calls.complete(sequence, outcome)) {
            outlet.metrics.drop_counted("late_reply", 1);
        }
    }
}

fn no_responders(name: &ChannelName) -> Problem {
    let text = format!(
        "{name}: no responders: nobody serves it now; start an app that serves it, and see that its service account is \
         in spec.access.subscribe"
    );
    Problem::new(ProblemKind::Unavailable, text)
}

/// A problem as it travels to the one who asked.
pub(super) fn failure_of(problem: Problem) -> Failure {
    let code = match problem.kind {
        ProblemKind::NotFound => FailureCode::NotFound,
        ProblemKind::PermissionDenied => FailureCode::PermissionDenied,
        ProblemKind::NotSupported => FailureCode::NotSupported,
        ProblemKind::InvalidArgument => FailureCode::InvalidArgument,
        ProblemKind::Unavailable => FailureCode::Unavailable,
        ProblemKind::DeadlineExceeded => FailureCode::DeadlineExceeded,
        ProblemKind::ResourceExhausted => FailureCode::ResourceExhausted,
        ProblemKind::Internal => FailureCode::Internal,
    };
    Failure { code, text: problem.message }
}

pub(super) fn problem_of(failure: Failure) -> Problem {
    let kind = match failure.code {
        FailureCode::NotFound => ProblemKind::NotFound,
        FailureCode::PermissionDenied => ProblemKind::PermissionDenied,
        FailureCode::NotSupported => ProblemKind::NotSupported,
        FailureCode::InvalidArgument => ProblemKind::InvalidArgument,
        FailureCode::Unavailable => ProblemKind::Unavailable,
        FailureCode::DeadlineExceeded => ProblemKind::DeadlineExceeded,
        FailureCode::ResourceExhausted => ProblemKind::ResourceExhausted,
        FailureCode::Internal => ProblemKind::Internal,
    };
    Problem::new(kind, failure.text)
}
