//! The loop of one connection: socket ↔ session. Writes are packed: all that waits goes out together.

use super::link::{Link, LinkError};
use bytes::{Buf as _, Bytes, BytesMut};
use futures::FutureExt as _;
use peer_wire::GoodbyeCode;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The output is filled up to here before it is written.
const OUTPUT_BYTES: usize = 256 * 1024;
/// Room for one read on a connection with little traffic, and with much.
const READ_BYTES_MIN: usize = 4 * 1024;
const READ_BYTES_MAX: usize = 64 * 1024;
/// What came is looked at when there is so much of it, though more may be there.
const READ_ON_BYTES: usize = 32 * 1024;
/// Most chunks of one write.
const CHUNKS_MAX: usize = 64;
/// How long a connection may take to send what waits when the sidecar shuts down.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// How often it looks meanwhile whether all is done: what the subscribers behind other connections do counts too.
const DRAIN_LOOK: Duration = Duration::from_millis(50);
/// How long the last frames may take.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// How long the peer may take to read them.
const LINGER_MAX: Duration = Duration::from_millis(500);
/// A connection that nobody needs is kept for this long.
const UNNEEDED_MAX: Duration = Duration::from_secs(10);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriveError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the connection broke: {0}")]
    Socket(#[from] std::io::Error),
    #[error("the peer closed the connection")]
    Closed,
}

/// How a connection ended from our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Shutting down.
    Drained,
    /// Nobody needed it.
    Unneeded,
    /// A connection that the peer dialled takes over.
    Replaced,
}

/// What is written next, as chunks.
#[derive(Default)]
struct Pending {
    chunks: VecDeque<Bytes>,
    /// Bytes may be left within TLS.
    unflushed: bool,
}

impl Pending {
    fn take_output(&mut self, link: &mut Link) {
        while let Some(chunk) = link.session.poll_output() {
            self.chunks.push_back(chunk);
        }
    }

    fn is_done(&self) -> bool {
        self.chunks.is_empty() && !self.unflushed
    }

    /// Writes once. Safe to drop.
    async fn write(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        if self.chunks.is_empty() {
            writer.flush().await?;
            self.unflushed = false;
            return Ok(());
        }
        let mut slices = [IoSlice::new(&[]); CHUNKS_MAX];
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        let mut written = writer.write_vectored(slices.get(..count).unwrap_or_default()).await?;
        if written == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        self.unflushed = true;
        while let Some(chunk) = self.chunks.front_mut() {
            if chunk.len() > written {
                chunk.advance(written);
                break;
            }
            written -= chunk.len();
            self.chunks.pop_front();
        }
        Ok(())
    }
}

/// When this side ends the connection.
#[derive(Default)]
struct Endings {
    drain_until: Option<Duration>,
    unneeded_since: Option<Duration>,
}

impl Endings {
    /// Ends the session when it is time to.
    fn decide(&mut self, link: &mut Link, pending: &Pending) -> Option<Ended> {
        let now = link.core().now();
        if link.core().draining().has_begun() {
            let until = *self.drain_until.get_or_insert(now + DRAIN_MAX);
            if (link.is_flushed() && pending.is_done()) || now >= until {
                link.say_goodbye(GoodbyeCode::Draining, "shutting down");
                return Some(Ended::Drained);
            }
        }
        if link.is_replaced() {
            link.session.goodbye(GoodbyeCode::Duplicate, "the connection that you dialled takes over");
            return Some(Ended::Replaced);
        }
        self.unneeded_since = link.is_unneeded().then(|| self.unneeded_since.unwrap_or(now));
        if self.unneeded_since.is_some_and(|since| now.saturating_sub(since) >= UNNEEDED_MAX) {
            link.say_goodbye(GoodbyeCode::Unneeded, "nothing is needed");
            return Some(Ended::Unneeded);
        }
        None
    }

    /// When to look again at the latest.
    fn due(&self, link: &Link) -> Duration {
        let unneeded = self.unneeded_since.map(|since| since + UNNEEDED_MAX);
        let drain = self.drain_until.map(|until| until.min(link.core().now() + DRAIN_LOOK));
        let others = [drain, link.retry_due(), unneeded];
        others.into_iter().flatten().fold(link.session.poll_timeout(), Duration::min)
    }
}

/// Carries the connection until it ends. Always leaves queues and subscriptions as their next connection needs them.
pub(crate) async fn drive<S>(stream: S, mut link: Link) -> Result<Ended, DriveError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut pending = Pending::default();
    let outcome = carry(&mut reader, &mut writer, &mut link, &mut pending).await;
    if let Err(DriveError::Link(error)) = &outcome {
        link.note_end(error);
    }
    // What is left tells the peer why; it gets a moment, whether it reads or not.
    pending.take_output(&mut link);
    let last_words = async {
        while !pending.is_done() {
            pending.write(&mut writer).await?;
        }
        writer.shutdown().await
    };
    let said = matches!(tokio::time::timeout(CLOSE_MAX, last_words).await, Ok(Ok(())));
    let final_for_queues = matches!(outcome, Ok(Ended::Drained | Ended::Unneeded)) && said;
    link.end(final_for_queues);
    if outcome.is_ok() && said {
        linger(&mut reader).await;
    }
    outcome
}

/// Keeps the socket until the peer has read all and closes its side. A socket that is closed refuses what the peer still
/// writes, credit for example, and then the peer reads nothing more of what it was sent.
async fn linger(reader: &mut (impl AsyncRead + Unpin)) {
    let mut rest = BytesMut::with_capacity(READ_BYTES_MIN);
    let until_the_end = async {
        while reader.read_buf(&mut rest).await.is_ok_and(|read| read > 0) {
            rest.clear();
        }
    };
    // When it takes longer, the peer is told the hard way.
    drop(tokio::time::timeout(LINGER_MAX, until_the_end).await);
}

/// What came and is not a whole frame yet.
struct Input {
    bytes: BytesMut,
    /// Room for the next read.
    room: usize,
}

impl Input {
    fn new() -> Self {
        Self { bytes: BytesMut::new(), room: READ_BYTES_MIN }
    }

    fn make_room(&mut self) {
        if self.bytes.capacity() - self.bytes.len() < self.room / 2 {
            self.bytes.reserve(self.room);
        }
    }

    /// After a read of so many bytes; nothing is the end. Takes what else is there already: a read brings one record of
    /// TLS, and a round of the loop is dear for so few. Another end, or an error, waits for the next read: what came
    /// before it is looked at first.
    fn read_on(&mut self, read: usize, reader: &mut (impl AsyncRead + Unpin)) -> Result<(), DriveError> {
        if read == 0 {
            return Err(DriveError::Closed);
        }
        let mut came = read;
        while came < READ_ON_BYTES {
            self.make_room();
            match reader.read_buf(&mut self.bytes).now_or_never() {
                Some(Ok(read)) if read > 0 => came += read,
                _ => break,
            }
        }
        if came >= self.room / 2 {
            self.room = (self.room * 2).min(READ_BYTES_MAX);
        }
        Ok(())
    }

    /// Nothing came for a while: an idle connection costs little memory.
    fn rest(&mut self) {
        if self.bytes.is_empty() {
            *self = Self::new();
        }
    }
}

/// What was done at the socket.
enum Step {
    Read(usize),
    Wrote,
}

/// Reads or writes once, whichever can be done; the caller says which is tried first. Safe to drop.
async fn step<R, W>(
    (reader, writer): (&mut R, &mut W),
    input: &mut Input,
    pending: &mut Pending,
    write_first: bool,
) -> std::io::Result<Step>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    input.make_room();
    if pending.is_done() {
        return reader.read_buf(&mut input.bytes).await.map(Step::Read);
    }
    if write_first {
        tokio::select! {
            biased;
            wrote = pending.write(writer) => wrote.map(|()| Step::Wrote),
            read = reader.read_buf(&mut input.bytes) => read.map(Step::Read),
        }
    } else {
        tokio::select! {
            biased;
            read = reader.read_buf(&mut input.bytes) => read.map(Step::Read),
            wrote = pending.write(writer) => wrote.map(|()| Step::Wrote),
        }
    }
}

async fn carry<R, W>(
    reader: &mut R,
    writer: &mut W,
    link: &mut Link,
    pending: &mut Pending,
) -> Result<Ended, DriveError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let core = std::sync::Arc::clone(link.core());
    let waker = std::sync::Arc::clone(link.waker());
    let mut wanted = link.wanted();
    let replaced = link.replaced().clone();
    let mut input = Input::new();
    // Reading and writing take turns, so that neither starves where both can always go on.
    let mut write_first = true;
    let mut endings = Endings::default();
    loop {
        link.handle_marks();
        if wanted.has_changed().is_ok_and(|changed| changed) {
            wanted.mark_unchanged();
            link.reconcile();
        }
        if pending.chunks.is_empty() {
            link.pump(OUTPUT_BYTES);
            pending.take_output(link);
        }
        if let Some(ended) = endings.decide(link, pending) {
            return Ok(ended);
        }
        let due = endings.due(link);
        // In this order, for the same run every time. What stands behind the socket is looked at in each round as well.
        tokio::select! {
            biased;
            step = step((&mut *reader, &mut *writer), &mut input, pending, write_first) => match step? {
                Step::Read(bytes) => {
                    write_first = true;
                    input.read_on(bytes, reader)?;
                    let taken = link.session.handle_input(&mut input.bytes, core.now());
                    // What came before the error still counts.
                    link.handle_events()?;
                    taken.map_err(LinkError::from)?;
                    link.handle_time()?;
                }
                Step::Wrote => {
                    // Only when there was nothing to read: what waits there breaks the peer's silence.
                    if !write_first {
                        link.handle_time()?;
                    }
                    write_first = false;
                }
            },
            () = waker.marked() => {}
            changed = wanted.changed(), if wanted.has_changed().is_ok() => {
                if changed.is_ok() {
                    link.reconcile();
                }
            }
            () = core.draining().begun(), if endings.drain_until.is_none() => {}
            () = replaced.begun() => {}
            () = tokio::time::sleep_until(core.instant(due)) => {
                link.handle_time()?;
                input.rest();
            }
        }
    }
}
