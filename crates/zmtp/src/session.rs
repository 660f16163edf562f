//! One connection: greeting, READY, then messages, subscriptions and heartbeats.
//!
//! The caller reads into [`Session::input`], tells [`Session::handle_input`] the time, drains
//! [`Session::poll_event`], writes what [`Session::output`] holds, and calls
//! [`Session::handle_timeout`] when [`Session::poll_timeout`] says so. After an error it writes
//! the rest of the output (the ERROR command, where the protocol has a place for one) and closes.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::{Command, Output, Property, SessionError, SocketType, Version, frame, greeting};

/// What a peer may make us keep. Each bound holds before anything is allocated.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of all frames of one message together.
    pub message_bytes_max: usize,
    /// Frames in one message.
    pub frames_max: usize,
    /// Bytes of one command, so also of one prefix.
    pub command_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes_max: 1 << 20, frames_max: 1024, command_bytes_max: 8 * 1024 }
    }
}

/// PINGs of our own.
#[derive(Debug, Clone, Copy)]
pub struct Heartbeat {
    /// Silence after which a PING goes out.
    pub interval: Duration,
    /// Silence after which the peer is taken for dead.
    pub timeout: Duration,
}

/// What this end of the connection is.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our socket type.
    pub socket_type: SocketType,
    /// Of the types that may talk to ours, the one that is taken; `None` = all of them. A ROUTER may talk to three
    /// types, which ask in different ways.
    pub only: Option<SocketType>,
    /// Sent as `Identity`; at most 255 bytes, usually empty.
    pub identity: Bytes,
    /// Bounds.
    pub limits: Limits,
    /// How long a peer may take until its READY is here.
    pub handshake_timeout: Duration,
    /// `None`: only answers PINGs.
    pub heartbeat: Option<Heartbeat>,
}

impl Config {
    /// Defaults: no identity, limits of [`Limits::default`], 30 s for the handshake (as libzmq), no own PINGs.
    #[must_use]
    pub fn new(socket_type: SocketType) -> Self {
        Self {
            socket_type,
            only: None,
            identity: Bytes::new(),
            limits: Limits::default(),
            handshake_timeout: Duration::from_secs(30),
            heartbeat: None,
        }
    }
}

/// Who is at the other end, once READY is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its socket type: one that ours may talk to.
    pub socket_type: SocketType,
    /// Its `Identity`, maybe empty.
    pub identity: Bytes,
    /// Its version.
    pub version: Version,
}

/// What came from the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done; messages may go out.
    Ready(Peer),
    /// A whole message: its frames in order, at least one. Slices of what was read.
    Message(Vec<Bytes>),
    /// The peer wants subjects with this prefix (either form: 3.1's command or 3.0's message).
    Subscribe(Bytes),
    /// The peer no longer wants them.
    Cancel(Bytes),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Greeting,
    Handshake,
    Traffic,
    Closed,
}

enum Step {
    Wait,
    Again,
    Event(Event),
}

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    config: Config,
    refusal: Option<String>,
    phase: Phase,
    version: Version,
    input: BytesMut,
    output: Output,
    frames: Vec<Bytes>,
    frames_bytes: usize,
    opened: Instant,
    last_input: Instant,
    last_ping: Instant,
    peer_ttl: Option<Duration>,
}

impl Session {
    /// A fresh connection; our greeting is in the output.
    #[must_use]
    pub fn new(config: Config, now: Instant) -> Self {
        let mut output = Output::default();
        output.raw(&greeting::encode());
        Self {
            config,
            refusal: None,
            phase: Phase::Greeting,
            version: Version { major: 3, minor: 0 },
            input: BytesMut::new(),
            output,
            frames: Vec::new(),
            frames_bytes: 0,
            opened: now,
            last_input: now,
            last_ping: now,
            peer_ttl: None,
        }
    }

    /// A connection that will be told `reason` in an ERROR command as soon as the peer has
    /// greeted, and then ends with [`SessionError::Refused`].
    #[must_use]
    pub fn refusing(config: Config, reason: String, now: Instant) -> Self {
        Self { refusal: Some(reason), ..Self::new(config, now) }
    }

    /// Where to read bytes from the peer into; the caller reserves as much as it wants to read.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Bytes to write to the peer.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Says that bytes came in; then drain [`Session::poll_event`].
    pub fn handle_input(&mut self, now: Instant) {
        self.last_input = now;
    }

    /// Changes the bound of messages that are not yet complete.
    pub fn set_message_bytes_max(&mut self, message_bytes_max: usize) {
        self.config.limits.message_bytes_max = message_bytes_max;
    }

    /// The next event, `None` when more input is needed.
    ///
    /// # Errors
    /// When the connection must end; the output then holds what the peer should still read.
    pub fn poll_event(&mut self) -> Result<Option<Event>, SessionError> {
        loop {
            let step = match self.phase {
                Phase::Closed => return Ok(None),
                Phase::Greeting => self.greeting(),
                Phase::Handshake | Phase::Traffic => self.frame(),
            };
            match step {
                Ok(Step::Wait) => return Ok(None),
                Ok(Step::Again) => {}
                Ok(Step::Event(event)) => return Ok(Some(event)),
                Err(error) => {
                    self.fail(&error);
                    return Err(error);
                }
            }
        }
    }

    /// When [`Session::handle_timeout`] is due; `None` = never.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Closed => None,
            Phase::Greeting | Phase::Handshake => self.opened.checked_add(self.config.handshake_timeout),
            Phase::Traffic => {
                let ping = self.config.heartbeat.and_then(|beat| self.last_ping.checked_add(beat.interval));
                let death = self.silence_max().and_then(|silence| self.last_input.checked_add(silence));
                ping.into_iter().chain(death).min()
            }
        }
    }

    /// Does what is due by `now`: a PING, or the end of a peer that is silent.
    ///
    /// # Errors
    /// When the handshake took too long or the peer is taken for dead.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        let result = self.timeout(now);
        if let Err(error) = &result {
            self.fail(error);
        }
        result
    }

    /// Queues a message of one or more frames. Only after [`Event::Ready`]; before, it is dropped.
    pub fn send_message<'a>(&mut self, frames: impl IntoIterator<Item = &'a Bytes>) {
        if self.phase != Phase::Traffic {
            return;
        }
        let mut frames = frames.into_iter().peekable();
        while let Some(frame) = frames.next() {
            self.output.frame(frames.peek().is_some(), false, frame);
        }
    }

    /// Queues a subscription in the form that the peer's version knows.
    pub fn send_subscribe(&mut self, prefix: &Bytes) {
        self.send_subscription(1, Command::Subscribe(prefix.clone()), prefix);
    }

    /// Queues the end of a subscription.
    pub fn send_cancel(&mut self, prefix: &Bytes) {
        self.send_subscription(0, Command::Cancel(prefix.clone()), prefix);
    }

    /// Ends the connection from this side with an ERROR command.
    pub fn refuse(&mut self, reason: &str) {
        self.fail(&SessionError::Refused(reason.to_owned()));
    }

    fn send_subscription(&mut self, first: u8, command: Command, prefix: &Bytes) {
        if self.phase != Phase::Traffic {
            return;
        }
        if self.version.has_subscribe_commands() {
            self.send_command(&command);
            return;
        }
        let mut body = BytesMut::with_capacity(prefix.len().saturating_add(1));
        body.extend_from_slice(&[first]);
        body.extend_from_slice(prefix);
        self.output.frame(false, false, &body.freeze());
    }

    fn send_command(&mut self, command: &Command) {
        self.output.frame(false, true, &command.encode());
    }

    /// Says ERROR where the protocol has a place for it, and ends.
    fn fail(&mut self, error: &SessionError) {
        let told = matches!(self.phase, Phase::Handshake | Phase::Traffic);
        // A peer that refused us, or is gone, needs no reason.
        let pointless = matches!(error, SessionError::Peer(_) | SessionError::HeartbeatTimeout(_));
        if told && !pointless {
            self.send_command(&Command::Error(Bytes::from(error.to_string())));
        }
        self.phase = Phase::Closed;
        self.input = BytesMut::new();
        self.frames = Vec::new();
    }

    fn greeting(&mut self) -> Result<Step, SessionError> {
        let Some(version) = greeting::decode(&self.input)? else {
            return Ok(Step::Wait);
        };
        drop(self.input.split_to(greeting::GREETING_BYTES));
        self.version = version;
        self.phase = Phase::Handshake;
        if let Some(reason) = self.refusal.take() {
            return Err(SessionError::Refused(reason));
        }
        let property =
            |name: &'static str, value: Bytes| Property { name: Bytes::from_static(name.as_bytes()), value };
        let socket_type = Bytes::from_static(self.config.socket_type.as_str().as_bytes());
        let mut properties = vec![property("Socket-Type", socket_type)];
        // rfc:23 gives an identity to the types that have a use for one; libzmq wants it there.
        if matches!(self.config.socket_type, SocketType::Req | SocketType::Dealer | SocketType::Router) {
            properties.push(property("Identity", self.config.identity.clone()));
        }
        self.send_command(&Command::Ready(properties));
        Ok(Step::Again)
    }

    fn frame(&mut self) -> Result<Step, SessionError> {
        let limits = self.config.limits;
        let room = limits.message_bytes_max.saturating_sub(self.frames_bytes);
        let frame = frame::decode(&mut self.input, room, limits.command_bytes_max);
        let Some(frame) = frame.map_err(|error| self.in_whole_messages(error))? else {
            return Ok(Step::Wait);
        };
        if frame.command {
            return self.command(Command::decode(frame.body)?);
        }
        if self.phase == Phase::Handshake {
            return Err(SessionError::TooEarly("a message"));
        }
        if self.frames.len() >= limits.frames_max {
            return Err(SessionError::TooManyFrames(limits.frames_max));
        }
        self.frames_bytes = self.frames_bytes.saturating_add(frame.body.len());
        if self.frames.is_empty() {
            // Most messages have one frame or two, and there are many of them.
            self.frames.reserve_exact(if frame.more { 2 } else { 1 });
        }
        self.frames.push(frame.body);
        if frame.more {
            return Ok(Step::Again);
        }
        self.frames_bytes = 0;
        let frames = std::mem::take(&mut self.frames);
        Ok(self.message(frames))
    }

    /// The limit is on the message, so the text must not name what was left of it for one frame.
    fn in_whole_messages(&self, error: SessionError) -> SessionError {
        let as_u64 = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        match error {
            SessionError::TooLarge { what: "message", size, .. } => SessionError::TooLarge {
                what: "message",
                size: size.saturating_add(as_u64(self.frames_bytes)),
                limit: as_u64(self.config.limits.message_bytes_max),
            },
            other => other,
        }
    }

    /// Towards a publisher, a message of one frame that opens with 0 or 1 is a subscription (3.0).
    fn message(&mut self, frames: Vec<Bytes>) -> Step {
        if let (true, [only]) = (self.config.socket_type.publishes(), &frames[..]) {
            match only.first() {
                Some(1) => return Step::Event(Event::Subscribe(only.slice(1..))),
                Some(0) => return Step::Event(Event::Cancel(only.slice(1..))),
                _ => {}
            }
        }
        Step::Event(Event::Message(frames))
    }

    fn command(&mut self, command: Command) -> Result<Step, SessionError> {
        match (self.phase, command) {
            (_, Command::Error(reason)) => Err(SessionError::Peer(reason.escape_ascii().to_string())),
            (Phase::Handshake, Command::Ready(properties)) => self.ready(&properties).map(Step::Event),
            (Phase::Handshake, _) => Err(SessionError::TooEarly("a command")),
            (_, Command::Ready(_)) => Err(SessionError::Malformed("second READY")),
            (_, Command::Subscribe(prefix)) if self.config.socket_type.publishes() => {
                Ok(Step::Event(Event::Subscribe(prefix)))
            }
            (_, Command::Cancel(prefix)) if self.config.socket_type.publishes() => {
                Ok(Step::Event(Event::Cancel(prefix)))
            }
            (_, Command::Ping { ttl_ms, context }) => {
                self.peer_ttl = (ttl_ms > 0).then(|| Duration::from_millis(u64::from(ttl_ms)));
                self.send_command(&Command::Pong(context));
                Ok(Step::Again)
            }
            (_, Command::Subscribe(_) | Command::Cancel(_) | Command::Pong(_) | Command::Unknown(_)) => {
                Ok(Step::Again)
            }
        }
    }

    fn ready(&mut self, properties: &[Property]) -> Result<Event, SessionError> {
        let find = |name: &[u8]| {
            properties.iter().find(|property| property.name.eq_ignore_ascii_case(name)).map(|p| &p.value)
        };
        let (ours, only) = (self.config.socket_type, self.config.only);
        let theirs = find(b"Socket-Type").ok_or(SessionError::NoSocketType)?;
        let socket_type = SocketType::parse(theirs)
            .filter(|theirs| ours.talks_to(*theirs) && only.is_none_or(|only| only == *theirs))
            .ok_or_else(|| SessionError::SocketType { ours, only, theirs: printable(theirs) })?;
        self.phase = Phase::Traffic;
        self.last_ping = self.last_input;
        let identity = find(b"Identity").map(|identity| Bytes::copy_from_slice(identity)).unwrap_or_default();
        Ok(Event::Ready(Peer { socket_type, identity, version: self.version }))
    }

    /// The shortest silence after which the peer counts as dead: our own rule or its own wish.
    fn silence_max(&self) -> Option<Duration> {
        let ours = self.config.heartbeat.map(|beat| beat.timeout);
        ours.into_iter().chain(self.peer_ttl).min()
    }

    fn timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        if matches!(self.phase, Phase::Greeting | Phase::Handshake) {
            let timeout = self.config.handshake_timeout;
            let late = now.saturating_duration_since(self.opened) >= timeout;
            return if late { Err(SessionError::HandshakeTimeout(timeout.as_millis())) } else { Ok(()) };
        }
        if self.phase == Phase::Closed {
            return Ok(());
        }
        let silence = now.saturating_duration_since(self.last_input);
        if self.silence_max().is_some_and(|silence_max| silence >= silence_max) {
            return Err(SessionError::HeartbeatTimeout(silence.as_millis()));
        }
        if let Some(beat) = self.config.heartbeat
            && now.saturating_duration_since(self.last_ping) >= beat.interval
        {
            self.last_ping = now;
            let ttl_ms = u32::try_from(beat.timeout.as_millis()).unwrap_or(u32::MAX);
            self.send_command(&Command::Ping { ttl_ms, context: Bytes::new() });
        }
        Ok(())
    }
}

/// A socket type as text that is safe in logs and short.
fn printable(name: &[u8]) -> String {
    const SHOWN_BYTES: usize = 32;
    name.get(..name.len().min(SHOWN_BYTES)).unwrap_or_default().escape_ascii().to_string()
}

#[cfg(test)]
mod tests;
