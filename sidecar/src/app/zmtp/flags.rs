//! The texts of `--zmq-listen` and `--zmq-connect`: `NAME[.NAMESPACE].ROLE=ADDRESS`. Pure.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::endpoint::{EndpointName, Role};
use crate::messaging::ChannelName;

/// What a path of a Unix socket may have, in bytes.
const PATH_BYTES_MAX: usize = 107;
const LISTEN_FORM: &str = "NAME.pub=tcp://127.0.0.1:PORT or NAME.sub=tcp://127.0.0.1:PORT, or .push, .pull, .req, .rep, .dealer, .router";
const CONNECT_FORM: &str = "NAME.pub=tcp://127.0.0.1:PORT or NAME.pub=ipc:///PATH, or .sub, .push, .pull, .req, .rep, .dealer, .router for such \
     a socket";

/// A text that is no door and no socket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: {reason}; write {form}, with .NAMESPACE after NAME for another namespace")]
pub struct ZmqFlagError {
    text: String,
    reason: &'static str,
    form: &'static str,
}

/// A ZMTP door on TCP, on loopback only, since the socket asks nobody who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpDoor {
    target: Target,
    /// Port 0 = a free one.
    pub address: SocketAddr,
}

/// A socket of the app that binds. The role is the app's: to a PUB socket we are a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSocket {
    target: Target,
    pub address: AppAddress,
}

/// Where an app's socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppAddress {
    /// On loopback, with a port.
    Tcp(SocketAddr),
    /// An absolute path.
    Ipc(PathBuf),
}

impl fmt::Display for AppAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "tcp://{address}"),
            Self::Ipc(path) => write!(formatter, "ipc://{}", path.display()),
        }
    }
}

/// The Channel and the role before the `=`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    name: String,
    namespace: Option<String>,
    role: Role,
}

impl Target {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (name, role) = text.rsplit_once('.').ok_or("there is no role")?;
        let role = Role::ALL.into_iter().find(|known| known.as_str() == role);
        let role = role.ok_or("the role is none of pub, sub, push, pull, req, rep, dealer and router")?;
        let (name, namespace) = match name.split_once('.') {
            Some((name, namespace)) => (name, Some(namespace.to_owned())),
            None => (name, None),
        };
        if name.is_empty() {
            return Err("the name is empty");
        }
        Ok(Self { name: name.to_owned(), namespace, role })
    }

    fn endpoint(&self, own_namespace: &str) -> EndpointName {
        let namespace = self.namespace.as_deref().unwrap_or(own_namespace);
        let channel = ChannelName { namespace: namespace.into(), name: self.name.as_str().into() };
        EndpointName { channel, role: self.role }
    }
}

fn loopback(address: &str) -> Result<SocketAddr, &'static str> {
    let address: SocketAddr = address.parse().map_err(|_| "the address is no IP address with port")?;
    if !address.ip().is_loopback() {
        return Err("the address is not a loopback address, and a ZeroMQ socket asks nobody who they are");
    }
    Ok(address)
}

impl FromStr for TcpDoor {
    type Err = ZmqFlagError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || -> Result<Self, &'static str> {
            let (target, address) = text.split_once('=').ok_or("there is no =")?;
            let address = address.strip_prefix("tcp://").ok_or("the address is not tcp://")?;
            let address = loopback(address)?;
            Ok(Self { target: Target::parse(target)?, address })
        };
        read().map_err(|reason| ZmqFlagError { text: text.to_owned(), reason, form: LISTEN_FORM })
    }
}

impl TcpDoor {
    pub(super) fn endpoint(&self, own_namespace: &str) -> EndpointName {
        self.target.endpoint(own_namespace)
    }
}

impl FromStr for AppAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("ipc://") {
            if !path.starts_with('/') {
                return Err("the path after ipc:// is not absolute");
            }
            if path.len() > PATH_BYTES_MAX {
                return Err("the path of a Unix socket has at most 107 bytes");
            }
            return Ok(Self::Ipc(path.into()));
        }
        let address = text.strip_prefix("tcp://").ok_or("the address is neither tcp:// nor ipc://")?;
        let address = loopback(address)?;
        if address.port() == 0 {
            return Err("port 0 is no port to connect to");
        }
        Ok(Self::Tcp(address))
    }
}

impl FromStr for AppSocket {
    type Err = ZmqFlagError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || -> Result<Self, &'static str> {
            let (target, address) = text.split_once('=').ok_or("there is no =")?;
            Ok(Self { address: address.parse()?, target: Target::parse(target)? })
        };
        read().map_err(|reason| ZmqFlagError { text: text.to_owned(), reason, form: CONNECT_FORM })
    }
}

impl AppSocket {
    pub(super) fn endpoint(&self, own_namespace: &str) -> EndpointName {
        self.target.endpoint(own_namespace)
    }

    /// Whether connecting there would reach a door of our own: what came out would go in again, without end.
    #[must_use]
    pub fn is_door(&self, door: &TcpDoor) -> bool {
        matches!(&self.address, AppAddress::Tcp(address) if *address == door.address)
    }

    /// The same for the folder of our sockets.
    #[must_use]
    pub fn is_in(&self, folder: &Path) -> bool {
        matches!(&self.address, AppAddress::Ipc(path) if path.parent() == Some(folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: `--zmq-listen` is read, or refused with what to write.
    #[test]
    fn tcp_doors_are_read() {
        let door: TcpDoor = "prices.sub=tcp://127.0.0.1:5556".parse().unwrap();
        assert_eq!(door.address, "127.0.0.1:5556".parse().unwrap());
        let name = door.endpoint("shop");
        assert_eq!((&*name.channel.namespace, &*name.channel.name), ("shop", "prices"));
        assert_eq!(name.file_name("shop"), "prices.sub");
        let other: TcpDoor = "ticks.infra.pub=tcp://[::1]:0".parse().unwrap();
        assert_eq!(other.endpoint("shop").file_name("shop"), "ticks.infra.pub");
        for text in [
            "prices.sub",
            "prices.sub=127.0.0.1:1",
            "prices.sub=tcp://localhost:1",
            "prices.sub=tcp://0.0.0.0:5556",
            "prices=tcp://127.0.0.1:1",
            "prices.pair=tcp://127.0.0.1:1",
            ".sub=tcp://127.0.0.1:1",
        ] {
            let error = text.parse::<TcpDoor>().unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("NAME.sub=tcp://"), "{error}");
        }
    }

    /// Goal: `--zmq-connect` is read over TCP and ipc, or refused with what to write; it never leaves loopback.
    #[test]
    fn app_sockets_are_read() {
        let socket: AppSocket = "prices.pub=tcp://127.0.0.1:5557".parse().unwrap();
        assert_eq!(socket.address.to_string(), "tcp://127.0.0.1:5557");
        assert_eq!(socket.endpoint("shop").file_name("shop"), "prices.pub");
        let ipc: AppSocket = "ticks.infra.sub=ipc:///run/pinnace/app.sock".parse().unwrap();
        assert_eq!(ipc.address, AppAddress::Ipc("/run/pinnace/app.sock".into()));
        assert_eq!(ipc.endpoint("shop").file_name("shop"), "ticks.infra.sub");
        let long = format!("prices.pub=ipc:///{}", "x".repeat(107));
        for text in [
            "prices.pub",
            "prices.pub=tcp://*:5557",
            "prices.pub=tcp://10.0.0.1:5557",
            "prices.pub=tcp://127.0.0.1:0",
            "prices.pub=tcp://127.0.0.1",
            "prices.pub=ipc://@abstract",
            "prices.pub=ipc://relative/path",
            "prices.pub=inproc://here",
            "prices.pair=tcp://127.0.0.1:1",
            &long,
        ] {
            let error = text.parse::<AppSocket>().unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("NAME.pub=tcp://"), "{error}");
        }
    }

    /// Goal: a door of ours is recognised as one.
    #[test]
    fn own_doors_are_recognised() {
        let door: TcpDoor = "prices.sub=tcp://127.0.0.1:5556".parse().unwrap();
        let loops: AppSocket = "prices.pub=tcp://127.0.0.1:5556".parse().unwrap();
        let other: AppSocket = "prices.pub=tcp://127.0.0.1:5557".parse().unwrap();
        assert!(loops.is_door(&door) && !other.is_door(&door));
        let inside: AppSocket = "prices.pub=ipc:///run/zmq/prices.sub".parse().unwrap();
        assert!(inside.is_in(Path::new("/run/zmq")) && !inside.is_in(Path::new("/run")));
        assert!(!other.is_in(Path::new("/run/zmq")));
    }
}
