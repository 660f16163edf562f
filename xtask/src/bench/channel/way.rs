//! The ways that a message can take from app to app, and what an app on such a way is told. Starts nothing.

use anyhow::Result;

use crate::process::free_endpoint;

/// A client, and what stands between it and its like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// One TCP connection: what the kernel takes.
    Tcp,
    /// One Unix socket.
    Unix,
    /// libzmq to libzmq over TCP: the peer without anything between.
    Libzmq,
    /// A batching client at both ends, nats-server between.
    Nats,
    /// libzmq at both ends, the sidecars between.
    Sidecars,
    /// ZMTP written a batch at a time, the sidecars between.
    Batching,
    /// JSON and POST at both ends, the sidecars between.
    Http,
}

/// Which end of a place an app has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Binds,
    Connects,
}

impl Way {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Unix => "unix",
            Self::Libzmq => "libzmq",
            Self::Nats => "nats",
            Self::Sidecars => "libzmq_over_sidecars",
            Self::Batching => "batching_over_sidecars",
            Self::Http => "http_over_sidecars",
        }
    }

    /// What the load generator calls the client.
    pub(super) const fn client(self) -> &'static str {
        match self {
            Self::Tcp | Self::Unix => "floor",
            Self::Libzmq | Self::Sidecars => "libzmq",
            Self::Nats => "nats",
            Self::Batching => "zmtp",
            Self::Http => "http",
        }
    }

    /// What stands between the apps, as a figure calls it.
    pub(super) const fn between(self) -> Option<&'static str> {
        match self {
            Self::Tcp | Self::Unix | Self::Libzmq => None,
            Self::Nats => Some("server"),
            Self::Sidecars | Self::Batching | Self::Http => Some("sidecars"),
        }
    }

    pub(super) const fn has_sidecars(self) -> bool {
        matches!(self, Self::Sidecars | Self::Batching | Self::Http)
    }

    /// How many times fewer messages it is given than the fastest ones, to take a like time.
    pub(super) const fn slowness(self) -> u32 {
        match self {
            Self::Http => 50,
            _ => 1,
        }
    }

    /// A place for messages of this name, which both ends are told: see [`Way::place`].
    pub(super) fn meet(self, name: &str, (folder, nats): (&std::path::Path, &str)) -> Result<String> {
        Ok(match self {
            Self::Tcp | Self::Libzmq => free_endpoint()?,
            Self::Unix => format!("ipc://{}", folder.join(name).display()),
            Self::Nats => format!("nats:{nats}/{name}"),
            Self::Sidecars | Self::Batching | Self::Http => format!("sidecar:{name}"),
        })
    }

    /// How one end opens it.
    pub(super) fn place(self, meeting: &str, end: End) -> String {
        match (self, end) {
            (Self::Tcp | Self::Unix | Self::Libzmq, End::Binds) => format!("bind:{meeting}"),
            (Self::Tcp | Self::Unix | Self::Libzmq, End::Connects) => format!("connect:{meeting}"),
            _ => meeting.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Goal: two apps without anything between agree on an end each; where something stands between, both open the
    /// same.
    #[test]
    fn both_ends_meet() {
        let at = (Path::new("/tmp/x"), "127.0.0.1:4222");
        let meeting = Way::Unix.meet("ping", at).unwrap();
        assert_eq!(Way::Unix.place(&meeting, End::Binds), "bind:ipc:///tmp/x/ping");
        assert_eq!(Way::Unix.place(&meeting, End::Connects), "connect:ipc:///tmp/x/ping");
        for (way, place) in [(Way::Nats, "nats:127.0.0.1:4222/ping"), (Way::Batching, "sidecar:ping")] {
            let meeting = way.meet("ping", at).unwrap();
            assert_eq!(way.place(&meeting, End::Binds), place);
            assert_eq!(way.place(&meeting, End::Connects), place);
        }
    }
}
