//! One Channel in one role: its name, who may connect, and what a refusal says.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use runtime::clock::{self, Instant};
use runtime::shutdown::Shutdown;
use runtime::tasks::Tasks;
use zmtp::{Config, ENVELOPE_BYTES_MAX, Limits, Session, SessionError, SocketType};

use super::link::{Link, Stream};
use super::{publisher, requester, responder, subscriber, worker};
use crate::app::Doors;
use crate::messaging::{ChannelName, Problem, ProblemKind};
use crate::metrics::ObjectLabels;
use crate::view::{Pattern, View};

/// How often a request that gets no reply is worth a line in the log.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// What the app's socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Role {
    Pub,
    Sub,
    Push,
    Pull,
    Req,
    Rep,
    Dealer,
    Router,
}

impl Role {
    pub(super) const ALL: [Self; 8] =
        [Self::Pub, Self::Sub, Self::Push, Self::Pull, Self::Req, Self::Rep, Self::Dealer, Self::Router];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pub => "pub",
            Self::Sub => "sub",
            Self::Push => "push",
            Self::Pull => "pull",
            Self::Req => "req",
            Self::Rep => "rep",
            Self::Dealer => "dealer",
            Self::Router => "router",
        }
    }

    /// The pattern whose Channels have sockets for it.
    const fn pattern(self) -> Pattern {
        match self {
            Self::Pub | Self::Sub => Pattern::PubSub,
            Self::Push | Self::Pull => Pattern::Pipeline,
            Self::Req | Self::Rep | Self::Dealer | Self::Router => Pattern::RequestReply,
        }
    }

    /// The app gives messages, or asks.
    const fn publishes(self) -> bool {
        matches!(self, Self::Pub | Self::Push | Self::Req | Self::Dealer)
    }

    /// What we are towards it.
    fn ours(self) -> SocketType {
        match self {
            Self::Pub => SocketType::Sub,
            Self::Sub => SocketType::Pub,
            Self::Push => SocketType::Pull,
            Self::Pull => SocketType::Push,
            // To REQ and DEALER we are many who answer, to REP and ROUTER many who ask.
            Self::Req | Self::Dealer => SocketType::Router,
            Self::Rep | Self::Router => SocketType::Dealer,
        }
    }

    /// The app's socket type, where ours may talk to others besides: a ROUTER that came to another ROUTER would wait
    /// for messages that never come. PUB and XPUB are the same to us, as are SUB and XSUB.
    const fn only(self) -> Option<SocketType> {
        match self {
            Self::Req => Some(SocketType::Req),
            Self::Rep => Some(SocketType::Rep),
            Self::Dealer => Some(SocketType::Dealer),
            Self::Router => Some(SocketType::Router),
            Self::Pub | Self::Sub | Self::Push | Self::Pull => None,
        }
    }
}

/// A Channel and a role.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct EndpointName {
    pub(super) channel: ChannelName,
    pub(super) role: Role,
}

impl fmt::Display for EndpointName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} for {} sockets", self.channel, self.role.as_str().to_uppercase())
    }
}

impl EndpointName {
    /// `NAME.ROLE` in the app's own namespace, `NAME.NAMESPACE.ROLE` in others.
    pub(super) fn file_name(&self, own_namespace: &str) -> String {
        let ChannelName { namespace, name } = &self.channel;
        let role = self.role.as_str();
        if **namespace == *own_namespace {
            format!("{name}.{role}")
        } else {
            format!("{name}.{namespace}.{role}")
        }
    }
}

/// The sockets that a view asks for. All roles of the pattern, whatever the app may do: one that may
/// not is told so when it connects, instead of waiting for a socket that never comes.
pub(super) fn wanted(view: &View) -> BTreeSet<EndpointName> {
    let all = view.channels.iter().flat_map(|(name, channel)| {
        let roles = Role::ALL.into_iter().filter(|role| role.pattern() == channel.pattern);
        roles.map(|role| EndpointName { channel: name.clone(), role })
    });
    all.collect()
}

/// What the connections of one endpoint share.
pub(super) struct Endpoint {
    name: EndpointName,
    doors: Doors,
    /// The last refusal that was logged: a refused ZeroMQ app tries again ten times a second.
    logged: Mutex<String>,
    unanswered: Mutex<Seldom>,
}

/// Lines of one kind in the log, at most one in [`LOG_PAUSE`].
#[derive(Default)]
struct Seldom {
    next: Option<Instant>,
    /// Since the last line.
    left_out: u64,
}

impl Seldom {
    /// How many were left out before this one, if this one is to be logged.
    fn turn(&mut self, now: Instant) -> Option<u64> {
        if self.next.is_some_and(|next| now < next) {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.next = now.checked_add(LOG_PAUSE);
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Endpoint {
    pub(super) fn new(name: EndpointName, doors: Doors) -> Self {
        Self { name, doors, logged: Mutex::new(String::new()), unanswered: Mutex::default() }
    }

    pub(super) fn name(&self) -> &EndpointName {
        &self.name
    }

    pub(super) fn channel(&self) -> &ChannelName {
        &self.name.channel
    }

    pub(super) fn doors(&self) -> &Doors {
        &self.doors
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.doors.tasks
    }

    /// Serves one connection to its end.
    pub(super) async fn serve<S: Stream>(&self, stream: S, ended: Shutdown) -> io::Result<()> {
        let role = self.name.role;
        let mut config = Config::new(role.ours());
        config.only = role.only();
        let refusal = match self.admit() {
            Ok(mut message_bytes_max) => {
                if role.pattern() == Pattern::RequestReply {
                    // The Channel's limit is for what is said, not for the envelope.
                    message_bytes_max = message_bytes_max.saturating_add(ENVELOPE_BYTES_MAX);
                }
                config.limits = Limits { message_bytes_max, ..Limits::default() };
                None
            }
            Err(reason) => Some(reason),
        };
        let now = clock::now().into_std();
        let session = match refusal {
            None => Session::new(config, now),
            Some(reason) => Session::refusing(config, reason, now),
        };
        let link = Link::new(stream, session);
        match role {
            Role::Pub | Role::Push => publisher::serve(link, self, ended).await,
            Role::Sub => subscriber::serve(link, self, ended).await,
            Role::Pull => worker::serve(link, self, ended).await,
            Role::Req | Role::Dealer => requester::serve(link, self, ended).await,
            Role::Rep | Role::Router => responder::serve(link, self, ended).await,
        }
    }

    /// The largest message, if an app may connect at all; else what it is told.
    pub(super) fn admit(&self) -> Result<usize, String> {
        let view = self.doors.view.borrow();
        let channel = self.channel();
        let Some(known) = view.channels.get(channel) else {
            return Err(format!("{channel} does not exist, or this app may not use it: see its spec.access"));
        };
        if !known.problem.is_empty() {
            return Err(format!("{channel}: {}", known.problem));
        }
        let role = self.name.role;
        if known.pattern != role.pattern() {
            let (kind, pattern) = (role.as_str().to_uppercase(), role.pattern());
            return Err(format!(
                "{channel}: {kind} sockets are for Channels of spec.pattern {pattern:?}, and this one is {:?}",
                known.pattern
            ));
        }
        let (may, verb) = if role.publishes() {
            (known.may_publish, "publish")
        } else {
            (known.may_subscribe, "subscribe")
        };
        if !may {
            return Err(format!(
                "{channel}: this app's service account may not {verb}; add it to spec.access.{verb} of the Channel"
            ));
        }
        Ok(known.max_message_bytes)
    }

    /// The largest message.
    pub(super) fn message_bytes_max(&self) -> usize {
        let view = self.doors.view.borrow();
        view.channels.get(self.channel()).map_or(0, |known| known.max_message_bytes)
    }

    /// Requests, and their bytes, that fit into the Channel's buffer.
    pub(super) fn requests_max(&self) -> (usize, usize) {
        let view = self.doors.view.borrow();
        view.channels.get(self.channel()).map_or((1, 1), |known| (known.buffer_messages, known.buffer_bytes))
    }

    /// Counts a session's own error and logs it once.
    pub(super) fn session_failed(&self, error: &SessionError) {
        match error {
            SessionError::Refused(reason) => self.refused("refused", reason),
            other => self.refused("protocol", &other.to_string()),
        }
    }

    /// Counts what delivery refused and logs it once.
    pub(super) fn problem(&self, problem: &Problem) {
        self.refused("refused", &problem.message);
    }

    /// Counts messages that an app's socket gave us and that were refused, or that it was to get and did not.
    pub(super) fn dropped(&self, reason: &'static str, messages: u64) {
        let [kind, namespace, name] = ObjectLabels::from(self.channel()).values();
        let labels = [kind, namespace, name, reason];
        self.doors.metrics.dropped.with_label_values(&labels).inc_by(messages);
    }

    /// Counts a request that gets no reply, and says so now and then: ZeroMQ has no word for it.
    pub(super) fn unanswered(&self, reason: &'static str, text: &str) {
        let [kind, namespace, name] = ObjectLabels::from(self.channel()).values();
        self.doors.metrics.unanswered.with_label_values(&[kind, namespace, name, reason]).inc();
        let turn = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).turn(clock::now());
        if let Some(left_out) = turn {
            tracing::warn!(endpoint = %self.name, reason = text, left_out, "a request of a ZeroMQ app gets no reply");
        }
    }

    /// Counts a refusal under a fixed word, and logs its text unless it was the last one logged.
    pub(super) fn refused(&self, reason: &'static str, text: &str) {
        self.doors.metrics.door_refusals.with_label_values(&["zmtp", reason]).inc();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if *logged != text {
            text.clone_into(&mut logged);
            tracing::warn!(endpoint = %self.name, reason = text, "a ZeroMQ app was refused");
        }
    }
}

/// The label value of a problem.
pub(super) const fn word(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::NotFound => "not_found",
        ProblemKind::PermissionDenied => "permission_denied",
        ProblemKind::NotSupported => "not_supported",
        ProblemKind::InvalidArgument => "invalid_argument",
        ProblemKind::Unavailable => "unavailable",
        ProblemKind::DeadlineExceeded => "deadline_exceeded",
        ProblemKind::ResourceExhausted => "resource_exhausted",
        ProblemKind::Internal => "internal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: of many lines one is logged in a while, and it says how many were left out.
    #[test]
    fn lines_are_left_out() {
        let (mut seldom, start) = (Seldom::default(), clock::now());
        assert_eq!(seldom.turn(start), Some(0));
        assert_eq!(seldom.turn(start), None);
        assert_eq!(seldom.turn(start + LOG_PAUSE / 2), None);
        assert_eq!(seldom.turn(start + LOG_PAUSE), Some(2));
        assert_eq!(seldom.turn(start + LOG_PAUSE * 3), Some(0));
    }
}
