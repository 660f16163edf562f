//! An app's PULL socket: one receiver of a Pipeline. A message is acknowledged, and its credit comes back, once the
//! socket took its last byte; what the socket did not take when it ends goes to another receiver.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use peer_wire::Gap;
use runtime::shutdown::Shutdown;
use zmtp::{Event, Session};

use super::endpoint::Endpoint;
use super::link::{End, Happened, Link, Stream};
use super::subscriber::came;
use crate::delivery::{At, Events, Took};
use crate::messaging::{ChannelSubscription, Message, Problem, Receipt, SubscribeOptions};

const SHUTTING_DOWN: &str = "the Channel's socket is closing";
/// Messages on their way to one socket: as many as libzmq queues by default. A stuck app keeps no more from others.
const CREDIT: u32 = 1000;
/// Bytes that wait for the socket before no more messages are taken.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

pub(super) async fn serve<S: Stream>(link: Link<S>, endpoint: &Endpoint, ended: Shutdown) -> io::Result<()> {
    let mut worker = Worker { link, endpoint, subscription: None, unwritten: VecDeque::new() };
    let outcome = worker.run(&ended).await;
    worker.count_lost();
    // Whoever is next gets what the socket did not take.
    worker.subscription = None;
    worker.link.end(outcome?).await;
    Ok(())
}

/// A message whose bytes the socket does not have yet.
struct Unwritten {
    /// Where its last byte is, counted from the connection's first.
    end: u64,
    receipt: Option<Receipt>,
}

struct Worker<'a, S> {
    link: Link<S>,
    endpoint: &'a Endpoint,
    subscription: Option<ChannelSubscription>,
    /// In the order of sending; at most as many as the credit.
    unwritten: VecDeque<Unwritten>,
}

impl<S: Stream> Worker<'_, S> {
    async fn run(&mut self, ended: &Shutdown) -> io::Result<End> {
        loop {
            if let Err(end) = self.take().await {
                return Ok(end);
            }
            let Self { link, subscription, .. } = self;
            let takes = link.session.output().remaining() < OUTPUT_BYTES_MAX;
            let came = tokio::select! {
                happened = link.step() => {
                    if happened? == Happened::Closed {
                        return Ok(End::Gone);
                    }
                    false
                }
                () = came(subscription.as_ref()), if takes => true,
                () = ended.begun() => return Ok(End::Why(SHUTTING_DOWN.to_owned())),
            };
            if came && let Err(reason) = self.send() {
                return Ok(End::Why(reason));
            }
            self.settle();
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
                Some(Event::Ready(_)) => self.subscribe().await.map_err(End::Why)?,
                // A PULL socket sends nothing.
                Some(Event::Message(_) | Event::Subscribe(_) | Event::Cancel(_)) => {}
                None => return Ok(()),
            }
        }
    }

    async fn subscribe(&mut self) -> Result<(), String> {
        let options = SubscribeOptions { credit: CREDIT, acknowledge: true, ..SubscribeOptions::default() };
        let channels = &self.endpoint.doors().channels;
        let subscription = channels.subscribe(self.endpoint.channel(), options).await.map_err(|problem| {
            self.endpoint.problem(&problem);
            problem.message
        })?;
        self.subscription = Some(subscription);
        Ok(())
    }

    /// Queues for the socket what is there.
    ///
    /// # Errors
    /// Why the subscription ended.
    fn send(&mut self) -> Result<(), String> {
        let Self { link, endpoint, subscription: Some(subscription), unwritten, .. } = self else {
            return Ok(());
        };
        let Link { session, written, .. } = link;
        let mut socket = Socket { session, written: *written, endpoint, unwritten, ended: None };
        let took = subscription.take(&mut socket);
        match socket.ended {
            Some(reason) => Err(reason),
            None if took == Took::End => Err("the subscription ended".to_owned()),
            None => Ok(()),
        }
    }

    /// Acknowledges what the socket took, and gives the credit back.
    fn settle(&mut self) {
        let written = self.link.written;
        let count = self.unwritten.iter().take_while(|message| message.end <= written).count();
        let Some(subscription) = self.subscription.as_ref().filter(|_| count > 0) else { return };
        let taken = self.unwritten.drain(..count);
        if subscription.acknowledges() {
            let receipts: Vec<Receipt> = taken.filter_map(|message| message.receipt).collect();
            subscription.ack(&receipts);
        } else {
            drop(taken);
        }
        subscription.grant(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Without acknowledgement nobody else gets what the socket did not take.
    fn count_lost(&mut self) {
        self.settle();
        let acknowledges = self.subscription.as_ref().is_some_and(ChannelSubscription::acknowledges);
        if !acknowledges && !self.unwritten.is_empty() {
            let lost = u64::try_from(self.unwritten.len()).unwrap_or(u64::MAX);
            self.endpoint.dropped("disconnected", lost);
        }
    }
}

/// Puts what comes into the session.
struct Socket<'a> {
    session: &'a mut Session,
    /// Bytes that the socket took until now.
    written: u64,
    endpoint: &'a Endpoint,
    unwritten: &'a mut VecDeque<Unwritten>,
    ended: Option<String>,
}

impl Events for Socket<'_> {
    fn shared(&mut self, at: &At<'_>, message: &Message) {
        if message.parts.is_empty() {
            self.session.send_message(&[Bytes::new()]);
        } else {
            self.session.send_message(&message.parts);
        }
        let waiting = u64::try_from(self.session.output().remaining()).unwrap_or(u64::MAX);
        let end = self.written.saturating_add(waiting);
        self.unwritten.push_back(Unwritten { end, receipt: at.receipt() });
    }

    // ZeroMQ has no word for it; the metric counts it.
    fn gap(&mut self, _publisher: &Arc<str>, _epoch: u64, _gap: &Gap) {}

    fn end(&mut self, reason: Problem) {
        self.endpoint.problem(&reason);
        self.ended = Some(reason.message);
    }
}
