//! Other sidecars: one TLS connection to each, dialled by who wants messages, with the identity of the other end
//! checked against the view on both sides.

mod accepted;
mod connect;
mod dial;
mod drive;
mod linger;
mod link;
mod listen;
mod pool;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub(crate) use accepted::Accepted;
pub(crate) use connect::Tls;
pub(crate) use listen::{ListenError, Listener};
pub(crate) use pool::run as run_pool;

/// The name of the protocol in the TLS handshake.
pub(crate) const ALPN: &[u8] = b"pinnace-peer";
