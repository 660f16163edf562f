//! The protocol between two sidecars as a state machine, specified in `docs/protocol/peer-wire.md`.
//!
//! Pure: no sockets, no clock, no tasks. The caller hands bytes and the time to [`Session::handle_input`],
//! [`Session::handle_timeout`], gives commands, and takes bytes, a deadline and events with the `poll_*` methods.
//! Time is a [`std::time::Duration`] since any fixed moment of the caller's choice.
#![warn(missing_docs)]
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod error;
mod frame;
pub mod limits;
mod locality;
mod message;
mod output;
mod read;
mod session;

pub use error::ProtocolError;
pub use frame::{
    Failure, FailureCode, Gap, GapReason, Goodbye, GoodbyeCode, Hello, Refusal, RefusalCode, Resume, Span,
    Subscribe,
};
pub use locality::{Distance, Locality};
pub use message::{Message, MessageProblem, Origin};
pub use session::{Credit, Event, Sequenced, Session, Settings};
