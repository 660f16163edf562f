//! An app's PULL socket: one receiver of a Pipeline. A message is acknowledged, and its credit comes back, once the
//! socket took its last byte; what the socket did not take when it ends goes to another receiver.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf as _, Bytes};
use runtime::shutdown::Shutdown;
use zmtp::Event;

use super::endpoint::Endpoint;
use super::link::{End, Happened, Link, Stream};
use crate::messaging::{ChannelEvent, ChannelSubscription, Receipt, SubscribeOptions};

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

async fn next(subscription: &mut Option<ChannelSubscription>) -> Option<Vec<ChannelEvent>> {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
    }
}

impl<S: Stream> Worker<'_, S> {
    async fn run(&mut self, ended: &Shutdown) -> io::Result<End> {
        loop {
            if let Err(end) = self.take().await {
                return Ok(end);
            }
            let Self { link, subscription, .. } = self;
            let takes = link.session.output().remaining() < OUTPUT_BYTES_MAX;
            let events = tokio::select! {
                happened = link.step() => {
                    if happened? == Happened::Closed {
                        return Ok(End::Gone);
                    }
                    None
                }
                events = next(subscription), if takes => Some(events),
                () = ended.begun() => return Ok(End::Why(SHUTTING_DOWN.to_owned())),
            };
            if let Some(events) = events
                && let Err(reason) = self.send(events)
            {
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

    /// Queues a batch for the socket.
    ///
    /// # Errors
    /// Why the subscription ended.
    fn send(&mut self, events: Option<Vec<ChannelEvent>>) -> Result<(), String> {
        let Some(events) = events else {
            return Err("the subscription ended".to_owned());
        };
        for event in events {
            match event {
                ChannelEvent::Message { message, receipt, .. } => {
                    if message.parts.is_empty() {
                        self.link.session.send_message(&[Bytes::new()]);
                    } else {
                        self.link.session.send_message(&message.parts);
                    }
                    let waiting = u64::try_from(self.link.session.output().remaining()).unwrap_or(u64::MAX);
                    let end = self.link.written.saturating_add(waiting);
                    self.unwritten.push_back(Unwritten { end, receipt });
                }
                // ZeroMQ has no word for it; the metric counts it.
                ChannelEvent::Gap { .. } => {}
                ChannelEvent::End { reason } => {
                    self.endpoint.problem(&reason);
                    return Err(reason.message);
                }
            }
        }
        Ok(())
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
