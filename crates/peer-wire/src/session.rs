//! One connection between two sidecars. Both sides are alike: each may subscribe to what the other publishes.
//!
//! This file owns order and time: Hello first, heartbeats, goodbye. What a subscriber does is in
//! `session/incoming.rs`, what a publisher does in `session/outgoing.rs`.

mod event;
mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;
mod work;

pub use event::{Event, Sequenced};
pub use outgoing::Credit;

use crate::error::ProtocolError;
use crate::frame::{Frame, Goodbye, GoodbyeCode, Header, Hello, kind};
use crate::limits;
use crate::locality::Locality;
use crate::output::Output;
use bytes::{Buf as _, Bytes, BytesMut};
use incoming::Incoming;
use outgoing::Outgoing;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What one side of a session is set to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `NAMESPACE/POD` of this side.
    pub sidecar: String,
    /// Of this process; see [`Hello::epoch`].
    pub epoch: u64,
    /// Where this side runs; longer names than a Hello takes are left out.
    pub locality: Locality,
    /// The newest version to speak: [`limits::VERSION`], or an older one to be taken for an older sidecar.
    pub version_max: u16,
    /// A peer that was silent for this long is pinged.
    pub heartbeat: Duration,
    /// A peer that was silent for this long is given up. At least twice the heartbeat.
    pub silence_max: Duration,
    /// How long the receipt of messages may stay unconfirmed.
    pub confirm_delay: Duration,
}

impl Settings {
    fn version_newest(&self) -> u16 {
        self.version_max.clamp(limits::VERSION_OLDEST, limits::VERSION)
    }
}

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    output: Output,
    /// Bytes of frames other than Message that were appended since the output was last empty.
    control_bytes: usize,
    events: VecDeque<Event>,
    peer: Option<Hello>,
    /// What both sides speak; 0 before the peer's Hello.
    version: u16,
    /// What we subscribe to, by our own ids.
    incoming: BTreeMap<u32, Incoming>,
    /// What the peer subscribes to, by its ids.
    outgoing: BTreeMap<u32, Outgoing>,
    prefix_bytes: usize,
    /// The largest reply that may come, in bytes; 0 = none is expected.
    reply_bytes_max: usize,
    last_input: Duration,
    last_ping: Duration,
    pings: u64,
    confirm_due: Option<Duration>,
    closing: bool,
}

impl Session {
    /// A session on a fresh connection; its Hello is in the output already.
    #[must_use]
    pub fn new(settings: Settings, now: Duration) -> Self {
        let hello = Hello {
            version_oldest: limits::VERSION_OLDEST,
            version_newest: settings.version_newest(),
            epoch: settings.epoch,
            sidecar: settings.sidecar.clone(),
            locality: Some(&settings.locality).filter(|own| own.fits()).cloned().unwrap_or_default(),
        };
        let mut session = Self {
            settings,
            output: Output::default(),
            control_bytes: 0,
            events: VecDeque::new(),
            peer: None,
            version: 0,
            incoming: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            prefix_bytes: 0,
            reply_bytes_max: 0,
            last_input: now,
            last_ping: now,
            pings: 0,
            confirm_due: None,
            closing: false,
        };
        session.push_frame(0, &Frame::Hello(hello));
        session
    }

    /// The peer's Hello, once it came.
    #[must_use]
    pub const fn peer(&self) -> Option<&Hello> {
        self.peer.as_ref()
    }

    /// The version that both sides speak, once the peer's Hello came.
    #[must_use]
    pub fn version(&self) -> Option<u16> {
        self.peer.is_some().then_some(self.version)
    }

    /// Whether this side said goodbye: write what is left of the output, then close.
    #[must_use]
    pub const fn is_closing(&self) -> bool {
        self.closing
    }

    /// Takes all whole frames from the front of `input`; an incomplete one stays there for the next call.
    /// Payloads of the events share the memory of `input`. What stays is never longer than the frame that the
    /// limits allow at this point, so the caller's buffer is bounded.
    ///
    /// # Errors
    /// When the peer broke the protocol; see [`ProtocolError`]. The session is then closing.
    pub fn handle_input(&mut self, input: &mut BytesMut, now: Duration) -> Result<(), ProtocolError> {
        if self.closing {
            input.clear();
            return Ok(());
        }
        self.last_input = now;
        let outcome = self.take_frames(input, now);
        if let Err(error) = &outcome {
            self.goodbye(GoodbyeCode::ProtocolError, &error.to_string());
        }
        outcome
    }

    fn take_frames(&mut self, input: &mut BytesMut, now: Duration) -> Result<(), ProtocolError> {
        while let Some(header) = Header::peek(input) {
            self.check_length(header)?;
            let length = header.frame_bytes();
            if input.len() < length {
                break;
            }
            let mut frame = input.split_to(length).freeze();
            frame.advance(limits::HEADER_BYTES);
            if header.kind == kind::MESSAGE {
                self.handle_message(header, frame, (now, input.len()))?;
            } else if header.kind == kind::REPLY {
                self.handle_reply(header, frame)?;
            } else if let Some(frame) = Frame::decode(header, frame)? {
                self.handle_frame(header.id, frame)?;
            }
        }
        Ok(())
    }

    /// Refuses a length before anything is kept for it.
    fn check_length(&self, header: Header) -> Result<(), ProtocolError> {
        let (what, limit) = match (self.peer.is_some(), header.kind) {
            (false, kind::HELLO) => ("hello frame", limits::HELLO_BYTES_MAX),
            (false, _) => return Err(ProtocolError::Unexpected { what: "the first frame is not a hello" }),
            (true, kind::MESSAGE) => ("message frame", self.message_frame_bytes_max(header.id)?),
            (true, kind::REPLY) => ("reply frame", self.reply_frame_bytes_max()),
            (true, _) => ("frame", limits::CONTROL_BYTES_MAX),
        };
        let length = header.frame_bytes();
        if length < limits::HEADER_BYTES {
            return Err(ProtocolError::Truncated { what: "the header" });
        }
        crate::read::at_most(length, limit, what)
    }

    fn handle_frame(&mut self, id: u32, frame: Frame) -> Result<(), ProtocolError> {
        match frame {
            Frame::Hello(hello) => self.handle_hello(hello),
            Frame::Subscribe(subscribe) => self.handle_subscribe(id, subscribe),
            Frame::Unsubscribe => {
                self.handle_unsubscribe(id);
                self.check_output()
            }
            Frame::Prefixes(prefixes) => self.handle_prefixes(id, prefixes),
            Frame::Credit { messages, bytes, received } => {
                self.handle_credit(id, Credit { messages, bytes }, received)
            }
            Frame::Subscribed { received } => self.handle_subscribed(id, received),
            Frame::Unsubscribed => {
                self.handle_unsubscribed(id);
                Ok(())
            }
            Frame::Gap(gap) => self.handle_gap(id, gap),
            Frame::NumberedGap { number, gap } => self.handle_numbered_gap(id, number, gap),
            Frame::Ack(spans) => self.handle_ack(id, spans, None),
            Frame::Nack { delay_ms, spans } => self.handle_ack(id, spans, Some(delay_ms)),
            Frame::Refuse(refusal) => {
                self.handle_refuse(id, refusal);
                Ok(())
            }
            Frame::Ping(token) => {
                self.push_frame(0, &Frame::Pong(token));
                self.check_output()
            }
            // That something came is all that counts.
            Frame::Pong(_) => Ok(()),
            Frame::Goodbye(goodbye) => {
                self.events.push_back(Event::Goodbye(goodbye));
                Ok(())
            }
        }
    }

    fn handle_hello(&mut self, hello: Hello) -> Result<(), ProtocolError> {
        if self.peer.is_some() {
            return Err(ProtocolError::Unexpected { what: "a second hello" });
        }
        let (oldest, newest) = (hello.version_oldest, hello.version_newest);
        let (own_oldest, own_newest) = (limits::VERSION_OLDEST, self.settings.version_newest());
        if oldest > own_newest || newest < own_oldest || oldest > newest {
            return Err(ProtocolError::NoCommonVersion { oldest, newest, own_oldest, own_newest });
        }
        self.version = newest.min(own_newest);
        self.events.push_back(Event::Established(hello.clone()));
        self.peer = Some(hello);
        Ok(())
    }

    /// Lets time act: heartbeats and late confirmations.
    ///
    /// # Errors
    /// [`ProtocolError::Silent`] when the peer was silent for too long: close without a goodbye.
    pub fn handle_timeout(&mut self, now: Duration) -> Result<(), ProtocolError> {
        let silent = now.saturating_sub(self.last_input);
        if silent >= self.settings.silence_max {
            self.closing = true;
            return Err(ProtocolError::Silent(silent));
        }
        if self.confirm_due.is_some_and(|due| due <= now) {
            self.confirm_all();
        }
        if !self.closing && self.ping_due() <= now {
            self.last_ping = now;
            self.pings = self.pings.wrapping_add(1);
            self.push_frame(0, &Frame::Ping(self.pings));
        }
        Ok(())
    }

    fn ping_due(&self) -> Duration {
        self.last_input.max(self.last_ping).saturating_add(self.settings.heartbeat)
    }

    /// When [`Self::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Duration {
        let silence = self.last_input.saturating_add(self.settings.silence_max);
        let next = self.ping_due().min(silence);
        self.confirm_due.map_or(next, |due| due.min(next))
    }

    /// The next bytes to write, in order. Many frames share one chunk.
    pub fn poll_output(&mut self) -> Option<Bytes> {
        let chunk = self.output.pop();
        if chunk.is_none() {
            self.control_bytes = 0;
        }
        chunk
    }

    /// Bytes that wait in the output. Stop sending messages above a limit of your choice.
    #[must_use]
    pub const fn output_bytes(&self) -> usize {
        self.output.len()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Ends this side: the goodbye is the last frame, later commands do nothing, later input is dropped.
    pub fn goodbye(&mut self, code: GoodbyeCode, text: &str) {
        if !self.closing {
            if matches!(code, GoodbyeCode::Draining | GoodbyeCode::Unneeded) {
                self.confirm_all();
            }
            self.push_frame(0, &Frame::Goodbye(Goodbye { code, text: text.to_owned() }));
            self.closing = true;
        }
    }

    fn push_frame(&mut self, id: u32, frame: &Frame) {
        if self.closing {
            return;
        }
        let before = self.output.len();
        frame.encode(id, &mut self.output);
        let added = self.output.len().saturating_sub(before);
        self.control_bytes = self.control_bytes.saturating_add(added);
    }

    /// A peer that makes us answer and never reads must not make us keep answers without end.
    const fn check_output(&self) -> Result<(), ProtocolError> {
        if self.control_bytes > limits::OUTPUT_CONTROL_BYTES_MAX {
            return Err(ProtocolError::OutputFull);
        }
        Ok(())
    }
}
