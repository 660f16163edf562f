//! ZeroMQ's wire protocol (ZMTP 3.0 and 3.1) as a state machine. Pure.
//!
//! A [`Session`] is one connection: bytes from the peer go into [`Session::input`], events come
//! out of [`Session::poll_event`], bytes for the peer come out of [`Session::output`]. It opens
//! no socket, starts no task and reads no clock: time is a parameter.
//!
//! With the NULL mechanism both ends of ZMTP do the same, so one type serves a door that apps
//! connect to and a tool that connects to a door. What a *pattern* means (whom to send to,
//! what to drop) is the caller's: this crate knows frames, messages, envelopes, subscriptions, heartbeats.
#![warn(missing_docs)]
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod command;
mod envelope;
mod error;
mod frame;
mod greeting;
mod output;
mod session;
mod socket_type;
mod subscriptions;

pub use command::{Command, Property};
pub use envelope::{ENVELOPE_BYTES_MAX, ENVELOPE_FRAMES_MAX, Envelope, EnvelopeTooLarge, Matched, Waiting};
pub use error::SessionError;
pub use frame::{Frame, encode_frame_header, frame_header_len};
pub use greeting::{GREETING_BYTES, Version};
pub use output::Output;
pub use session::{Config, Event, Heartbeat, Limits, Peer, Session};
pub use socket_type::SocketType;
pub use subscriptions::{Change, Subscriptions, SubscriptionsFull};
