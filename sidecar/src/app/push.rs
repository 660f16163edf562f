//! Push: the sidecar subscribes for an app that only answers HTTP, and POSTs each message to it.
//!
//! As many messages are at the app as `concurrency` allows: that is the subscription's credit. 2xx: done, acknowledged.
//! 429, 503 and an app that is not there: the same message again after a pause, and nothing else meanwhile in its place.
//! Everything else, and no answer in time: where messages are acknowledged it comes again (and ends in the dead letters),
//! otherwise it is dropped and counted. Requests of a Channel of pattern RequestReply are POSTed too, and the answer's
//! body is the reply.

mod post;
mod serve;
mod target;

pub use target::{PushError, PushTarget};

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use runtime::backoff::Backoff;
use runtime::shutdown::Shutdown;
use runtime::tasks::OnError;

use super::Doors;
use super::session::{Item, Open, Session};
use crate::durable::Delivery;
use crate::messaging::{Name, Problem};
use crate::metrics::ObjectLabels;
use crate::view::{Acknowledge, Pattern};
use post::{Connections, Verdict};

/// Between attempts to subscribe, and at an app that is not there or has no time.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(5);
/// Before a message that failed comes again: longer with each attempt.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
const AGAIN_MOST: Duration = Duration::from_secs(60);
/// How long messages at the app may take when the sidecar ends.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Pushes until the shutdown begins.
pub(super) fn start(doors: &Doors, targets: Vec<PushTarget>) {
    for target in targets {
        // The flag was read with the same rules.
        let Some(name) = target.name(&doors.namespace) else { continue };
        let connections = post::connections(&doors.tasks, target.options.concurrency);
        let pusher = Arc::new(Pusher { doors: doors.clone(), name, target, connections });
        drop(doors.tasks.spawn("push", OnError::Log, async move {
            pusher.run().await;
            Ok::<_, std::convert::Infallible>(())
        }));
    }
}

/// One target.
struct Pusher {
    doors: Doors,
    name: Name,
    target: PushTarget,
    connections: Connections,
}

/// A message that the app has dealt with, one way or the other.
struct Dealt {
    id: u64,
    attempt: u32,
    failed: Option<String>,
}

impl Pusher {
    fn ending(&self) -> &Shutdown {
        self.doors.tasks.shutdown()
    }

    async fn run(&self) {
        let mut pauses = Backoff::new(PAUSE_FIRST, PAUSE_MOST);
        let mut told = String::new();
        let mut view = self.doors.view.clone();
        // An error means that nobody sends views any more: then what follows says so.
        drop(self.ending().or(view.wait_for(|view| view.is_known())).await);
        while !self.ending().has_begun() {
            if let Err(problem) = self.once(&mut pauses).await
                && problem.message != told
            {
                tracing::warn!(target = %self.target, %problem, "nothing is pushed to the app; trying again");
                told = problem.message;
            }
            self.ending().or(tokio::time::sleep(pauses.next_pause())).await;
        }
    }

    /// One subscription from its beginning to its end.
    async fn once(&self, pauses: &mut Backoff) -> Result<(), Problem> {
        let acknowledge = match self.channel() {
            Some((Pattern::RequestReply, _)) => return self.answer(pauses).await,
            Some((_, acknowledge)) => acknowledge == Acknowledge::Required,
            // A Topic; or a Channel that the view does not have, which is refused by name.
            None => matches!(self.name, Name::Topic(_)),
        };
        let open = Open {
            group: self.target.options.group.clone(),
            credit: self.target.options.concurrency,
            acknowledge,
            ..Open::default()
        };
        let mut session = Session::open(&self.doors, &self.name, open).await?;
        pauses.reset();
        self.carry(&mut session, acknowledge).await
    }

    /// What the view says of the Channel, if it is one.
    fn channel(&self) -> Option<(Pattern, Acknowledge)> {
        let Name::Channel(name) = &self.name else { return None };
        self.doors.view.borrow().channels.get(name).map(|channel| (channel.pattern, channel.acknowledge))
    }

    /// Carries messages to the app until the subscription or the process ends; then waits for those that are there.
    async fn carry(&self, session: &mut Session, acknowledge: bool) -> Result<(), Problem> {
        let mut at_app = FuturesUnordered::new();
        let ended = loop {
            tokio::select! {
                biased;
                () = self.ending().begun() => break Ok(()),
                Some(dealt) = at_app.next(), if !at_app.is_empty() => {
                    self.settle(session, dealt, acknowledge).await;
                    session.grant(1).await;
                }
                items = session.next() => match items {
                    None => break Ok(()),
                    Some(items) => {
                        let mut end = None;
                        for item in items {
                            match item {
                                Item::Delivery(delivery) => at_app.push(self.deliver(delivery)),
                                // It is counted; an app that wants to be told subscribes itself.
                                Item::Gap(_) => {}
                                Item::End(problem) => end = Some(problem),
                            }
                        }
                        if let Some(problem) = end {
                            break Err(problem);
                        }
                    }
                },
            }
        };
        let rest = async {
            while let Some(dealt) = at_app.next().await {
                self.settle(session, dealt, acknowledge).await;
            }
        };
        drop(tokio::time::timeout(DRAIN_MAX, rest).await);
        ended
    }

    async fn settle(&self, session: &mut Session, dealt: Dealt, acknowledge: bool) {
        let Some(reason) = dealt.failed else {
            if acknowledge {
                session.ack(vec![dealt.id]).await;
            }
            return;
        };
        tracing::warn!(target = %self.target, attempt = dealt.attempt, reason, acknowledge, "a message failed at the app");
        if acknowledge {
            let step = 2_u32.saturating_pow(dealt.attempt.saturating_sub(1));
            let delay = AGAIN_FIRST.saturating_mul(step).min(AGAIN_MOST);
            // A refusal means that the subscription is over, and with it what it had: it comes again anyway.
            drop(session.nack(vec![dealt.id], delay).await);
        } else {
            let [kind, namespace, name] = self.labels().values();
            self.doors.metrics.dropped.with_label_values(&[kind, namespace, name, "push_failed"]).inc();
        }
    }

    fn labels(&self) -> ObjectLabels<'_> {
        match &self.name {
            Name::Topic(name) => ObjectLabels::from(name),
            Name::Channel(name) => ObjectLabels::from(name),
        }
    }

    fn count(&self, outcome: &str) {
        let [kind, namespace, name] = self.labels().values();
        self.doors.metrics.pushes.with_label_values(&[kind, namespace, name, outcome]).inc();
    }

    /// Brings one message to the app, as often as it asks for it again.
    async fn deliver(&self, delivery: Delivery) -> Dealt {
        let Delivery { id, position, message, attempt } = delivery;
        let mut about = vec![("pinnace-attempt", attempt.to_string())];
        if position.publisher.is_empty() {
            about.push(("pinnace-partition", position.partition.to_string()));
            about.push(("pinnace-offset", position.offset.to_string()));
        } else {
            about.push(("pinnace-publisher", position.publisher.to_string()));
            about.push(("pinnace-epoch", position.epoch.to_string()));
            about.push(("pinnace-sequence", position.offset.to_string()));
        }
        let options = &self.target.options;
        let mut pauses = Backoff::new(PAUSE_FIRST, PAUSE_MOST);
        loop {
            let request = post::request(&self.target.url, &message, &about);
            let verdict = match post::send(&self.connections, request, options.timeout).await {
                Ok(response) => {
                    let verdict = post::verdict(response.status(), response.headers());
                    post::discard(response, options.timeout).await;
                    verdict
                }
                Err(verdict) => verdict,
            };
            match verdict {
                Verdict::Done => {
                    self.count("done");
                    return Dealt { id, attempt, failed: None };
                }
                Verdict::Failed(reason) => {
                    self.count("failed");
                    return Dealt { id, attempt, failed: Some(reason) };
                }
                Verdict::Later(pause, outcome) => {
                    self.count(outcome);
                    tokio::time::sleep(pause.unwrap_or_else(|| pauses.next_pause())).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
