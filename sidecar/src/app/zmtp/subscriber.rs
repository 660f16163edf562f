//! An app's SUB socket: the union of its prefixes is one subscription; its credit comes back as
//! the socket takes bytes.

use std::io;
use std::sync::Arc;

use bytes::Buf as _;
use peer_wire::Gap;
use runtime::shutdown::Shutdown;
use zmtp::{Change, Event, Session, Subscriptions};

use super::endpoint::Endpoint;
use super::link::{Happened, Link, Stream};
use crate::delivery::{At, Events, Took};
use crate::messaging::{ChannelStart, ChannelSubscription, Message, Problem, ProblemKind, SubscribeOptions};

const SHUTTING_DOWN: &str = "the Channel's socket is closing";
/// Messages on their way to one socket; enough to cover the way to the publisher and back at
/// millions of messages a second.
const CREDIT: u32 = 4096;
/// Bytes that wait for the socket before no more messages are taken.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
const PREFIXES_MAX: usize = 10_000;

pub(super) async fn serve<S: Stream>(link: Link<S>, endpoint: &Endpoint, ended: Shutdown) -> io::Result<()> {
    let subscriptions = Subscriptions::new(PREFIXES_MAX);
    let mut subscriber = Subscriber { link, endpoint, subscriptions, subscription: None, unwritten: 0 };
    let reason = loop {
        if let Err(reason) = subscriber.take().await {
            break reason;
        }
        let Subscriber { link, subscription, .. } = &mut subscriber;
        let takes = link.session.output().remaining() < OUTPUT_BYTES_MAX;
        let came = tokio::select! {
            happened = link.step() => {
                if happened? == Happened::Closed {
                    return Ok(());
                }
                false
            }
            () = came(subscription.as_ref()), if takes => true,
            () = ended.begun() => break Some(SHUTTING_DOWN.to_owned()),
        };
        if came && let Err(reason) = subscriber.send() {
            break Some(reason);
        }
        subscriber.give_back_credit();
    };
    if let Some(reason) = reason {
        subscriber.link.session.refuse(&reason);
    }
    subscriber.link.close().await;
    Ok(())
}

/// Waits until the subscription may have something.
pub(super) async fn came(subscription: Option<&ChannelSubscription>) {
    match subscription {
        Some(subscription) => subscription.came().await,
        None => std::future::pending().await,
    }
}

struct Subscriber<'a, S> {
    link: Link<S>,
    endpoint: &'a Endpoint,
    subscriptions: Subscriptions,
    subscription: Option<ChannelSubscription>,
    /// Messages whose credit is not given back yet.
    unwritten: u32,
}

impl<S: Stream> Subscriber<'_, S> {
    /// Takes all events of the session.
    ///
    /// # Errors
    /// Why the connection must end; `None` = the session has said it already.
    async fn take(&mut self) -> Result<(), Option<String>> {
        let mut changed = false;
        loop {
            let event = self.link.session.poll_event().map_err(|error| {
                self.endpoint.session_failed(&error);
                None
            })?;
            match event {
                Some(Event::Subscribe(prefix)) => match self.subscriptions.subscribe(&prefix) {
                    Ok(change) => changed |= change == Change::Set,
                    Err(full) => {
                        let problem = Problem::new(ProblemKind::ResourceExhausted, full.to_string());
                        self.endpoint.problem(&problem);
                        return Err(Some(problem.message));
                    }
                },
                Some(Event::Cancel(prefix)) => changed |= self.subscriptions.cancel(&prefix) == Change::Set,
                // XSUB may send messages upwards; PubSub has nowhere to send them.
                Some(Event::Message(_) | Event::Ready(_)) => {}
                None => break,
            }
        }
        if changed { self.follow_prefixes().await.map_err(Some) } else { Ok(()) }
    }

    /// Makes the subscription what the prefixes are now. None at all is no subscription: to
    /// delivery, no prefix means everything.
    async fn follow_prefixes(&mut self) -> Result<(), String> {
        if self.subscriptions.is_empty() {
            self.subscription = None;
            return Ok(());
        }
        let prefixes = self.subscriptions.prefixes();
        // What peers would refuse is refused here, where the app can be told.
        peer_wire::limits::check_prefixes(&prefixes).map_err(|problem| {
            let text = format!("{}: {problem}", self.endpoint.channel());
            self.endpoint.refused("refused", &text);
            text
        })?;
        if let Some(subscription) = &self.subscription {
            subscription.set_prefixes(prefixes);
            return Ok(());
        }
        // ZMTP has no word to ask for it: a Channel with `replay` has it for everybody who comes late.
        let options = SubscribeOptions {
            prefixes,
            credit: CREDIT,
            start: ChannelStart::KeptIfAny,
            ..SubscribeOptions::default()
        };
        match self.endpoint.doors().channels.subscribe(self.endpoint.channel(), options).await {
            Ok(subscription) => {
                self.unwritten = 0;
                self.subscription = Some(subscription);
                Ok(())
            }
            Err(problem) => {
                self.endpoint.problem(&problem);
                Err(problem.message)
            }
        }
    }

    /// Queues for the socket what is there.
    ///
    /// # Errors
    /// Why the subscription ended.
    fn send(&mut self) -> Result<(), String> {
        let Self { link, endpoint, subscriptions, subscription: Some(subscription), unwritten, .. } = self
        else {
            return Ok(());
        };
        let mut socket =
            Socket { session: &mut link.session, endpoint, subscriptions, unwritten, ended: None };
        let took = subscription.take(&mut socket);
        match socket.ended {
            Some(reason) => Err(reason),
            None if took == Took::End => Err("the subscription ended".to_owned()),
            None => Ok(()),
        }
    }

    fn give_back_credit(&mut self) {
        if self.unwritten > 0
            && !self.link.session.output().has_remaining()
            && let Some(subscription) = &self.subscription
        {
            subscription.grant(std::mem::take(&mut self.unwritten));
        }
    }
}

/// Puts what comes into the session.
struct Socket<'a> {
    session: &'a mut Session,
    endpoint: &'a Endpoint,
    subscriptions: &'a Subscriptions,
    unwritten: &'a mut u32,
    ended: Option<String>,
}

impl Events for Socket<'_> {
    fn shared(&mut self, _at: &At<'_>, message: &Message) {
        *self.unwritten = self.unwritten.saturating_add(1);
        // What was on its way when a prefix was cancelled is not for the app any more.
        if self.subscriptions.matches(&message.subject) {
            self.session.send_message(std::iter::once(&message.subject).chain(&message.parts));
        }
    }

    // ZeroMQ has no word for it; the metric counts it.
    fn gap(&mut self, _publisher: &Arc<str>, _epoch: u64, _gap: &Gap) {}

    fn end(&mut self, reason: Problem) {
        self.endpoint.problem(&reason);
        self.ended = Some(reason.message);
    }
}
