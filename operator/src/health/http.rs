//! The way to engines over HTTP: one connection and one request for as long as the engine tells. Plain, since what it tells
//! is no secret, and believed as far as it can be read.

use super::{Health, HealthError, Source, Telling, line::Decoder};
use bytes::Bytes;
use control::ObjectName;
use futures::{StreamExt as _, future::BoxFuture, stream};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use std::{pin::Pin, time::Duration};
use tokio::net::TcpStream;
use tower::ServiceExt as _;

/// What is asked for.
pub(super) const PATH: &str = "/v1/health";
/// To connect, and once more for the head of the answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// After so long without a byte the system asks whether the engine's is still there, so often, and so many times.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TRIES: u32 = 3;
/// Bytes that are read ahead, and headers of the answer. There may be a thousand engines.
const BUFFER_BYTES_MAX: usize = 8192;
const HEADERS_MAX: usize = 32;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpEngines;

type Connection = Pin<Box<http1::Connection<TokioIo<TcpStream>, Empty<Bytes>>>>;

/// An answer that goes on.
struct Stream {
    address: String,
    connection: Option<Connection>,
    body: Incoming,
    decoder: Decoder,
}

impl Source for HttpEngines {
    fn follow<'a>(&'a self, broker: &'a ObjectName) -> BoxFuture<'a, Result<Telling, HealthError>> {
        Box::pin(async move { follow(crate::controllers::broker::health_address(broker)).await })
    }
}

/// Begins to listen to the engine at `HOST:PORT`.
pub(super) async fn follow(address: String) -> Result<Telling, HealthError> {
    let stream = open(address).await?;
    Ok(stream::unfold(Some(stream), |stream| async move {
        let mut stream = stream?;
        match stream.next().await {
            Ok(health) => Some((Ok(health), Some(stream))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed())
}

fn unreachable(address: &str, reason: impl ToString) -> HealthError {
    HealthError::Unreachable { address: address.to_owned(), reason: reason.to_string() }
}

async fn open(address: String) -> Result<Stream, HealthError> {
    let failed = |error: &dyn std::error::Error| unreachable(&address, crate::controllers::chain(error));
    let late = |_| unreachable(&address, "it does not answer");
    let uri = format!("http://{address}{PATH}").parse::<http::Uri>().map_err(|error| failed(&error))?;
    let connecting = connector().oneshot(uri);
    let io = tokio::time::timeout(ANSWER_MAX, connecting).await.map_err(late)?;
    let io = io.map_err(|error| failed(&error))?;
    let mut client = http1::Builder::new();
    client.max_buf_size(BUFFER_BYTES_MAX).max_headers(HEADERS_MAX);
    let (mut sender, connection) = client.handshake(io).await.map_err(|error| failed(&error))?;
    let mut connection = Box::pin(connection);
    let request = Request::get(PATH).header(header::HOST, &address).body(Empty::new());
    let request = request.map_err(|error| failed(&error))?;
    let answering = async {
        tokio::select! {
            biased;
            answer = sender.send_request(request) => answer,
            // It ends before the answer only with an error, which the answer is then.
            outcome = &mut connection => match outcome {
                Err(error) => Err(error),
                Ok(()) => std::future::pending().await,
            }
        }
    };
    let answer = tokio::time::timeout(ANSWER_MAX, answering).await.map_err(late)?;
    let answer = answer.map_err(|error| failed(&error))?;
    if answer.status() != StatusCode::OK {
        return Err(HealthError::Refused { status: answer.status().as_u16(), address });
    }
    let body = answer.into_body();
    Ok(Stream { address, connection: Some(connection), body, decoder: Decoder::default() })
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(ANSWER_MAX));
    connector.set_keepalive(Some(KEEPALIVE_IDLE));
    connector.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    connector.set_keepalive_retries(Some(KEEPALIVE_TRIES));
    connector
}

impl Stream {
    /// What it says next.
    async fn next(&mut self) -> Result<Health, HealthError> {
        loop {
            let bytes = self.bytes().await?;
            let heard = self.decoder.feed(&bytes);
            let heard =
                heard.map_err(|source| HealthError::Undecodable { address: self.address.clone(), source })?;
            if let Some(health) = heard {
                return Ok(health);
            }
        }
    }

    /// The connection moves only while somebody polls it, so that nothing of it is read ahead but a buffer.
    async fn bytes(&mut self) -> Result<Bytes, HealthError> {
        loop {
            let frame = match &mut self.connection {
                None => self.body.frame().await,
                Some(connection) => tokio::select! {
                    biased;
                    frame = self.body.frame() => frame,
                    // What it had read is in the body still.
                    _ = connection => {
                        self.connection = None;
                        continue;
                    }
                },
            };
            match frame {
                None => return Err(unreachable(&self.address, "it ended the answer")),
                Some(Err(error)) => {
                    return Err(unreachable(&self.address, crate::controllers::chain(&error)));
                }
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(bytes);
                    }
                }
            }
        }
    }
}
