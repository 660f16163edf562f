//! An app's REQ or DEALER socket: each message is a request, and its reply goes back behind the envelope that the
//! request had, in whatever order replies come. A request that fails has no reply: ZeroMQ has no word for that, so it
//! is counted, and logged now and then.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{FuturesUnordered, StreamExt as _};
use runtime::clock::{self, Instant};
use runtime::shutdown::Shutdown;
use zmtp::{Envelope, Event};

use super::endpoint::{Endpoint, word};
use super::link::{End, Happened, Link, Stream, end_or_deadline};
use crate::messaging::{Message, Problem};

const SHUTTING_DOWN: &str = "the Channel's socket is closing";
/// Requests of one socket that wait for a reply.
const REQUESTS_MAX: usize = 1024;
/// Bytes that wait for the socket before no more requests are read. Replies are always taken: they are bounded by the
/// requests that wait for them.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// After the end has begun: how long those who answer may still take.
const LAST_PATIENCE: Duration = Duration::from_secs(4);

pub(super) async fn serve<S: Stream>(link: Link<S>, endpoint: &Endpoint, ended: Shutdown) -> io::Result<()> {
    let (requests_max, bytes_max) = endpoint.requests_max();
    let room = Room { requests_max: requests_max.clamp(1, REQUESTS_MAX), bytes_max, bytes: 0 };
    let mut requester = Requester { link, endpoint, open: FuturesUnordered::new(), room };
    let end = requester.run(&ended).await?;
    let Requester { link, open, .. } = requester;
    if !matches!(end, End::Gone) {
        // The app is there, and its socket will not get these.
        for _ in 0..open.len() {
            endpoint.unanswered("closed", SHUTTING_DOWN);
        }
    }
    drop(open);
    link.end(end).await;
    Ok(())
}

/// What may wait for replies, and what does.
struct Room {
    /// No more than the Channel's buffer takes.
    requests_max: usize,
    bytes_max: usize,
    bytes: usize,
}

/// What became of a request.
struct Answered {
    envelope: Envelope,
    /// Of the request.
    bytes: usize,
    outcome: Result<Message, Problem>,
}

struct Requester<'a, S> {
    link: Link<S>,
    endpoint: &'a Endpoint,
    open: FuturesUnordered<BoxFuture<'a, Answered>>,
    room: Room,
}

impl<S: Stream> Requester<'_, S> {
    async fn run(&mut self, ended: &Shutdown) -> io::Result<End> {
        let mut deadline: Option<Instant> = None;
        loop {
            if deadline.is_none()
                && let Err(end) = self.take()
            {
                return Ok(end);
            }
            if deadline.is_some_and(|deadline| self.open.is_empty() || clock::now() >= deadline) {
                return Ok(End::Why(SHUTTING_DOWN.to_owned()));
            }
            let reads = deadline.is_none() && self.has_room();
            let Self { link, open, .. } = self;
            let answered = tokio::select! {
                happened = step(link, reads) => {
                    if happened? == Happened::Closed {
                        return Ok(End::Gone);
                    }
                    None
                }
                answered = open.next(), if !open.is_empty() => answered,
                () = end_or_deadline(ended, deadline) => {
                    deadline = deadline.or_else(|| clock::now().checked_add(LAST_PATIENCE));
                    None
                }
            };
            if let Some(answered) = answered {
                self.answer(answered);
                self.answer_all();
            }
        }
    }

    fn has_room(&mut self) -> bool {
        let Room { requests_max, bytes_max, bytes } = self.room;
        self.open.len() < requests_max
            && (bytes < bytes_max || self.open.is_empty())
            && self.link.session.output().remaining() < OUTPUT_BYTES_MAX
    }

    /// Takes the session's events while there is room for more requests.
    ///
    /// # Errors
    /// Why the connection must end.
    fn take(&mut self) -> Result<(), End> {
        while self.has_room() {
            let event = self.link.session.poll_event().map_err(|error| {
                self.endpoint.session_failed(&error);
                End::Said
            })?;
            match event {
                Some(Event::Message(frames)) => self.ask(frames),
                Some(Event::Ready(_) | Event::Subscribe(_) | Event::Cancel(_)) => {}
                None => return Ok(()),
            }
        }
        Ok(())
    }

    fn ask(&mut self, frames: Vec<Bytes>) {
        let (envelope, parts) = match Envelope::split(frames) {
            Ok(split) => split,
            Err(problem) => {
                let text = format!("{}: {problem}", self.endpoint.channel());
                return self.endpoint.unanswered("envelope_too_large", &text);
            }
        };
        if parts.is_empty() {
            // A REP drops these as well. A socket with ZMQ_PROBE_ROUTER sends one when it connects.
            return self.endpoint.dropped("nothing_asked", 1);
        }
        let message = Message { parts, ..Message::default() };
        let bytes = message.size_bytes();
        self.room.bytes = self.room.bytes.saturating_add(bytes);
        let endpoint = self.endpoint;
        let request = async move {
            let outcome = endpoint.doors().channels.request_patiently(endpoint.channel(), message).await;
            Answered { envelope, bytes, outcome }
        };
        self.open.push(request.boxed());
    }

    /// Queues a reply for the socket.
    fn answer(&mut self, answered: Answered) {
        let Answered { envelope, bytes, outcome } = answered;
        self.room.bytes = self.room.bytes.saturating_sub(bytes);
        match outcome {
            Ok(reply) => self.link.session.send_message(envelope.join(&reply.parts)),
            Err(problem) => self.endpoint.unanswered(word(problem.kind), &problem.message),
        }
    }

    /// All replies that are there: they leave in one write.
    fn answer_all(&mut self) {
        while let Some(Some(answered)) = self.open.next().now_or_never() {
            self.answer(answered);
        }
    }
}

/// Without room nothing is read: that is the back-pressure.
async fn step<S: Stream>(link: &mut Link<S>, reads: bool) -> io::Result<Happened> {
    if reads { link.step().await } else { link.step_out().await }
}
