//! Bytes between a socket and a ZMTP session: reads as much as is there, writes many messages at once.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use runtime::clock::{self, Instant};
use runtime::shutdown::Shutdown;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use zmtp::Session;

const READ_BYTES_MIN: usize = 4 * 1024;
const READ_BYTES_MAX: usize = 64 * 1024;
/// How long a peer that is being closed may take to read its last words.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// What both kinds of socket are.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// What happened on the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happened {
    /// Bytes came in or went out, or a timer of the session was due.
    Progress,
    /// The peer is gone.
    Closed,
}

/// How a connection ends.
pub(super) enum End {
    /// The app closed it.
    Gone,
    /// The session has told the app why.
    Said,
    /// The app is to be told.
    Why(String),
}

/// One connection.
pub(super) struct Link<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    pub(super) session: Session,
    /// Bytes that the socket took.
    pub(super) written: u64,
    /// Grows while reads come back full, so that an idle connection costs little.
    read_bytes: usize,
}

impl<S: Stream> Link<S> {
    pub(super) fn new(stream: S, session: Session) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { reader, writer, session, written: 0, read_bytes: READ_BYTES_MIN }
    }

    /// Waits until bytes come in, bytes go out, or the session's timer is due. Safe to drop and
    /// call again.
    pub(super) async fn step(&mut self) -> io::Result<Happened> {
        let mut input = std::mem::take(self.session.input());
        let wake = self.session.poll_timeout();
        let writes = self.session.output().has_remaining();
        let before = input.len();
        input.reserve(self.read_bytes);
        let mut returned = Returned { session: &mut self.session, input };
        let Returned { session, input } = &mut returned;
        let read = tokio::select! {
            biased;
            written = self.writer.write_buf(session.output()), if writes => {
                let count = written?;
                self.written = self.written.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
                return Ok(if count == 0 { Happened::Closed } else { Happened::Progress });
            }
            read = self.reader.read_buf(input) => read?,
            () = sleep_until(wake) => {
                drop(returned);
                return self.timed_out();
            }
        };
        let filled = input.len().saturating_sub(before);
        drop(returned);
        self.session.handle_input(clock::now().into_std());
        if filled >= self.read_bytes {
            self.read_bytes = self.read_bytes.saturating_mul(2).min(READ_BYTES_MAX);
        } else if filled < self.read_bytes / 4 {
            self.read_bytes = (self.read_bytes / 2).max(READ_BYTES_MIN);
        }
        Ok(if read == 0 { Happened::Closed } else { Happened::Progress })
    }

    /// Like [`Self::step`] for one who has no room for what may come in: waits until bytes go out, for ever while there
    /// are none.
    pub(super) async fn step_out(&mut self) -> io::Result<Happened> {
        if !self.session.output().has_remaining() {
            return std::future::pending().await;
        }
        let count = self.writer.write_buf(self.session.output()).await?;
        self.written = self.written.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(if count == 0 { Happened::Closed } else { Happened::Progress })
    }

    /// Ends it as said.
    pub(super) async fn end(mut self, end: End) {
        match end {
            End::Gone => return,
            End::Said => {}
            End::Why(reason) => self.session.refuse(&reason),
        }
        self.close().await;
    }

    fn timed_out(&mut self) -> io::Result<Happened> {
        match self.session.handle_timeout(clock::now().into_std()) {
            Ok(()) => Ok(Happened::Progress),
            Err(error) => Err(io::Error::new(io::ErrorKind::TimedOut, error)),
        }
    }

    /// Writes what is left (an ERROR command, say) and closes. What the peer still sends is read
    /// and thrown away: a socket that is closed with unread bytes takes its last words with it.
    pub(super) async fn close(mut self) {
        let written = tokio::time::timeout(CLOSE_DEADLINE, async {
            while self.session.output().has_remaining() {
                if self.writer.write_buf(self.session.output()).await? == 0 {
                    break;
                }
            }
            self.writer.shutdown().await?;
            let mut unread = BytesMut::with_capacity(READ_BYTES_MIN);
            while self.reader.read_buf(&mut unread).await? > 0 {
                unread.clear();
            }
            Ok::<(), io::Error>(())
        });
        if let Ok(Err(error)) = written.await {
            tracing::debug!(%error, "a ZeroMQ app did not read its last words");
        }
    }
}

/// Gives the input back to the session, also when the future is dropped in the middle.
struct Returned<'a> {
    session: &'a mut Session,
    input: BytesMut,
}

impl Drop for Returned<'_> {
    fn drop(&mut self) {
        *self.session.input() = std::mem::take(&mut self.input);
    }
}

/// Waits until the end begins, and once that has a deadline until then.
pub(super) async fn end_or_deadline(ended: &Shutdown, deadline: Option<Instant>) {
    match deadline {
        None => ended.begun().await,
        Some(deadline) => tokio::time::sleep_until(deadline).await,
    }
}

async fn sleep_until(wake: Option<std::time::Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}
