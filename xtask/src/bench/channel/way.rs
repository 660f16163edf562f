//! The ways that a message can take from app to app, and what an app on such a way is told. Starts nothing.

use std::path::Path;

use anyhow::Result;

use super::peers::Addresses;
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
    /// gRPC at both ends, two relays of gRPC between.
    Relays,
    /// libzmq at both ends, the sidecars between.
    Sidecars,
    /// ZMTP written a batch at a time, the sidecars between.
    Batching,
    /// gRPC at both ends, the sidecars between.
    Grpc,
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
            Self::Relays => "tonic_relays",
            Self::Sidecars => "libzmq_over_sidecars",
            Self::Batching => "batching_over_sidecars",
            Self::Grpc => "grpc_over_sidecars",
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
            Self::Relays | Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }

    /// What stands between the apps, as a figure calls it.
    pub(super) const fn between(self) -> Option<&'static str> {
        match self {
            Self::Tcp | Self::Unix | Self::Libzmq => None,
            Self::Nats => Some("server"),
            Self::Relays => Some("relays"),
            Self::Sidecars | Self::Batching | Self::Grpc | Self::Http => Some("sidecars"),
        }
    }

    pub(super) const fn has_sidecars(self) -> bool {
        matches!(self, Self::Sidecars | Self::Batching | Self::Grpc | Self::Http)
    }

    /// How many times fewer messages it is given than the fastest ones, to take a like time.
    pub(super) const fn slowness(self) -> u32 {
        match self {
            Self::Relays | Self::Grpc => 3,
            Self::Http => 50,
            _ => 1,
        }
    }

    /// A place for messages of this name, which both ends are told: see [`Way::place`].
    pub(super) fn meet(self, name: &str, folder: &Path, addresses: &Addresses) -> Result<String> {
        Ok(match self {
            Self::Tcp | Self::Libzmq => free_endpoint()?,
            Self::Unix => format!("ipc://{}", folder.join(name).display()),
            Self::Nats => format!("nats:{}/{name}", addresses.nats),
            Self::Relays => format!("relay:{},{}/{name}", addresses.relays[0], addresses.relays[1]),
            Self::Sidecars | Self::Batching | Self::Grpc | Self::Http => format!("sidecar:{name}"),
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

    /// Goal: two apps without anything between agree on an end each; where something stands between, both open the
    /// same.
    #[test]
    fn both_ends_meet() {
        let address = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let addresses = Addresses { nats: address(4222), relays: [address(1), address(2)] };
        let meet = |way: Way| way.meet("ping", Path::new("/tmp/x"), &addresses).unwrap();
        let meeting = meet(Way::Unix);
        assert_eq!(Way::Unix.place(&meeting, End::Binds), "bind:ipc:///tmp/x/ping");
        assert_eq!(Way::Unix.place(&meeting, End::Connects), "connect:ipc:///tmp/x/ping");
        for (way, place) in [
            (Way::Nats, "nats:127.0.0.1:4222/ping"),
            (Way::Relays, "relay:127.0.0.1:1,127.0.0.1:2/ping"),
            (Way::Batching, "sidecar:ping"),
        ] {
            let meeting = meet(way);
            assert_eq!(way.place(&meeting, End::Binds), place);
            assert_eq!(way.place(&meeting, End::Connects), place);
        }
    }
}
