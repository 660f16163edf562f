//! One connection to a Kafka broker: requests out, answers in, in order. Never connects again by itself,
//! because what a lost connection means is for the caller to say.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use kafka_wire::{Request, frame};

/// A broker that lives answers within this time, or hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing that is asked for here is answered with more.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// It ended, as it does when the broker is killed.
    #[error("the connection to the broker ended")]
    Gone(#[from] io::Error),
    /// The broker said something that is never right.
    #[error("the broker answered wrongly: {0}")]
    Wrong(String),
}

/// The connection.
pub(crate) struct Link {
    stream: TcpStream,
    next: i32,
}

impl Link {
    pub(crate) fn open(address: SocketAddr) -> Result<Self, Broken> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, next: 0 })
    }

    /// Sends a request; the answer is asked for with what is returned.
    pub(crate) fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<i32, Broken> {
        self.next = self.next.wrapping_add(1);
        let encoded = frame::request(request, version, self.next, Some("xtask"))
            .map_err(|error| Broken::Wrong(format!("a request of ours cannot be written: {error}")))?;
        for chunk in encoded.into_chunks() {
            self.stream.write_all(&chunk)?;
        }
        Ok(self.next)
    }

    /// The answer to the oldest request without one.
    pub(crate) fn receive<R: Request>(&mut self, asked: i32, version: i16) -> Result<R::Response, Broken> {
        let mut length = [0; frame::LENGTH_BYTES];
        self.stream.read_exact(&mut length)?;
        let length = frame::check_length(i32::from_be_bytes(length), ANSWER_BYTES_MAX)
            .map_err(|error| Broken::Wrong(error.to_string()))?;
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        let (header, body) = frame::decode_response::<R>(Bytes::from(bytes), version)
            .map_err(|error| Broken::Wrong(format!("an answer cannot be read: {error}")))?;
        if header.correlation_id == asked {
            return Ok(body);
        }
        Err(Broken::Wrong(format!("answer {} came for request {asked}", header.correlation_id)))
    }

    pub(crate) fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, Broken> {
        let asked = self.send(request, version)?;
        self.receive::<R>(asked, version)
    }
}
