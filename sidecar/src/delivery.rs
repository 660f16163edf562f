//! Channels inside this sidecar: who publishes, who subscribes, and the bounded queues between them.
//! Sockets are not known here; connections take from queues and put into subscriptions.

mod buffer;
mod core;
mod outlet;
mod prefixes;
mod queue;
mod serve;
mod subscriber;
mod waker;

pub(crate) use buffer::Sink;
pub(crate) use core::{ChannelUse, Core, Parts as CoreParts};
pub(crate) use serve::{Asked, Served};
pub(crate) use subscriber::Subscriber;
pub(crate) use waker::Waker;
