//! An app's REP or ROUTER socket: one who answers. A request goes out behind an envelope with our own id, by which the
//! reply is known again. What the app has not answered when its socket goes away has failed, or goes to another.
//!
//! A REP holds one request, and gets the next when it has answered. A ROUTER holds many; one that it does not answer
//! in time makes room for another, since it may never be answered.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use runtime::clock::{self, Instant};
use runtime::shutdown::Shutdown;
use zmtp::{Envelope, Event, Matched, Waiting};

use super::endpoint::{Endpoint, Role};
use super::link::{End, Happened, Link, Stream, end_or_deadline};
use crate::messaging::{Message, Problem, ProblemKind, ServeEvent, Serving};

const SHUTTING_DOWN: &str = "the Channel's socket is closing";
/// Requests that one socket has.
const CREDIT_REP: u32 = 1;
const CREDIT_ROUTER: u32 = 1024;
/// The same, as what the map of those that wait is bounded by.
const WAITING_MAX: usize = 1024;
/// Bytes that wait for the socket before no more requests are taken.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// After the end has begun: how long the app may still take to answer what it has.
const LAST_PATIENCE: Duration = Duration::from_secs(4);

pub(super) async fn serve<S: Stream>(link: Link<S>, endpoint: &Endpoint, ended: Shutdown) -> io::Result<()> {
    let mut responder = Responder { link, endpoint, serving: None, waiting: Waiting::new(WAITING_MAX) };
    let end = responder.run(&ended).await;
    let Responder { link, serving, .. } = responder;
    // Whoever asked is told that nobody answers, or gets it from another.
    drop(serving);
    link.end(end?).await;
    Ok(())
}

struct Responder<'a, S> {
    link: Link<S>,
    endpoint: &'a Endpoint,
    /// Once the app's socket is known to be the right one.
    serving: Option<Serving>,
    waiting: Waiting,
}

async fn next(serving: &mut Option<Serving>) -> Option<Vec<ServeEvent>> {
    match serving {
        Some(serving) => serving.next().await,
        None => std::future::pending().await,
    }
}

/// What the app is told when nothing follows.
fn ending(serving: Option<&Serving>, endpoint: &Endpoint) -> End {
    match serving.and_then(Serving::ended) {
        Some(problem) => {
            endpoint.problem(problem);
            End::Why(problem.message.clone())
        }
        None => End::Why("the Channel is not served any more".to_owned()),
    }
}

impl<S: Stream> Responder<'_, S> {
    async fn run(&mut self, ended: &Shutdown) -> io::Result<End> {
        let mut deadline: Option<Instant> = None;
        loop {
            if let Err(end) = self.take().await {
                return Ok(end);
            }
            if deadline.is_some_and(|deadline| self.waiting.is_empty() || clock::now() >= deadline) {
                return Ok(End::Why(SHUTTING_DOWN.to_owned()));
            }
            let expiry = self.expiry();
            let Self { link, serving, .. } = self;
            let takes = deadline.is_none() && link.session.output().remaining() < OUTPUT_BYTES_MAX;
            tokio::select! {
                happened = link.step() => {
                    if happened? == Happened::Closed {
                        return Ok(End::Gone);
                    }
                }
                events = next(serving), if takes => match events {
                    Some(events) => self.send(events),
                    None => return Ok(ending(self.serving.as_ref(), self.endpoint)),
                },
                () = until(expiry) => self.expire(),
                () = end_or_deadline(ended, deadline) => {
                    deadline = deadline.or_else(|| clock::now().checked_add(LAST_PATIENCE));
                }
            }
        }
    }

    /// Takes all events of the session.
    ///
    /// # Errors
    /// Why the connection must end.
    async fn take(&mut self) -> Result<(), End> {
        loop {
            let event = self.link.session.poll_event().map_err(|error| {
                self.endpoint.session_failed(&error);
                End::Said
            })?;
            match event {
                Some(Event::Ready(_)) => self.begin().await.map_err(End::Why)?,
                Some(Event::Message(frames)) => self.answered(frames),
                Some(Event::Subscribe(_) | Event::Cancel(_)) => {}
                None => return Ok(()),
            }
        }
    }

    fn is_lock_step(&self) -> bool {
        self.endpoint.name().role == Role::Rep
    }

    async fn begin(&mut self) -> Result<(), String> {
        let credit = if self.is_lock_step() { CREDIT_REP } else { CREDIT_ROUTER };
        let channels = &self.endpoint.doors().channels;
        let serving = channels.serve(self.endpoint.channel(), credit).await.map_err(|problem| {
            self.endpoint.problem(&problem);
            problem.message
        })?;
        self.serving = Some(serving);
        Ok(())
    }

    /// Queues requests for the socket.
    fn send(&mut self, requests: Vec<ServeEvent>) {
        let now = clock::now();
        for ServeEvent { id, message, timeout } in requests {
            let until = now.checked_add(timeout).unwrap_or(now).into_std();
            // Credit comes back with what no longer waits, so there is always a place.
            if self.waiting.add(id, until) {
                self.link.session.send_message(Envelope::of_id(id).join(&message.parts));
            }
        }
    }

    /// The app has sent something: the reply to one of its requests, or what is none.
    fn answered(&mut self, frames: Vec<Bytes>) {
        let Some(serving) = &self.serving else { return };
        let Ok((envelope, parts)) = Envelope::split(frames) else {
            return self.endpoint.dropped("unknown_reply", 1);
        };
        match envelope.id().map(|id| (id, self.waiting.take(id))) {
            Some((id, Matched::Waiting)) => {
                serving.reply(id, self.checked(Message { parts, ..Message::default() }));
                serving.grant(1);
            }
            Some((_, Matched::Late)) => self.endpoint.dropped("late_reply", 1),
            Some((_, Matched::Unknown)) | None => self.endpoint.dropped("unknown_reply", 1),
        }
    }

    /// The limit of the session is on the envelope as well, so the Channel's own is looked at here.
    fn checked(&self, reply: Message) -> Result<Message, Problem> {
        let (size, limit) = (reply.size_bytes(), self.endpoint.message_bytes_max());
        if size <= limit {
            return Ok(reply);
        }
        let name = self.endpoint.channel();
        let text = format!("{name}: the reply of {size} bytes is above spec.maxMessageSize of {limit} bytes");
        let problem = Problem::new(ProblemKind::InvalidArgument, text);
        self.endpoint.problem(&problem);
        Err(problem)
    }

    /// When a ROUTER has not answered in time. A REP cannot take another request before it has, so its time never ends.
    fn expiry(&self) -> Option<Instant> {
        if self.is_lock_step() { None } else { self.waiting.next_expiry().map(Instant::from_std) }
    }

    fn expire(&mut self) {
        let expired = self.waiting.expire(clock::now().into_std());
        if let Some(serving) = self.serving.as_ref().filter(|_| expired > 0) {
            serving.grant(u32::try_from(expired).unwrap_or(u32::MAX));
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
