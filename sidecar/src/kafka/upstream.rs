//! The way to a broker: mTLS under our own certificate, to a node or to any bootstrap address.

use crate::view::BrokerView;
use runtime::tls::{Credentials, Expect, ReadAhead, TlsError};
use rustls_pki_types::ServerName;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection to a broker.
pub(super) type Upstream = TlsStream<ReadAhead<TcpStream>>;

/// Why no broker was reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("Broker {broker} has no bootstrap address in the view; look at its status")]
    NoAddress { broker: String },
    #[error("address {address:?} of Broker {broker} is not of the form HOST:PORT")]
    Address { broker: String, address: String },
    #[error("cannot use our own certificate")]
    Credentials(#[from] TlsError),
    #[error("failed to reach Broker {broker} at {address}: {source}; look at its pods and status")]
    Unreachable { broker: String, address: String, source: io::Error },
}

/// Dials the addresses in turn, each with its share of the deadline.
pub(super) async fn dial(
    broker: &BrokerView,
    addresses: &[String],
    credentials: &Credentials,
    deadline: Duration,
) -> Result<Upstream, DialError> {
    let name = format!("{}/{}", broker.namespace, broker.name);
    let mut failure = DialError::NoAddress { broker: name.clone() };
    let share = deadline / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    for address in addresses {
        let result = match tokio::time::timeout(share, connect(broker, address, credentials)).await {
            Ok(result) => result?,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        match result {
            Ok(stream) => return Ok(stream),
            Err(source) => {
                let (broker, address) = (name.clone(), address.clone());
                failure = DialError::Unreachable { broker, address, source };
            }
        }
    }
    Err(failure)
}

/// The inner result is of the network, which another address may not share.
async fn connect(
    broker: &BrokerView,
    address: &str,
    credentials: &Credentials,
) -> Result<io::Result<Upstream>, DialError> {
    let wrong = || DialError::Address {
        broker: format!("{}/{}", broker.namespace, broker.name),
        address: address.to_owned(),
    };
    let (host, _port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.trim_matches(['[', ']']);
    let server_name = ServerName::try_from(host.to_owned()).map_err(|_| wrong())?;
    let names =
        if broker.server_names.is_empty() { vec![host.to_owned()] } else { broker.server_names.clone() };
    let config = credentials.client_config(Expect::Names(names), &[])?;
    let handshake = async {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(config).connect(server_name, ReadAhead::new(tcp)).await
    };
    Ok(handshake.await)
}
