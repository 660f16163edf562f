//! `PublishStream`: many batches on their way, answers in the order of the requests.

use std::collections::VecDeque;

use futures::Stream;
use futures::future::BoxFuture;
use proto::messaging::{self as wire, PublishStreamRequest, PublishStreamResponse};
use tonic::{Status, Streaming};

use super::{refused, translate};
use crate::app::{Doors, publish};
use crate::messaging::{Name, Position, Problem};

/// Requests that are taken before the first of them is answered.
const REQUESTS_AHEAD: usize = 64;

/// Answers one stream of requests.
pub(super) fn stream(
    doors: Doors,
    requests: Streaming<PublishStreamRequest>,
) -> impl Stream<Item = Result<PublishStreamResponse, Status>> + Send {
    let publisher = Publisher { doors, requests, open: true, name: None, ahead: VecDeque::new() };
    futures::stream::unfold(publisher, |mut publisher| async move {
        let answer = publisher.next().await?;
        Some((answer, publisher))
    })
}

type Answer = BoxFuture<'static, Result<Vec<Position>, Problem>>;

struct Publisher {
    doors: Doors,
    requests: Streaming<PublishStreamRequest>,
    open: bool,
    name: Option<(String, Name)>,
    ahead: VecDeque<(u64, Answer)>,
}

impl Publisher {
    async fn next(&mut self) -> Option<Result<PublishStreamResponse, Status>> {
        loop {
            let reads = self.open && self.ahead.len() < REQUESTS_AHEAD;
            let shutdown = self.doors.tasks.shutdown().clone();
            // What is done is answered first; requests are read while it is not.
            let request = match self.ahead.front_mut() {
                None if !reads => return None,
                // What was taken is answered; nothing new is taken, so that the app goes elsewhere.
                None => shutdown.or(self.requests.message()).await.unwrap_or(Ok(None)),
                Some((id, answer)) => tokio::select! {
                    biased;
                    result = answer => {
                        let id = *id;
                        self.ahead.pop_front();
                        return Some(Ok(response(&self.doors, id, result)));
                    }
                    request = self.requests.message(), if reads => request,
                },
            };
            match request {
                Ok(Some(request)) => {
                    let (id, answer) = (request.id, self.begin(request).await);
                    self.ahead.push_back((id, answer));
                }
                Ok(None) => self.open = false,
                Err(status) => {
                    self.open = false;
                    self.ahead.clear();
                    return Some(Err(status));
                }
            }
        }
    }

    /// Queues one request in its turn.
    async fn begin(&mut self, request: PublishStreamRequest) -> Answer {
        let name = match self.name(request.name) {
            Ok(name) => name,
            Err(problem) => return Box::pin(std::future::ready(Err(problem))),
        };
        let messages = request.messages.into_iter().map(translate::message).collect();
        match publish::begin(&self.doors, &name, messages).await {
            Ok(begun) => Box::pin(begun.finish()),
            Err(problem) => Box::pin(std::future::ready(Err(problem))),
        }
    }

    /// The name said, or the last one; parsed once.
    fn name(&mut self, text: String) -> Result<Name, Problem> {
        match &self.name {
            Some((last, name)) if text.is_empty() || *last == text => Ok(name.clone()),
            _ => {
                let name = Name::parse(&text, &self.doors.namespace)?;
                self.name = Some((text, name.clone()));
                Ok(name)
            }
        }
    }
}

fn response(doors: &Doors, id: u64, result: Result<Vec<Position>, Problem>) -> PublishStreamResponse {
    match result {
        Ok(positions) => PublishStreamResponse {
            id,
            positions: positions.into_iter().map(translate::position).collect(),
            problem: None,
        },
        Err(problem) => {
            let status = refused(doors, problem);
            let problem =
                wire::Problem { code: i32::from(status.code()), message: status.message().to_owned() };
            PublishStreamResponse { id, positions: Vec::new(), problem: Some(problem) }
        }
    }
}
