//! Requests of a Channel as requests to the app: its answer is the reply.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use hyper::body::Incoming;
use runtime::backoff::Backoff;

use super::post::{self, Verdict};
use super::{DRAIN_MAX, Pusher};
use crate::app::http as door;
use crate::messaging::{ChannelName, Message, Name, Problem, ProblemKind, ServeEvent};

impl Pusher {
    /// Answers requests until the subscription or the process ends.
    pub(super) async fn answer(&self, pauses: &mut Backoff) -> Result<(), Problem> {
        let Name::Channel(name) = &self.name else { return Ok(()) };
        let mut serving = self.doors.channels.serve(name, self.target.options.concurrency).await?;
        pauses.reset();
        let mut at_app = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = self.ending().begun() => break,
                Some((id, outcome)) = at_app.next(), if !at_app.is_empty() => {
                    serving.reply(id, outcome);
                    serving.grant(1);
                }
                requests = serving.next() => match requests {
                    Some(requests) => at_app.extend(requests.into_iter().map(|request| self.ask(name, request))),
                    None => break,
                },
            }
        }
        let rest = async {
            while let Some((id, outcome)) = at_app.next().await {
                serving.reply(id, outcome);
            }
        };
        drop(tokio::time::timeout(DRAIN_MAX, rest).await);
        serving.ended().map_or(Ok(()), |problem| Err(problem.clone()))
    }

    /// One request: an app that is not there or has no time fails it at once, since its sender may ask another.
    async fn ask(&self, name: &ChannelName, event: ServeEvent) -> (u64, Result<Message, Problem>) {
        let ServeEvent { id, message, timeout } = event;
        let timeout = timeout.min(self.target.options.timeout);
        let about = [("pinnace-timeout-ms", timeout.as_millis().to_string())];
        let request = post::request(&self.target.url, &message, &about);
        let outcome = match post::send(&self.connections, request, timeout).await {
            Ok(response) => self.reply(name, response, timeout).await,
            Err(verdict) => Err(self.failed(name, verdict)),
        };
        (id, outcome)
    }

    async fn reply(
        &self,
        name: &ChannelName,
        response: http::Response<Incoming>,
        timeout: Duration,
    ) -> Result<Message, Problem> {
        let verdict = post::verdict(response.status(), response.headers());
        if verdict != Verdict::Done {
            post::discard(response, timeout).await;
            return Err(self.failed(name, verdict));
        }
        let limit =
            self.doors.view.borrow().channels.get(name).map_or(0, |channel| channel.max_message_bytes);
        let (head, body) = response.into_parts();
        let mut reply = door::message(&head.headers);
        match door::read(axum::body::Body::new(body), &head.headers, limit).await {
            Ok(body) => reply.parts.push(body),
            Err(refusal) => {
                self.count("failed");
                let text = format!("{name}: the app's answer is no reply: {}", refusal.detail);
                return Err(Problem::new(ProblemKind::Internal, text));
            }
        }
        self.count("done");
        Ok(reply)
    }

    fn failed(&self, name: &ChannelName, verdict: Verdict) -> Problem {
        let (outcome, kind, text) = match verdict {
            Verdict::Done => ("done", ProblemKind::Internal, "no reply".to_owned()),
            Verdict::Later(_, outcome) => (
                outcome,
                ProblemKind::Unavailable,
                "the app that serves it is not there, or has no time".to_owned(),
            ),
            Verdict::Failed(reason) => ("failed", ProblemKind::Internal, reason),
        };
        self.count(outcome);
        Problem::new(kind, format!("{name}: {text}"))
    }
}
