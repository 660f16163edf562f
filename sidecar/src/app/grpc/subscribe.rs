//! `Subscribe`: one stream drives one subscription. What the app does not read is not fetched,
//! and what it has no credit for is not delivered.

use std::collections::VecDeque;
use std::time::Duration;

use futures::Stream;
use proto::messaging::subscribe_request::{Kind, Start as WireStart};
use proto::messaging::{SubscribeRequest, SubscribeResponse, subscribe_request};
use tonic::{Status, Streaming};

use super::{refused, translate};
use crate::app::Doors;
use crate::app::session::{Item, Open, Session};
use crate::durable::Start;
use crate::messaging::Name;

/// How long a stream may stand without its `open`.
const OPEN_DEADLINE: Duration = Duration::from_secs(30);
const CREDIT_USED_UP: &str = "the credit is used up and the app has closed its side";
const SHUTTING_DOWN: &str = "the sidecar is shutting down";

/// Answers one stream of requests.
pub(super) fn stream(
    doors: Doors,
    requests: Streaming<SubscribeRequest>,
) -> impl Stream<Item = Result<SubscribeResponse, Status>> + Send {
    let subscriber = Subscriber {
        doors,
        requests,
        session: None,
        queue: VecDeque::new(),
        reads: true,
        credit: 0,
        finished: false,
    };
    futures::stream::unfold(subscriber, |mut subscriber| async move {
        let response = subscriber.next().await?;
        Some((response, subscriber))
    })
}

struct Subscriber {
    doors: Doors,
    requests: Streaming<SubscribeRequest>,
    session: Option<Session>,
    /// Responses of the last batch; nothing is fetched while it holds any.
    queue: VecDeque<Result<SubscribeResponse, Status>>,
    /// The app's side is open.
    reads: bool,
    credit: u64,
    finished: bool,
}

impl Subscriber {
    async fn next(&mut self) -> Option<Result<SubscribeResponse, Status>> {
        loop {
            if let Some(response) = self.queue.pop_front() {
                self.finished |= response.is_err();
                return Some(response);
            }
            if self.finished {
                return None;
            }
            if let Err(status) = self.step().await {
                self.queue.push_back(Err(status));
            }
        }
    }

    async fn step(&mut self) -> Result<(), Status> {
        let Some(session) = &mut self.session else {
            return self.open().await;
        };
        if !self.reads && self.credit == 0 {
            self.finish(CREDIT_USED_UP);
            return Ok(());
        }
        let shutdown = self.doors.tasks.shutdown().clone();
        tokio::select! {
            items = session.next() => self.items(items),
            request = self.requests.message(), if self.reads => match request? {
                Some(request) => self.request(request).await?,
                None => self.reads = false,
            },
            () = shutdown.begun() => {
                self.finish(SHUTTING_DOWN);
                self.queue.push_back(Err(Status::unavailable(SHUTTING_DOWN)));
            }
        }
        Ok(())
    }

    fn finish(&mut self, reason: &str) {
        self.session = None;
        self.finished = true;
        self.queue.push_back(Ok(translate::end(reason)));
    }

    fn items(&mut self, items: Option<Vec<Item>>) {
        let Some(items) = items else {
            self.finished = true;
            return;
        };
        let deliveries = items.iter().filter(|item| matches!(item, Item::Delivery(_))).count();
        self.credit = self.credit.saturating_sub(u64::try_from(deliveries).unwrap_or(u64::MAX));
        self.queue.extend(translate::responses(items));
    }

    async fn open(&mut self) -> Result<(), Status> {
        let first = tokio::time::timeout(OPEN_DEADLINE, self.requests.message()).await;
        let first =
            first.map_err(|_| Status::deadline_exceeded("the first request, open, did not come"))??;
        let Some(Kind::Open(open)) = first.and_then(|request| request.kind) else {
            return Err(Status::invalid_argument("the first request of a subscription must be open"));
        };
        let name = Name::parse(&open.name, &self.doors.namespace).map_err(|p| refused(&self.doors, p))?;
        self.credit = u64::from(open.credit);
        let session = Session::open(&self.doors, &name, options(open)?).await;
        let session = session.map_err(|problem| refused(&self.doors, problem))?;
        self.session = Some(session);
        self.queue.push_back(Ok(translate::opened()));
        Ok(())
    }

    async fn request(&mut self, request: SubscribeRequest) -> Result<(), Status> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        match request.kind {
            Some(Kind::Credit(credit)) => {
                self.credit = self.credit.saturating_add(u64::from(credit.messages));
                session.grant(credit.messages).await;
            }
            Some(Kind::Ack(ack)) => session.ack(ack.deliveries).await,
            Some(Kind::Nack(nack)) => {
                let delay = Duration::from_millis(u64::from(nack.delay_ms));
                session.nack(nack.deliveries, delay).await.map_err(translate::status)?;
            }
            Some(Kind::Open(_)) => {
                return Err(Status::invalid_argument(
                    "this subscription is open already; use another stream",
                ));
            }
            None => return Err(Status::invalid_argument("a request without a kind")),
        }
        Ok(())
    }
}

fn options(open: subscribe_request::Open) -> Result<Open, Status> {
    let start = match WireStart::try_from(open.start) {
        Ok(WireStart::Unspecified) => None,
        Ok(WireStart::Latest) => Some(Start::Latest),
        Ok(WireStart::Earliest) => Some(Start::Earliest),
        Err(_) => return Err(Status::invalid_argument(format!("start: {} is no known value", open.start))),
    };
    Ok(Open {
        prefixes: open.prefixes,
        group: open.group,
        start,
        credit: open.credit,
        acknowledge: open.acknowledge,
        resumed: Vec::new(),
    })
}
