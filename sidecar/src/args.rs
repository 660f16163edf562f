//! All flags and environment variables of the sidecar.

use crate::app::{AppSocket, PushTarget, TcpDoor};
use crate::delivery::Presence;
use clap::Parser;
use peer_wire::{Locality, limits};
use runtime::telemetry::LogArgs;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The messaging sidecar of one pod.
#[derive(Debug, Clone, Parser)]
#[command(name = "pinnace-sidecar", version, about)]
pub struct Args {
    /// What this sidecar is called: NAMESPACE/POD, unique in the mesh.
    #[arg(long, env = "PINNACE_NAME")]
    pub name: String,
    /// The app's namespace: what a name without a namespace means.
    #[arg(long, env = "PINNACE_NAMESPACE")]
    pub namespace: String,
    /// The app's door for gRPC and HTTP. Loopback, since it asks nobody who they are.
    #[arg(long, env = "PINNACE_APP_LISTEN", default_value = "127.0.0.1:7400")]
    pub app_listen: SocketAddr,
    /// The same door as a Unix socket.
    #[arg(long, env = "PINNACE_APP_SOCKET")]
    pub app_socket: Option<PathBuf>,
    /// The door for Kafka clients. Loopback, since it asks nobody who they are.
    #[arg(long, env = "PINNACE_KAFKA_LISTEN", default_value = "127.0.0.1:9092")]
    pub kafka_listen: SocketAddr,
    /// The folder of the sockets for ZeroMQ clients.
    #[arg(long, env = "PINNACE_ZMQ_DIR")]
    pub zmq_dir: Option<PathBuf>,
    /// A TCP door for ZeroMQ clients besides: NAME.ROLE=tcp://127.0.0.1:PORT. May be given more than once.
    #[arg(long, env = "PINNACE_ZMQ_LISTEN", value_delimiter = ',')]
    pub zmq_listen: Vec<TcpDoor>,
    /// A ZeroMQ socket of the app that binds, to connect to: NAME.ROLE=tcp://127.0.0.1:PORT or
    /// NAME.ROLE=ipc:///PATH. ROLE is what the app's socket is. May be given more than once.
    #[arg(long, env = "PINNACE_ZMQ_CONNECT", value_delimiter = ',')]
    pub zmq_connect: Vec<AppSocket>,
    /// What to POST to the app, message by message: channels/NAME=http://127.0.0.1:PORT/PATH or
    /// topics/NAME=http://127.0.0.1:PORT/PATH#group=GROUP. May be given more than once.
    #[arg(long, env = "PINNACE_PUSH", value_delimiter = ',')]
    pub push: Vec<PushTarget>,
    /// Where other sidecars connect.
    #[arg(long, env = "PINNACE_PEER_LISTEN", default_value = "0.0.0.0:7401")]
    pub peer_listen: SocketAddr,
    /// Where other sidecars are told to connect: HOST or HOST:PORT. Without a port, or with port 0, the port of
    /// --peer-listen. Needed when that listens on all addresses.
    #[arg(long, env = "PINNACE_PEER_ADVERTISE")]
    pub peer_advertise: Option<String>,
    /// /metrics, /live and /ready.
    #[arg(long, env = "PINNACE_ADMIN_LISTEN", default_value = "0.0.0.0:7402")]
    pub admin_listen: SocketAddr,
    /// The control plane, HOST:PORT.
    #[arg(long, env = "PINNACE_CONTROL")]
    pub control: String,
    /// What the control plane's certificate names. Default: the host of --control.
    #[arg(long, env = "PINNACE_CONTROL_SERVER_NAME")]
    pub control_server_name: Option<String>,
    /// The roots to trust, as PEM.
    #[arg(long, env = "PINNACE_TRUST_BUNDLE", conflicts_with = "trust_bundle_file")]
    pub trust_bundle: Option<String>,
    /// The roots to trust, as a PEM file.
    #[arg(long, env = "PINNACE_TRUST_BUNDLE_FILE")]
    pub trust_bundle_file: Option<PathBuf>,
    /// The token that proves our service account.
    #[arg(long, env = "PINNACE_TOKEN_FILE")]
    pub token_file: PathBuf,
    /// Keeps the identity and the last view over a restart. Without it, a restart needs the control plane.
    #[arg(long, env = "PINNACE_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// The Broker behind the Kafka door: NAME or NAMESPACE/NAME. Default: `default` of the app's namespace.
    #[arg(long, env = "PINNACE_BROKER_REF", default_value = "")]
    pub broker_ref: String,
    /// The name of the node that the pod runs on. Work goes to the receivers of this node first, then to those of the zone.
    #[arg(long, env = "PINNACE_NODE", default_value = "")]
    pub node: String,
    /// The zone of that node.
    #[arg(long, env = "PINNACE_ZONE", default_value = "")]
    pub zone: String,
    /// The newest version of peer-wire to speak with other sidecars, to hold a mesh at an older one while it is upgraded.
    #[arg(long, env = "PINNACE_PEER_WIRE_VERSION_MAX", default_value_t = limits::VERSION, value_parser = clap::value_parser!(u16).range(i64::from(limits::VERSION_OLDEST)..=i64::from(limits::VERSION)))]
    pub peer_wire_version_max: u16,
    /// Gets the real addresses as JSON once all doors are open.
    #[arg(long, env = "PINNACE_READY_FILE")]
    pub ready_file: Option<PathBuf>,
    #[command(flatten)]
    pub log: LogArgs,
}

/// A flag that does not fit the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgsError {
    #[error("--name {0:?} is not of the form NAMESPACE/POD")]
    Name(String),
    #[error("--peer-listen {0} listens on all addresses, so --peer-advertise must say where peers connect")]
    Advertise(SocketAddr),
    #[error(
        "--node or --zone is too long: a node's name has at most {} bytes, a zone's at most {}",
        limits::NODE_NAME_BYTES_MAX,
        limits::ZONE_BYTES_MAX
    )]
    Locality,
    #[error("--control {0:?} is not of the form HOST:PORT")]
    Control(String),
    #[error("{flag} {address} is not a loopback address, and that door asks nobody who they are")]
    NotLoopback { flag: &'static str, address: SocketAddr },
    #[error(
        "--zmq-connect {0} is a door of this very sidecar, and what it gives would go in again without end; name the \
         address that the app's socket binds"
    )]
    OwnDoor(String),
}

impl Args {
    /// Checks what one flag alone cannot tell.
    ///
    /// # Errors
    /// Names the flag and what to write instead.
    pub fn check(&self) -> Result<(), ArgsError> {
        let whole = self.name.split_once('/').is_some_and(|(namespace, pod)| {
            !namespace.is_empty() && !pod.is_empty() && !pod.contains('/') && self.name.len() <= 512
        });
        if !whole {
            return Err(ArgsError::Name(self.name.clone()));
        }
        for (flag, address) in [("--app-listen", self.app_listen), ("--kafka-listen", self.kafka_listen)] {
            if !address.ip().is_loopback() {
                return Err(ArgsError::NotLoopback { flag, address });
            }
        }
        let is_own = |socket: &&AppSocket| {
            self.zmq_listen.iter().any(|door| socket.is_door(door))
                || self.zmq_dir.as_deref().is_some_and(|folder| socket.is_in(folder))
        };
        if let Some(own) = self.zmq_connect.iter().find(is_own) {
            return Err(ArgsError::OwnDoor(own.address.to_string()));
        }
        if !self.presence().locality.fits() {
            return Err(ArgsError::Locality);
        }
        self.server_name()?;
        self.advertised(self.peer_listen).map(drop)
    }

    /// What peers are told of this sidecar.
    pub(crate) fn presence(&self) -> Presence {
        let locality = Locality { node: self.node.clone(), zone: self.zone.clone() };
        Presence { locality, version_max: self.peer_wire_version_max }
    }

    /// What the control plane's certificate must name.
    ///
    /// # Errors
    /// When `--control` has no port.
    pub fn server_name(&self) -> Result<String, ArgsError> {
        let bad = || ArgsError::Control(self.control.clone());
        let (host, port) = self.control.rsplit_once(':').ok_or_else(bad)?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(bad());
        }
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(self.control_server_name.clone().unwrap_or_else(|| host.to_owned()))
    }

    /// Where peers connect, when we listen on `listening`.
    ///
    /// # Errors
    /// When nothing says which of all addresses it is.
    pub fn advertised(&self, listening: SocketAddr) -> Result<String, ArgsError> {
        let Some(given) = &self.peer_advertise else {
            if listening.ip().is_unspecified() {
                return Err(ArgsError::Advertise(listening));
            }
            return Ok(listening.to_string());
        };
        let (host, port) = split_host(given);
        let port = port.filter(|port| *port != 0).unwrap_or_else(|| listening.port());
        Ok(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
    }
}

/// `HOST`, `HOST:PORT`, `[IPV6]:PORT`, or an IPv6 address without brackets and port.
fn split_host(text: &str) -> (&str, Option<u16>) {
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return (text, None);
    }
    match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => {
            (host.trim_start_matches('[').trim_end_matches(']'), port.parse().ok())
        }
        _ => (text.trim_start_matches('[').trim_end_matches(']'), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(more: &[&str]) -> Args {
        let needed =
            ["sidecar", "--name=shop/a", "--namespace=shop", "--control=op.sys.svc:7410", "--token-file=t"];
        Args::parse_from(needed.iter().chain(more))
    }

    /// Goal: peers are told an address that they can reach, whatever the flags leave out.
    #[test]
    fn advertised_address() {
        let listening: SocketAddr = "0.0.0.0:4000".parse().unwrap();
        for (given, wanted) in [
            ("10.0.0.1", "10.0.0.1:4000"),
            ("10.0.0.1:0", "10.0.0.1:4000"),
            ("10.0.0.1:7401", "10.0.0.1:7401"),
            ("fd00::1", "[fd00::1]:4000"),
            ("[fd00::1]:7401", "[fd00::1]:7401"),
            ("pod.shop", "pod.shop:4000"),
        ] {
            let args = args(&[&format!("--peer-advertise={given}")]);
            assert_eq!(args.advertised(listening), Ok(wanted.to_owned()));
        }
        assert_eq!(args(&[]).advertised(listening), Err(ArgsError::Advertise(listening)));
        let own: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        assert_eq!(args(&[]).advertised(own), Ok("127.0.0.1:4000".to_owned()));
    }

    /// Goal: what cannot work is refused at the start, with the flag.
    #[test]
    fn bad_flags_are_refused() {
        let good = args(&["--peer-advertise=10.0.0.1"]);
        assert_eq!(good.check(), Ok(()));
        assert_eq!(good.server_name().as_deref(), Ok("op.sys.svc"));
        let bad = Args { name: "shop".into(), ..good.clone() };
        assert_eq!(bad.check(), Err(ArgsError::Name("shop".into())));
        let bad = Args { control: "operator".into(), ..good.clone() };
        assert_eq!(bad.check(), Err(ArgsError::Control("operator".into())));
        for (more, door) in [
            ("--zmq-connect=a.pub=tcp://127.0.0.1:5556", "tcp://127.0.0.1:5556"),
            ("--zmq-connect=a.pub=ipc:///run/zmq/b.sub", "ipc:///run/zmq/b.sub"),
        ] {
            let doors = ["--zmq-listen=a.sub=tcp://127.0.0.1:5556", "--zmq-dir=/run/zmq"];
            let bad = args(&[doors[0], doors[1], "--peer-advertise=10.0.0.1", more]);
            assert_eq!(bad.check(), Err(ArgsError::OwnDoor(door.into())));
        }
        let bad = Args { app_listen: "0.0.0.0:7400".parse().unwrap(), ..good };
        assert!(matches!(bad.check(), Err(ArgsError::NotLoopback { flag: "--app-listen", .. })));
    }
}
