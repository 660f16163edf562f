//! Channels inside this sidecar: who publishes, who subscribes, and the bounded queues between them.
//! Sockets are not known here; connections take from queues and put into subscriptions.

mod audit;
mod buffer;
mod calls;
mod core;
mod dead_letters;
mod origin;
mod outlet;
mod prefixes;
mod presence;
mod queue;
mod record;
mod replay;
mod serve;
mod share;
mod spill;
mod subscriber;
mod waker;
mod work;
mod writer;

pub(crate) use buffer::Sink;
pub(crate) use calls::Asking;
pub(crate) use core::{ChannelUse, Core, Parts as CoreParts};
pub(crate) use presence::Presence;
pub(crate) use serve::{Asked, Served};
pub(crate) use subscriber::{Acks, At, Events, Subscriber, Took};
pub(crate) use waker::Waker;
