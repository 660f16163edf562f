//! One simulated connection: bytes that arrive late, in pieces, or never. What each end wrote and read is shown to
//! the taps, which know nothing of the code under test.

use super::tap::Tap;
use super::world::World;
use bytes::{Buf as _, Bytes};
use runtime::clock::{self, Instant};
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// One direction.
#[derive(Default)]
struct Pipe {
    /// With the moment of arrival; ascending.
    chunks: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// The writer has ended its side.
    ended: bool,
    /// Nobody reads any more; and from when on the writer knows, since it hears of it only when it writes.
    deaf: bool,
    refuses_from: Option<Instant>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

struct State {
    /// From the one who dialled, and to it.
    pipes: [Pipe; 2],
    /// What was on its way is gone, and both ends are told.
    reset: bool,
    /// Of which pipes nothing arrives, and nobody is told.
    silent: [bool; 2],
    taps: Tap,
}

/// The connection itself; its two ends are [`Stream`]s.
pub(super) struct Line {
    world: Arc<World>,
    /// The processes at its ends; the first has dialled.
    pub(super) ends: [u64; 2],
    /// Their nodes.
    pub(super) nodes: [usize; 2],
    /// The longest way of a piece, and what is on its way at most.
    delay_max: Duration,
    bytes_max: usize,
    state: Mutex<State>,
}

/// What a new line is made from.
pub(super) struct Parts {
    pub(super) world: Arc<World>,
    pub(super) ends: [u64; 2],
    pub(super) nodes: [usize; 2],
    pub(super) delay_max: Duration,
    pub(super) bytes_max: usize,
}

/// One end of a line.
pub(super) struct Stream {
    line: Arc<Line>,
    /// 0 = the one who dialled.
    side: usize,
    timer: Pin<Box<Sleep>>,
}

impl Line {
    /// The line and both its ends.
    pub(super) fn new(parts: Parts) -> (Arc<Self>, [Stream; 2]) {
        let taps = Tap::new(Arc::clone(&parts.world), parts.ends);
        let state =
            State { pipes: [Pipe::default(), Pipe::default()], reset: false, silent: [false; 2], taps };
        let line = Arc::new(Self {
            world: parts.world,
            ends: parts.ends,
            nodes: parts.nodes,
            delay_max: parts.delay_max,
            bytes_max: parts.bytes_max,
            state: Mutex::new(state),
        });
        let end = |side| Stream {
            line: Arc::clone(&line),
            side,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        };
        let ends = [end(0), end(1)];
        (line, ends)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Neither end can use it any more.
    pub(super) fn is_over(&self) -> bool {
        let state = self.lock();
        state.reset || state.pipes.iter().all(|pipe| pipe.deaf)
    }

    /// Ends it with all that is on its way.
    pub(super) fn cut(&self) {
        let mut state = self.lock();
        state.reset = true;
        state.pipes.iter_mut().for_each(Pipe::wake);
    }

    /// From now on nothing arrives from those sides, or it does again.
    pub(super) fn silence(&self, silent: [bool; 2]) {
        let mut state = self.lock();
        state.silent = silent;
        state.pipes.iter_mut().for_each(Pipe::wake);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.line.lock();
        let own = &mut state.pipes[self.side];
        own.ended = true;
        own.wake();
        let other = &mut state.pipes[1 - self.side];
        other.deaf = true;
        other.chunks.clear();
        other.bytes = 0;
        other.wake();
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let (line, side) = (Arc::clone(&self.line), 1 - self.side);
        let mut guard = line.lock();
        let state = &mut *guard;
        if state.reset {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        let pipe = &mut state.pipes[side];
        pipe.reader = Some(context.waker().clone());
        if state.silent[side] {
            return Poll::Pending;
        }
        let Some((due, chunk)) = pipe.chunks.front_mut() else {
            return if pipe.ended { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        if *due > clock::now() {
            self.timer.as_mut().reset(*due);
            if self.timer.as_mut().poll(context).is_ready() {
                context.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        let most = chunk.len().min(buffer.remaining());
        let length = line.world.piece(most);
        let piece = chunk.split_to(length);
        if chunk.is_empty() {
            pipe.chunks.pop_front();
        }
        pipe.bytes -= length;
        if let Some(writer) = pipe.writer.take() {
            writer.wake();
        }
        buffer.put_slice(&piece);
        state.taps.read(side, &piece);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let line = &self.line;
        let mut guard = line.lock();
        let state = &mut *guard;
        let pipe = &mut state.pipes[self.side];
        if state.reset
            || pipe.refuses_from.is_some_and(|from| from <= clock::now() && state.silent == [false; 2])
        {
            return Poll::Ready(Err(Error::from(ErrorKind::BrokenPipe)));
        }
        if pipe.deaf {
            // It goes nowhere, and what comes back says so.
            pipe.refuses_from.get_or_insert_with(|| clock::now() + line.delay_max);
            return Poll::Ready(Ok(bytes.len()));
        }
        let room = line.bytes_max.saturating_sub(pipe.bytes);
        if room == 0 {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let length = line.world.piece(bytes.len().min(room));
        let mut piece = bytes;
        let piece = piece.copy_to_bytes(length);
        let way = line.world.below(u64::try_from(line.delay_max.as_millis()).unwrap_or(0) + 1);
        let last = pipe.chunks.back().map(|(due, _)| *due);
        let due = (clock::now() + Duration::from_millis(way)).max(last.unwrap_or_else(clock::now));
        pipe.bytes += length;
        pipe.chunks.push_back((due, piece.clone()));
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
        state.taps.written(self.side, &piece);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.line.lock();
        let pipe = &mut state.pipes[self.side];
        pipe.ended = true;
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }
}
