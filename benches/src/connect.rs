//! The way in: the Unix socket of a sidecar, or a relay's address.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hyper_util::rt::TokioIo;
use proto::messaging::messaging_client::MessagingClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::args::{Options, Role};

/// As large as the sidecar's own, so that they are not what is measured.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) type Client = MessagingClient<Channel>;

/// Opens `place`, `sidecar:CHANNEL` or `relay:FIRST,SECOND/CHANNEL`; gives a client and the name to use there. Who
/// publishes or asks is at the first relay, who subscribes or answers at the second.
pub(crate) async fn open(options: &Options, place: &str) -> Result<(Client, String)> {
    let (kind, rest) = place.split_once(':').with_context(|| format!("{place} is no place"))?;
    match kind {
        "sidecar" => {
            let path = options.socket.clone().context("there is no sidecar")?;
            let connector = tower::service_fn(move |_: tonic::codegen::http::Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            });
            let endpoint = with_windows(Endpoint::from_static("http://sidecar"));
            let channel = endpoint.connect_with_connector(connector).await?;
            Ok((client(channel), format!("channels/{rest}")))
        }
        "relay" => {
            let (addresses, name) = rest.split_once('/').with_context(|| format!("{place} names nothing"))?;
            let (first, second) = addresses.split_once(',').context("there are two relays")?;
            let address = if matches!(options.role, Role::Publish | Role::Ping) { first } else { second };
            Ok((dial(address).await?, name.to_owned()))
        }
        _ => bail!("{place} is no place"),
    }
}

/// Connects to a relay that may be about to listen.
pub(crate) async fn dial(address: &str) -> Result<Client> {
    let endpoint = with_windows(Endpoint::from_shared(format!("http://{address}"))?).tcp_nodelay(true);
    let dialling = async {
        loop {
            match endpoint.connect().await {
                Ok(channel) => return client(channel),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, dialling).await.with_context(|| format!("nobody listens on {address}"))
}

fn with_windows(endpoint: Endpoint) -> Endpoint {
    endpoint
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

fn client(channel: Channel) -> Client {
    MessagingClient::new(channel).max_decoding_message_size(usize::MAX)
}
