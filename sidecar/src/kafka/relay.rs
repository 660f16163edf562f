//! One client connection and its broker connection: bytes both ways, in chunks, whole frames never.
//!
//! Held back are only the answers that `rewrite` looks into, each under a limit.

use super::flight::Flight;
use super::nodes::NodesError;
use super::rewrite::{self, Answer, Expected, Node};
use super::scan::{self, AnswerStart};
use bytes::{Buf as _, Bytes, BytesMut};
use kafka_wire::frame::{FrameError, LENGTH_BYTES};
use kafka_wire::{DecodeError, EncodeError};
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes of an answer that may be held back: Metadata about 200 000 partitions is below it.
const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Room made before a read.
const READ_BYTES: usize = 16 * 1024;
/// Room made before a read inside a large frame.
const READ_BYTES_MAX: usize = 128 * 1024;

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum RelayError {
    #[error("connection of the app broke: {0}")]
    Client(io::Error),
    #[error("connection to the broker broke: {0}")]
    Broker(io::Error),
    #[error("the app does not speak Kafka's protocol: {0}")]
    Request(FrameError),
    #[error("the app asks for API {api_key} in version {version}, which this door did not offer")]
    NotOffered { api_key: i16, version: i16 },
    #[error("the broker's stream cannot be followed: {0}")]
    Answer(FrameError),
    #[error("the broker answers request {found}, expected is {expected:?}")]
    Order { found: i32, expected: Option<i32> },
    #[error("the broker's answer of {0} bytes is too large to be looked into")]
    Held(usize),
    #[error("the broker's answer cannot be read: {0}")]
    Decode(#[from] DecodeError),
    #[error("the changed answer cannot be written: {0}")]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Nodes(#[from] NodesError),
}

/// Gives nodes ports of ours, and says how clients see them.
pub(super) trait Addresses: Sync {
    /// Takes in the nodes that an answer names.
    fn learn(&self, nodes: &[Node], all: bool) -> impl Future<Output = Result<(), NodesError>> + Send;
    /// The host that clients reach the door by.
    fn host(&self) -> &str;
    /// The port that stands for a node.
    fn port(&self, node: i32) -> Option<u16>;
}

/// Carries requests and answers until one side ends or `stop` says so; answers on their way get `drain`.
pub(super) async fn relay(
    client: impl AsyncRead + AsyncWrite + Unpin,
    broker: impl AsyncRead + AsyncWrite + Unpin,
    addresses: &impl Addresses,
    stop: impl Future<Output = ()>,
    drain: Duration,
) -> Result<(), RelayError> {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_broker, mut to_broker) = tokio::io::split(broker);
    let flight = Flight::default();
    let requests = async {
        tokio::select! {
            ended = pump_requests(&mut from_client, &mut to_broker, &flight) => ended?,
            () = stop => {}
        }
        // The client has said all it wants to say, or we are closing: what was asked is still answered.
        if tokio::time::timeout(drain, flight.landed()).await.is_err() {
            tracing::debug!("answers were on their way when the Kafka door closed a connection");
        }
        Ok(())
    };
    let result = tokio::select! {
        ended = requests => ended,
        ended = pump_answers(&mut from_broker, &mut to_client, &flight, addresses) => ended,
    };
    // Both sides are told; either may be gone already.
    drop(tokio::join!(to_broker.shutdown(), to_client.shutdown()));
    result
}

async fn pump_requests(
    client: &mut (impl AsyncRead + Unpin),
    broker: &mut (impl AsyncWrite + Unpin),
    flight: &Flight,
) -> Result<(), RelayError> {
    let mut buffer = BytesMut::new();
    // Bytes of a frame that has begun and may pass without another look.
    let mut owed = 0;
    loop {
        let mut cleared = owed;
        while cleared < buffer.len() && flight.has_room() {
            let rest = buffer.get(cleared..).unwrap_or_default();
            let Some(start) = scan::request_start(rest).map_err(RelayError::Request)? else { break };
            let (api_key, version) = (start.api_key, start.version);
            if !rewrite::may_pass(api_key, version) {
                return Err(RelayError::NotOffered { api_key, version });
            }
            if start.answered {
                flight.sent(Expected { api_key, version, correlation_id: start.correlation_id });
            }
            cleared += start.frame_bytes;
        }
        owed = pass(&mut buffer, cleared, broker).await.map_err(RelayError::Broker)?;
        if !flight.has_room() {
            flight.room().await;
            continue;
        }
        buffer.reserve(read_bytes(owed));
        if client.read_buf(&mut buffer).await.map_err(RelayError::Client)? == 0 {
            return Ok(());
        }
    }
}

async fn pump_answers(
    broker: &mut (impl AsyncRead + Unpin),
    client: &mut (impl AsyncWrite + Unpin),
    flight: &Flight,
    addresses: &impl Addresses,
) -> Result<(), RelayError> {
    let mut buffer = BytesMut::new();
    let mut owed = 0;
    loop {
        let mut cleared = owed;
        let mut held = None;
        while cleared < buffer.len() && held.is_none() {
            let rest = buffer.get(cleared..).unwrap_or_default();
            let Some(start) = scan::answer_start(rest).map_err(RelayError::Answer)? else { break };
            let expected = next_expected(flight, start)?;
            if rewrite::is_rewritten(&expected) {
                held = Some((expected, start));
            } else {
                cleared += start.frame_bytes;
            }
        }
        owed = pass(&mut buffer, cleared, client).await.map_err(RelayError::Client)?;
        if let Some((expected, start)) = held {
            let frame = hold(broker, &mut buffer, start.frame_bytes).await?;
            let changed = change(&expected, frame, addresses).await?;
            for chunk in changed {
                client.write_all(&chunk).await.map_err(RelayError::Client)?;
            }
            flight.written();
            continue;
        }
        if owed == 0 {
            flight.written();
        }
        buffer.reserve(read_bytes(owed));
        if broker.read_buf(&mut buffer).await.map_err(RelayError::Broker)? == 0 {
            return Ok(());
        }
    }
}

/// Writes the first `cleared` bytes as far as they are there; the rest of them is returned.
async fn pass(
    buffer: &mut BytesMut,
    cleared: usize,
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<usize> {
    let now = cleared.min(buffer.len());
    if now > 0 {
        to.write_all(buffer.get(..now).unwrap_or_default()).await?;
        to.flush().await?;
        buffer.advance(now);
    }
    Ok(cleared - now)
}

const fn read_bytes(owed: usize) -> usize {
    if owed > READ_BYTES { READ_BYTES_MAX } else { READ_BYTES }
}

fn next_expected(flight: &Flight, start: AnswerStart) -> Result<Expected, RelayError> {
    let found = start.correlation_id;
    match flight.next() {
        Some(expected) if expected.correlation_id == found => Ok(expected),
        other => Err(RelayError::Order { found, expected: other.map(|other| other.correlation_id) }),
    }
}

/// Reads on until the frame at the start of `buffer` is whole, and takes it, its length included.
async fn hold(
    broker: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    frame_bytes: usize,
) -> Result<Bytes, RelayError> {
    if frame_bytes > HELD_BYTES_MAX {
        return Err(RelayError::Held(frame_bytes));
    }
    while buffer.len() < frame_bytes {
        buffer.reserve(READ_BYTES.min(frame_bytes));
        if broker.read_buf(buffer).await.map_err(RelayError::Broker)? == 0 {
            return Err(RelayError::Broker(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    Ok(buffer.split_to(frame_bytes).freeze())
}

/// The answer with the door's addresses, or as it came when it names none.
async fn change(
    expected: &Expected,
    frame: Bytes,
    addresses: &impl Addresses,
) -> Result<Vec<Bytes>, RelayError> {
    let Some(mut answer) = Answer::decode(expected, frame.slice(LENGTH_BYTES..))? else {
        return Ok(vec![frame]);
    };
    let nodes = answer.nodes();
    addresses.learn(&nodes, answer.names_all_nodes()).await?;
    answer.replace(addresses.host(), |node| addresses.port(node));
    Ok(answer.encode(expected)?.into_chunks())
}
