//! One connection to a peer, without its socket: moves messages between the session and the queues and
//! subscriptions of delivery, and checks who the peer is.

use super::accepted::{Accepted, Entry};
use crate::delivery::{Asked, Core, Served, Sink, Subscriber, Waker};
use crate::messaging::{Problem, ProblemKind};
use peer_wire::{
    Distance, Event, Gap, GapReason, Goodbye, GoodbyeCode, Hello, Message, Origin, ProtocolError,
    RefusalCode, Session, Settings,
};
use prometheus::IntGauge;
use runtime::shutdown::Shutdown;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A silent peer is pinged after this long.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A silent peer is given up after this long.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// How long a publisher keeps messages that came and were not confirmed.
const CONFIRM_DELAY: Duration = Duration::from_millis(200);
/// Bytes that one subscription may put into the output before it is another one's turn.
const TURN_BYTES: usize = 64 * 1024;
/// A refused subscription is asked for again after this long, while the view still names the publisher.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Our subscriptions that this connection is to carry, by id.
pub(crate) type Wanted = Arc<BTreeMap<u32, Arc<Subscriber>>>;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the peer broke the protocol or fell silent: {0}")]
    Protocol(#[from] ProtocolError),
    #[error("the peer calls itself {found}, and the view names {wanted} at this address")]
    Name { found: String, wanted: Arc<str> },
    #[error("the peer ended the connection: {code:?}: {text}")]
    Goodbye { code: GoodbyeCode, text: String },
}

/// What a link is made from.
pub(crate) struct Parts {
    pub(crate) core: Arc<Core>,
    /// What the peer's certificate names.
    pub(crate) identity: Arc<str>,
    /// The name that its hello must have, when we dialled.
    pub(crate) expected: Option<Arc<str>>,
    pub(crate) wanted: watch::Receiver<Wanted>,
    /// Begins when another connection takes over.
    pub(crate) replaced: Shutdown,
    /// Where to enter a connection that the peer dialled, and the other end of `wanted`.
    pub(crate) accepted: Option<(Arc<Accepted>, watch::Sender<Wanted>)>,
}

/// See the head of the file.
pub(crate) struct Link {
    core: Arc<Core>,
    pub(crate) session: Session,
    waker: Arc<Waker>,
    identity: Arc<str>,
    expected: Option<Arc<str>>,
    /// From its hello; empty before.
    sidecar: Arc<str>,
    wanted: watch::Receiver<Wanted>,
    replaced: Shutdown,
    accepted: Option<(Arc<Accepted>, watch::Sender<Wanted>)>,
    entry: Option<Entry>,
    /// Our subscriptions that the session carries.
    incoming: BTreeMap<u32, Arc<Subscriber>>,
    /// Refused ones, and when to ask again.
    refused: BTreeMap<u32, Duration>,
    /// The peer's subscriptions.
    outgoing: BTreeMap<u32, Served>,
    /// Those that may have something to send, in turn.
    active: VecDeque<u32>,
    /// The peer has said goodbye after sending everything.
    clean: bool,
    /// Counts this connection by the version that both speak, once that is known.
    spoken: Option<IntGauge>,
}

impl Link {
    pub(crate) fn new(parts: Parts) -> Self {
        let settings = Settings {
            sidecar: parts.core.sidecar().to_string(),
            epoch: parts.core.epoch(),
            locality: parts.core.presence().locality.clone(),
            version_max: parts.core.presence().version_max,
            heartbeat: HEARTBEAT,
            silence_max: SILENCE_MAX,
            confirm_delay: CONFIRM_DELAY,
        };
        let session = Session::new(settings, parts.core.now());
        Self {
            core: parts.core,
            session,
            waker: Arc::new(Waker::default()),
            identity: parts.identity,
            expected: parts.expected,
            sidecar: Arc::from(""),
            wanted: parts.wanted,
            replaced: parts.replaced,
            accepted: parts.accepted,
            entry: None,
            incoming: BTreeMap::new(),
            refused: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            active: VecDeque::new(),
            clean: false,
            spoken: None,
        }
    }

    pub(crate) const fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) const fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    /// A change of what is wanted; pends for ever when nothing can change any more.
    pub(crate) fn wanted(&self) -> watch::Receiver<Wanted> {
        self.wanted.clone()
    }

    pub(crate) const fn replaced(&self) -> &Shutdown {
        &self.replaced
    }

    pub(crate) fn is_replaced(&self) -> bool {
        self.replaced.has_begun()
    }

    /// Neither side has a subscription.
    pub(crate) fn is_unneeded(&self) -> bool {
        self.wanted.borrow().is_empty() && self.outgoing.is_empty()
    }

    /// All that waits for the peer is in the session's output.
    pub(crate) fn is_flushed(&self) -> bool {
        self.outgoing.values().all(Served::is_flushed)
    }

    /// Takes the events of the session.
    pub(crate) fn handle_events(&mut self) -> Result<(), LinkError> {
        while let Some(event) = self.session.poll_event() {
            self.handle_event(event)?;
        }
        Ok(())
    }

    fn handle_event(&mut self, event: Event) -> Result<(), LinkError> {
        match event {
            Event::Established(hello) => return self.established(&hello),
            Event::Goodbye(goodbye) => return Err(self.goodbye(goodbye)),
            Event::Subscribe { id, subscribe } => self.serve(id, subscribe),
            Event::Unsubscribe { id } => {
                if let Some(served) = self.outgoing.remove(&id) {
                    self.core.dismiss(&served);
                }
            }
            Event::Prefixes { id, prefixes } => {
                if let Some(served) = self.outgoing.get(&id) {
                    served.set_prefixes(prefixes);
                }
            }
            Event::Credit { id, messages, received } => {
                if let Some(served) = self.outgoing.get(&id) {
                    served.confirm(received, messages);
                    self.activate(id);
                }
            }
            Event::Ack { id, spans } => {
                if let Some(served) = self.outgoing.get(&id) {
                    served.ack(&spans);
                }
            }
            Event::Nack { id, delay_ms, spans } => {
                if let Some(served) = self.outgoing.get(&id) {
                    served.nack(&spans, Duration::from_millis(delay_ms.into()), self.core.now());
                }
            }
            Event::Reply { id, number, outcome } => {
                if let Some(served) = self.outgoing.get(&id) {
                    served.reply(&self.core, number, outcome);
                }
            }
            Event::Subscribed { id, received } => {
                if let Some(subscriber) = self.incoming.get(&id) {
                    subscriber.opened((&self.sidecar, &self.waker), received);
                }
            }
            Event::Messages { id, messages } => {
                if let Some(subscriber) = self.incoming.get(&id) {
                    subscriber.deliver((&self.sidecar, &self.waker), messages);
                }
            }
            Event::Gap { id, gap } => {
                if let Some(subscriber) = self.incoming.get(&id) {
                    subscriber.gap((&self.sidecar, &self.waker), gap);
                }
            }
            Event::NumberedGap { id, number, gap } => {
                if let Some(subscriber) = self.incoming.get(&id) {
                    subscriber.numbered_gap((&self.sidecar, &self.waker), number, gap);
                }
            }
            Event::Refused { id, refusal } => {
                if let Some(subscriber) = self.incoming.remove(&id) {
                    subscriber.detach((&self.sidecar, &self.waker), false);
                    let channel = &subscriber.name;
                    tracing::warn!(%channel, peer = %self.sidecar, reason = refusal.text, "peer refused a subscription");
                    self.refused.insert(id, self.core.now() + REFUSED_PAUSE);
                }
            }
        }
        Ok(())
    }

    fn established(&mut self, hello: &Hello) -> Result<(), LinkError> {
        if let Some(wanted) = self.expected.as_ref().filter(|wanted| ***wanted != *hello.sidecar) {
            let error = LinkError::Name { found: hello.sidecar.clone(), wanted: Arc::clone(wanted) };
            self.session.goodbye(GoodbyeCode::Identity, &error.to_string());
            return Err(error);
        }
        self.sidecar = Arc::from(hello.sidecar.as_str());
        let version = self.session.version().unwrap_or_default().to_string();
        let spoken = self.core.metrics().peer_versions.with_label_values(&[&version]);
        spoken.inc();
        self.spoken = Some(spoken);
        if let Some((accepted, wanted)) = self.accepted.take() {
            self.entry = Some(accepted.enter(&self.sidecar, &self.identity, wanted));
        }
        self.reconcile();
        Ok(())
    }

    fn goodbye(&mut self, goodbye: Goodbye) -> LinkError {
        self.clean = matches!(goodbye.code, GoodbyeCode::Draining | GoodbyeCode::Unneeded);
        LinkError::Goodbye { code: goodbye.code, text: goodbye.text }
    }

    fn serve(&mut self, id: u32, subscribe: peer_wire::Subscribe) {
        let peer = self.session.peer();
        let epoch = peer.map_or(0, |hello| hello.epoch);
        let own = &self.core.presence().locality;
        let asked = Asked {
            distance: peer.map_or(Distance::Far, |hello| own.distance(&hello.locality)),
            identity: &self.identity,
            sidecar: &self.sidecar,
            epoch,
            id,
            subscribe,
            waker: &self.waker,
        };
        match self.core.serve(asked) {
            Ok(served) => {
                self.session.accept(id, served.received);
                self.session.expect_replies(served.reply_bytes_max);
                self.outgoing.insert(id, served);
                self.activate(id);
            }
            Err(problem) => {
                tracing::info!(peer = %self.sidecar, identity = %self.identity, %problem, "subscription of a peer refused");
                self.session.refuse(id, refusal_code(&problem), &problem.message);
            }
        }
    }

    fn activate(&mut self, id: u32) {
        if !self.active.contains(&id) {
            self.active.push_back(id);
        }
    }

    /// Brings the session to what is wanted: subscribes and unsubscribes.
    pub(crate) fn reconcile(&mut self) {
        let Some(epoch) = self.session.peer().map(|hello| hello.epoch) else { return };
        let wanted = Arc::clone(&self.wanted.borrow_and_update());
        let gone: Vec<u32> = self.incoming.keys().filter(|id| !wanted.contains_key(id)).copied().collect();
        for id in gone {
            if let Some(subscriber) = self.incoming.remove(&id) {
                subscriber.detach((&self.sidecar, &self.waker), false);
            }
            self.session.unsubscribe(id);
        }
        self.refused.retain(|id, _| wanted.contains_key(id));
        for (id, subscriber) in &*wanted {
            if self.incoming.contains_key(id) || self.refused.contains_key(id) {
                continue;
            }
            let subscribe = subscriber.open(&self.sidecar, epoch, &self.waker);
            if self.session.subscribe(*id, subscribe) {
                self.incoming.insert(*id, Arc::clone(subscriber));
            } else {
                // The id may still wait for the end of an earlier use.
                subscriber.detach((&self.sidecar, &self.waker), false);
                self.refused.insert(*id, self.core.now() + REFUSED_PAUSE);
            }
        }
    }

    /// When something is to be tried again.
    pub(crate) fn retry_due(&self) -> Option<Duration> {
        self.refused.values().min().copied()
    }

    /// Lets time act: heartbeats, confirmations, and what was refused a while ago and is asked for again.
    pub(crate) fn handle_time(&mut self) -> Result<(), LinkError> {
        let now = self.core.now();
        self.session.handle_timeout(now)?;
        if !self.refused.is_empty() {
            self.retry(now);
        }
        Ok(())
    }

    fn retry(&mut self, now: Duration) {
        let before = self.refused.len();
        self.refused.retain(|_, due| *due > now);
        if self.refused.len() != before {
            self.reconcile();
        }
    }

    /// Takes what was marked: credit and prefixes to send, queues with something to send, access that ended.
    pub(crate) fn handle_marks(&mut self) {
        let marks = self.waker.take();
        for id in marks.subscribers {
            let Some(subscriber) = self.incoming.get(&id) else { continue };
            let owed = subscriber.owed((&self.sidecar, &self.waker), self.session.granted(id));
            if let Some(prefixes) = owed.prefixes {
                self.session.set_prefixes(id, prefixes);
            }
            if let Some(credit) = owed.credit {
                self.session.grant(id, credit.messages, credit.bytes);
            }
            self.session.ack(id, &owed.acks);
            for (delay_ms, spans) in owed.nacks {
                self.session.nack(id, delay_ms, &spans);
            }
            for (number, outcome) in owed.replies {
                self.session.reply(id, number, outcome);
            }
        }
        for id in marks.queues {
            let Some(served) = self.outgoing.get(&id) else { continue };
            match served.revoked() {
                Some(problem) => self.revoke(id, &problem),
                None => self.activate(id),
            }
        }
    }

    fn revoke(&mut self, id: u32, problem: &Problem) {
        tracing::info!(peer = %self.sidecar, identity = %self.identity, %problem, "subscription of a peer cut");
        self.session.refuse(id, refusal_code(problem), &problem.message);
        if let Some(served) = self.outgoing.remove(&id) {
            self.core.dismiss(&served);
        }
    }

    /// Fills the session's output up to `target_bytes`, one subscription after the other.
    pub(crate) fn pump(&mut self, target_bytes: usize) {
        let now = self.core.now();
        while self.session.output_bytes() < target_bytes {
            let Some(id) = self.active.pop_front() else { return };
            let Some(served) = self.outgoing.get(&id) else { continue };
            let limit = self.session.output_bytes().saturating_add(TURN_BYTES);
            let mut sink = Outlet { session: &mut self.session, id, limit, turn_over: false };
            served.drain(&mut sink, now);
            if sink.turn_over {
                self.active.push_back(id);
            }
        }
    }

    /// What could not be sent in time is told as a gap; then goodbye.
    pub(crate) fn say_goodbye(&mut self, code: GoodbyeCode, text: &str) {
        for (id, served) in &self.outgoing {
            if let Some(gap) = served.shut_down() {
                served.tell_last(&mut self.session, *id, gap);
            }
        }
        self.session.goodbye(code, text);
    }

    /// Counts a connection that ended before it could carry anything.
    pub(crate) fn note_end(&self, error: &LinkError) {
        let reason = match error {
            LinkError::Protocol(ProtocolError::NoCommonVersion { .. }) => "no_common_version",
            LinkError::Name { .. } => "wrong_name",
            _ => return,
        };
        self.core.metrics().peer_refusals.with_label_values(&[reason]).inc();
    }

    /// The connection has ended: subscriptions look for another one, queues wait for their subscriber.
    pub(crate) fn end(mut self, orderly: bool) {
        // First, so that nothing new is given to this connection.
        self.entry = None;
        if let Some(spoken) = self.spoken.take() {
            spoken.dec();
        }
        for subscriber in self.incoming.values() {
            subscriber.detach((&self.sidecar, &self.waker), self.clean);
        }
        for (_, served) in std::mem::take(&mut self.outgoing) {
            if self.clean || orderly {
                self.core.dismiss(&served);
            } else {
                self.core.lose(served);
            }
        }
    }
}

const fn refusal_code(problem: &Problem) -> RefusalCode {
    match problem.kind {
        ProblemKind::PermissionDenied => RefusalCode::PermissionDenied,
        ProblemKind::NotFound => RefusalCode::NotFound,
        ProblemKind::NotSupported | ProblemKind::InvalidArgument => RefusalCode::NotSupported,
        ProblemKind::ResourceExhausted => RefusalCode::ResourceExhausted,
        ProblemKind::Unavailable | ProblemKind::DeadlineExceeded | ProblemKind::Internal => {
            RefusalCode::Unavailable
        }
    }
}

/// Puts what a queue has into the session, as far as credit and turn allow.
struct Outlet<'a> {
    session: &'a mut Session,
    id: u32,
    limit: usize,
    turn_over: bool,
}

impl Sink for Outlet<'_> {
    fn has_room(&mut self) -> bool {
        self.turn_over |= self.session.output_bytes() >= self.limit;
        let credit = self.session.credit(self.id);
        !self.turn_over && credit.messages > 0 && credit.bytes > 0
    }

    fn message(&mut self, sequence: u64, message: &Message) -> bool {
        if self.session.output_bytes() >= self.limit {
            self.turn_over = true;
            return false;
        }
        if self.session.send_message(self.id, sequence, message) {
            return true;
        }
        if message.size_bytes() <= self.session.message_bytes_max(self.id) {
            return false;
        }
        let gap = Gap { first: sequence, last: sequence, messages: 1, reason: GapReason::TooLarge };
        self.session.send_gap(self.id, gap)
    }

    fn work(&mut self, number: u64, origin: Origin, message: &Message) -> bool {
        if self.session.output_bytes() >= self.limit {
            self.turn_over = true;
            return false;
        }
        if self.session.send_work(self.id, number, origin, message) {
            return true;
        }
        if message.size_bytes() <= self.session.message_bytes_max(self.id) {
            return false;
        }
        let sequence = origin.sequence;
        let gap = Gap { first: sequence, last: sequence, messages: 1, reason: GapReason::TooLarge };
        self.session.send_numbered_gap(self.id, number, gap)
    }

    fn numbered_gap(&mut self, number: u64, gap: &Gap) -> bool {
        self.session.send_numbered_gap(self.id, number, *gap)
    }

    fn gap(&mut self, gap: &Gap) -> bool {
        // A range that the session has passed already was told before: after a resumption, for example.
        self.session.send_gap(self.id, *gap);
        true
    }
}
