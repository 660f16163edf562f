//! Reading ahead of TLS. rustls asks a socket for 4 KiB at a time, a quarter of a record, and each is a system call;
//! here one call brings as much as is there.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Room of a connection with little traffic.
const ROOM_MIN: usize = 4 * 1024;
/// Room of a connection whose reads come back full.
const ROOM_MAX: usize = 64 * 1024;

/// A stream, and what was read of it and not asked for yet: at most 64 KiB. Writes pass through.
#[derive(Debug)]
pub struct ReadAhead<S> {
    stream: S,
    /// As long as there is room.
    buffer: Vec<u8>,
    /// Where what is left in the buffer begins and ends.
    left: std::ops::Range<usize>,
}

impl<S> ReadAhead<S> {
    /// Reads ahead of a stream.
    #[must_use]
    pub const fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new(), left: 0..0 }
    }

    /// The next room, after a read that filled so much of it.
    fn room_after(&self, filled: usize) -> usize {
        let room = self.buffer.len();
        let next = match filled {
            _ if filled == room => room.saturating_mul(4),
            _ if filled < room / 4 => room / 2,
            _ => room,
        };
        next.clamp(ROOM_MIN, ROOM_MAX)
    }

    fn set_room(&mut self, room: usize) {
        if room != self.buffer.len() {
            self.buffer.resize(room, 0);
            self.buffer.shrink_to_fit();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        output: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.left.is_empty() {
            if this.buffer.is_empty() {
                this.set_room(ROOM_MIN);
            }
            let mut read = ReadBuf::new(&mut this.buffer);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
            this.left = 0..read.filled().len();
        }
        let count = this.left.len().min(output.remaining());
        let end = this.left.start.saturating_add(count);
        output.put_slice(this.buffer.get(this.left.start..end).unwrap_or_default());
        this.left.start = end;
        if this.left.is_empty() {
            this.set_room(this.room_after(end));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Gives what it has, and counts how often it is asked.
    struct Source {
        bytes: Vec<u8>,
        reads: usize,
    }

    impl AsyncRead for Source {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            output: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.reads += 1;
            let count = output.remaining().min(self.bytes.len());
            let given: Vec<u8> = self.bytes.drain(..count).collect();
            output.put_slice(&given);
            Poll::Ready(Ok(()))
        }
    }

    /// Goal: all bytes come, in order and once, in whatever pieces they are asked for, with few reads; then the end.
    #[tokio::test]
    async fn all_comes_in_order_with_few_reads() {
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
        for piece in [1, 7, 4096, 100_000] {
            let mut ahead = ReadAhead::new(Source { bytes: bytes.clone(), reads: 0 });
            let mut came = Vec::new();
            let mut room = vec![0; piece];
            loop {
                let count = ahead.read(&mut room).await.unwrap();
                if count == 0 {
                    break;
                }
                came.extend_from_slice(&room[..count]);
            }
            assert!(came == bytes, "pieces of {piece}");
            assert!(ahead.stream.reads < 25, "pieces of {piece}: {} reads", ahead.stream.reads);
        }
    }

    /// Goal: a connection that has become quiet gives its room back, and reading can be given up without losing a byte.
    #[tokio::test]
    async fn quiet_connections_are_small() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let mut ahead = ReadAhead::new(near);
        let mut room = vec![0; 1000];
        far.write_all(&vec![7; 500_000]).await.unwrap();
        for _ in 0..500 {
            assert!(ahead.read(&mut room).await.unwrap() > 0);
        }
        assert_eq!(ahead.buffer.len(), ROOM_MAX);
        while tokio::time::timeout(std::time::Duration::from_millis(20), ahead.read(&mut room)).await.is_ok()
        {
        }
        for number in 0..10 {
            far.write_all(&[number]).await.unwrap();
            assert_eq!(ahead.read(&mut room).await.unwrap(), 1);
            assert_eq!(room[0], number);
        }
        assert_eq!((ahead.buffer.len(), ahead.buffer.capacity()), (ROOM_MIN, ROOM_MIN));
    }
}
