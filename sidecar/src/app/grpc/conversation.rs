//! A stream that the app opens with its first request and that both sides then speak on: what `Subscribe` and `Serve`
//! have in common.

use std::collections::VecDeque;
use std::time::Duration;

use futures::Stream;
use tonic::{Status, Streaming};

/// How long a stream may stand without its `open`.
const OPEN_DEADLINE: Duration = Duration::from_secs(30);
pub(super) const SHUTTING_DOWN: &str = "the sidecar is shutting down";

/// Responses that wait for the app to read them; nothing is fetched while there are any.
pub(super) struct Outbox<R> {
    queue: VecDeque<Result<R, Status>>,
    finished: bool,
}

impl<R> Default for Outbox<R> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), finished: false }
    }
}

impl<R> Outbox<R> {
    pub(super) fn push(&mut self, response: R) {
        self.queue.push_back(Ok(response));
    }

    /// An error among them is the end.
    pub(super) fn extend(&mut self, responses: impl IntoIterator<Item = Result<R, Status>>) {
        self.queue.extend(responses);
    }

    /// The stream ends when what waits is read.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// The stream ends with this error.
    pub(super) fn fail(&mut self, status: Status) {
        self.queue.push_back(Err(status));
    }
}

/// One side of such a stream.
pub(super) trait Conversation: Send {
    type Response: Send;

    fn outbox(&mut self) -> &mut Outbox<Self::Response>;

    /// Waits for the next thing that happens, and does what it means. An error ends the stream.
    fn step(&mut self) -> impl Future<Output = Result<(), Status>> + Send;
}

/// Speaks until the end.
pub(super) fn stream<C: Conversation>(
    conversation: C,
) -> impl Stream<Item = Result<C::Response, Status>> + Send {
    futures::stream::unfold(conversation, |mut conversation| async move {
        loop {
            let outbox = conversation.outbox();
            if let Some(response) = outbox.queue.pop_front() {
                outbox.finished |= response.is_err();
                return Some((response, conversation));
            }
            if outbox.finished {
                return None;
            }
            if let Err(status) = conversation.step().await {
                conversation.outbox().fail(status);
            }
        }
    })
}

/// The first request, which must come in time; `None` when the app has closed its side instead.
pub(super) async fn first<T>(requests: &mut Streaming<T>) -> Result<Option<T>, Status> {
    let first = tokio::time::timeout(OPEN_DEADLINE, requests.message()).await;
    first.map_err(|_| Status::deadline_exceeded("the first request, open, did not come"))?
}
