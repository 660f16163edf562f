//! `Subscribe`: one stream drives one subscription. What the app does not read is not fetched,
//! and what it has no credit for is not delivered.

use std::time::Duration;

use futures::Stream;
use proto::messaging::subscribe_request::{Kind, Start as WireStart};
use proto::messaging::{SubscribeRequest, SubscribeResponse, subscribe_request};
use tonic::{Status, Streaming};

use super::conversation::{self, Conversation, Outbox, SHUTTING_DOWN};
use super::{refused, translate};
use crate::app::Doors;
use crate::app::session::{Item, Open, Session};
use crate::durable::Start;
use crate::messaging::Name;

const CREDIT_USED_UP: &str = "the credit is used up and the app has closed its side";

/// Answers one stream of requests.
pub(super) fn stream(
    doors: Doors,
    requests: Streaming<SubscribeRequest>,
) -> impl Stream<Item = Result<SubscribeResponse, Status>> + Send {
    let outbox = Outbox::default();
    conversation::stream(Subscriber { doors, requests, session: None, outbox, reads: true, credit: 0 })
}

struct Subscriber {
    doors: Doors,
    requests: Streaming<SubscribeRequest>,
    session: Option<Session>,
    outbox: Outbox<SubscribeResponse>,
    /// The app's side is open.
    reads: bool,
    credit: u64,
}

impl Conversation for Subscriber {
    type Response = SubscribeResponse;

    fn outbox(&mut self) -> &mut Outbox<SubscribeResponse> {
        &mut self.outbox
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
                self.outbox.fail(Status::unavailable(SHUTTING_DOWN));
            }
        }
        Ok(())
    }
}

impl Subscriber {
    fn finish(&mut self, reason: &str) {
        self.session = None;
        self.outbox.push(translate::end(reason));
        self.outbox.finish();
    }

    fn items(&mut self, items: Option<Vec<Item>>) {
        let Some(items) = items else {
            self.outbox.finish();
            return;
        };
        let deliveries = items.iter().filter(|item| matches!(item, Item::Delivery(_))).count();
        self.credit = self.credit.saturating_sub(u64::try_from(deliveries).unwrap_or(u64::MAX));
        self.outbox.extend(translate::responses(items));
    }

    async fn open(&mut self) -> Result<(), Status> {
        let first = conversation::first(&mut self.requests).await?;
        let Some(Kind::Open(open)) = first.and_then(|request| request.kind) else {
            return Err(Status::invalid_argument("the first request of a subscription must be open"));
        };
        let name = Name::parse(&open.name, &self.doors.namespace).map_err(|p| refused(&self.doors, p))?;
        self.credit = u64::from(open.credit);
        let session = Session::open(&self.doors, &name, options(open)?).await;
        let session = session.map_err(|problem| refused(&self.doors, problem))?;
        self.session = Some(session);
        self.outbox.push(translate::opened());
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
