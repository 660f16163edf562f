//! `PublishStream`, a batch of messages in each request, many requests on their way, every answer looked at.

use anyhow::{Context as _, Result, bail};
use bytes::{BufMut as _, Bytes, BytesMut};
use proto::messaging::{Message, PublishStreamRequest, PublishStreamResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::args::Options;
use crate::connect;
use crate::head::{HEAD_BYTES, Head, Kind};

/// What one request holds at most, as one write of the other batching clients does.
const BATCH_BYTES: usize = 64 * 1024;
/// Requests that are not answered.
const REQUESTS_AHEAD: usize = 48;
const QUEUE: usize = 64;

pub(crate) struct Outlet {
    requests: mpsc::Sender<PublishStreamRequest>,
    answers: Streaming<PublishStreamResponse>,
    name: String,
    publisher: u64,
    filling: Bytes,
    buffer: BytesMut,
    batch: Vec<Message>,
    batch_messages: usize,
    next_id: u64,
    unanswered: usize,
}

impl Outlet {
    pub(crate) async fn open(options: &Options) -> Result<Self> {
        let (mut client, name) = connect::open(options, &options.out).await?;
        let (requests, receiver) = mpsc::channel(QUEUE);
        let answers = client.publish_stream(ReceiverStream::new(receiver)).await?.into_inner();
        let filling = options.bytes.checked_sub(HEAD_BYTES).context("messages are too short for a head")?;
        Ok(Self {
            requests,
            answers,
            name,
            publisher: options.index,
            filling: Bytes::from(vec![b'x'; filling]),
            buffer: BytesMut::new(),
            batch: Vec::new(),
            batch_messages: (BATCH_BYTES / options.bytes).max(1),
            next_id: 0,
            unanswered: 0,
        })
    }

    /// Whether the batch that is being filled has no message yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Keeps a message until the batch is full or flushed.
    pub(crate) async fn offer(&mut self, kind: Kind, number: u64, time_ns: u64) -> Result<()> {
        let head = Head { kind, publisher: self.publisher, number, time_ns };
        let bytes = HEAD_BYTES + self.filling.len();
        if self.buffer.capacity() < bytes {
            self.buffer.reserve(bytes * self.batch_messages);
        }
        self.buffer.put_slice(&head.to_bytes());
        self.buffer.put_slice(&self.filling);
        let parts = vec![self.buffer.split().freeze()];
        self.batch.push(Message { parts, ..Message::default() });
        if self.batch.len() == self.batch_messages { self.flush().await } else { Ok(()) }
    }

    /// Sends what there is.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        while self.unanswered >= REQUESTS_AHEAD {
            self.answer().await?;
        }
        let messages = std::mem::take(&mut self.batch);
        let request = PublishStreamRequest { id: self.next_id, name: self.name.clone(), messages };
        self.next_id += 1;
        self.unanswered += 1;
        self.requests.send(request).await.context("the stream of requests has ended")
    }

    pub(crate) async fn send(&mut self, kind: Kind, number: u64, time_ns: u64) -> Result<()> {
        self.offer(kind, number, time_ns).await?;
        self.flush().await
    }

    /// Waits until all requests are answered.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        while self.unanswered > 0 {
            self.answer().await?;
        }
        Ok(())
    }

    async fn answer(&mut self) -> Result<()> {
        let answer = self.answers.message().await?.context("the stream of answers has ended")?;
        if let Some(problem) = answer.problem {
            bail!("a request was refused: {}", problem.message);
        }
        self.unanswered -= 1;
        Ok(())
    }
}
