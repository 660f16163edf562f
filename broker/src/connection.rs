//! One connection: frames in, answers out in the order of the requests, many requests under way.
//!
//! A frame's claimed length is never allocated before its bytes are there.

use std::{io, sync::Arc, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use kafka_wire::{Encoded, frame};
use prometheus::IntGauge;
use runtime::shutdown::Shutdown;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};

use crate::{
    broker::Context,
    dispatch::{Answer, Unanswerable, dispatch},
    quotas::mute::Mute,
    sasl::gate::{self, Admitted, Gate},
};

/// Requests under way on one connection.
const REQUESTS_MAX: usize = 64;
/// Bytes of requests under way on one connection, at least one request.
const REQUEST_BYTES_MAX: usize = frame::FRAME_BYTES_MAX;
/// Nobody stays unknown for longer without a word.
const UNKNOWN_WAIT: Duration = Duration::from_secs(30);
/// Room for the next bytes of a frame, and of the frames behind it.
const READ_BYTES: usize = 64 * 1024;

/// Why a connection ends before the client ends it.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the socket failed")]
    Socket(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] frame::FrameError),
    #[error(transparent)]
    Request(#[from] Unanswerable),
    #[error("an answer could not be written")]
    Encode(#[from] kafka_wire::EncodeError),
    #[error("no request for too long")]
    Idle,
    #[error("{0}")]
    Gate(String),
}

/// Serves a connection to its end. When the process ends, requests under way are still answered.
pub(crate) async fn run<S>(caller: Caller, stream: S, shutdown: &Shutdown)
where
    S: AsyncRead + AsyncWrite,
{
    let (reader, writer) = tokio::io::split(stream);
    let (sender, receiver) = mpsc::channel(REQUESTS_MAX);
    let bytes = Arc::new(Semaphore::new(REQUEST_BYTES_MAX));
    let host = caller.0.caller.host.clone();
    let mute = Arc::clone(&caller.0.caller.mute);
    let reading = async {
        let read = shutdown.or(read(caller, reader, sender, bytes)).await;
        read.unwrap_or(Ok(()))
    };
    // Whatever ends the reading, what was begun is finished: a change may be half made, on disk and not in memory.
    let (read, written) = tokio::join!(reading, write(receiver, writer, (&mute, shutdown)));
    if let Err(error) = read.and(written) {
        tracing::debug!(host, error = crate::error_text(&error), "closed a connection");
    }
}

/// A request under way, and its part of the connection's bytes.
type UnderWay = (Answer, Option<OwnedSemaphorePermit>);

/// Who called, and the gate where nobody knows yet who that is.
type Caller = (Context, Option<Gate>);

async fn read<R>(
    (mut context, mut gate): Caller,
    mut reader: R,
    sender: mpsc::Sender<UnderWay>,
    bytes: Arc<Semaphore>,
) -> Result<(), Ended>
where
    R: AsyncRead + Unpin,
{
    let idle = context.broker.settings.idle_timeout;
    let mut buffer = BytesMut::new();
    loop {
        wait_muted(&context).await;
        let unknown = gate.as_ref().is_some_and(|gate| !gate.is_open());
        let (wait, max) = if unknown {
            (idle.min(UNKNOWN_WAIT), gate::FRAME_BYTES_MAX.min(context.broker.settings.request_bytes_max))
        } else {
            (idle, context.broker.settings.request_bytes_max)
        };
        let next = timeout(wait, next_frame(&mut reader, &mut buffer, max)).await.map_err(|_| Ended::Idle)?;
        if matches!(next, Err(Ended::Frame(_))) {
            context.broker.metrics.refused_connections.with_label_values(&["request-size"]).inc();
        }
        let Some(frame) = next? else { return Ok(()) };
        // An answer before it may have ended in a wait meanwhile.
        wait_muted(&context).await;
        let size = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        // It is never closed; and no frame is larger than all of it.
        let permit = Arc::clone(&bytes).acquire_many_owned(size).await.ok();
        let alone = bytes.available_permits() + usize::try_from(size).unwrap_or(0) >= REQUEST_BYTES_MAX;
        let answer = match &mut gate {
            None => dispatch(&context, frame)?,
            Some(gate) => match gate.admit(frame, gate::now_ms()).map_err(Ended::Gate)? {
                Admitted::Request(frame) => dispatch(&context, frame)?,
                Admitted::Answer(encoded) => ready(encoded),
                Admitted::User(encoded, principal) => {
                    context = context.with_principal(principal);
                    ready(encoded)
                }
                Admitted::Refused(encoded, reason) => {
                    context.broker.metrics.failed_authentications.inc();
                    // The same for every reason, so that time tells nothing and guessing takes long.
                    tokio::time::sleep(gate.failure_delay()).await;
                    if let Some(encoded) = encoded {
                        drop(sender.send((ready(encoded), permit)).await);
                    }
                    return Err(Ended::Gate(reason));
                }
            },
        };
        if !alone {
            // Its answer has its turn later; what it wrote is made durable now.
            context.broker.committer.hurry();
        }
        // The writer is gone only when the connection is.
        if sender.send((answer, permit)).await.is_err() {
            return Ok(());
        }
    }
}

/// Waits while the caller is over a quota. Until then nothing is read, and the socket fills up.
async fn wait_muted(context: &Context) {
    while let Some(until) = context.caller.mute.reading_until() {
        let _muted = Muted::count(&context.broker.metrics.quotas.muted_connections);
        tokio::time::sleep_until(until).await;
    }
}

/// Counted while it is there, however the waiting ends.
struct Muted<'a>(&'a IntGauge);

impl<'a> Muted<'a> {
    fn count(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Muted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn ready(encoded: Encoded) -> Answer {
    Box::pin(std::future::ready(Ok(Some(encoded))))
}

/// The next frame; `None` when the client has closed.
async fn next_frame<R>(reader: &mut R, buffer: &mut BytesMut, max: usize) -> Result<Option<Bytes>, Ended>
where
    R: AsyncRead + Unpin,
{
    loop {
        if let Some(prefix) = buffer.first_chunk::<{ frame::LENGTH_BYTES }>() {
            let length = frame::check_length(i32::from_be_bytes(*prefix), max)?;
            let whole = frame::LENGTH_BYTES + length;
            if buffer.len() >= whole {
                buffer.advance(frame::LENGTH_BYTES);
                let frame = buffer.split_to(length);
                if buffer.is_empty() && length >= READ_BYTES {
                    // A large frame keeps its memory to itself: it can be changed in place, and goes when it is done.
                    *buffer = BytesMut::new();
                }
                return Ok(Some(frame.freeze()));
            }
            // As much as is there already at most: memory follows what was sent, not what was claimed.
            buffer.reserve((whole - buffer.len()).min(buffer.len().max(READ_BYTES)));
        } else if buffer.capacity() - buffer.len() < frame::LENGTH_BYTES {
            buffer.reserve(READ_BYTES);
        }
        if reader.read_buf(buffer).await? == 0 {
            let within = !buffer.is_empty();
            return if within { Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) } else { Ok(None) };
        }
    }
}

async fn write<W>(
    mut receiver: mpsc::Receiver<UnderWay>,
    mut writer: W,
    (mute, shutdown): (&Mute, &Shutdown),
) -> Result<(), Ended>
where
    W: AsyncWrite + Unpin,
{
    while let Some((answer, permit)) = receiver.recv().await {
        let encoded = answer.await?;
        drop(permit);
        if let Some(encoded) = encoded {
            send(&mut writer, encoded).await?;
        }
        let muted_until = mute.beginning_until();
        if receiver.is_empty() || muted_until.is_some() {
            writer.flush().await?;
        }
        if let Some(until) = muted_until {
            // Whether the time is over or the process ends: what was read is answered now.
            shutdown.or(tokio::time::sleep_until(until)).await;
        }
    }
    Ok(writer.shutdown().await?)
}

async fn send<W>(writer: &mut W, encoded: Encoded) -> Result<(), Ended>
where
    W: AsyncWrite + Unpin,
{
    for mut chunk in encoded.into_chunks() {
        writer.write_all_buf(&mut chunk).await?;
    }
    Ok(())
}
