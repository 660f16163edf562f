//! `Request` and `Serve`: both sides of a Channel of pattern `RequestReply`.

use std::time::Duration;

use futures::Stream;
use proto::messaging::serve_request::{self, Kind};
use proto::messaging::{RequestRequest, RequestResponse, ServeRequest, ServeResponse};
use tonic::{Status, Streaming};

use super::conversation::{self, Conversation, Outbox, SHUTTING_DOWN};
use super::{refused, translate};
use crate::app::Doors;
use crate::durable::CREDIT_MAX;
use crate::messaging::{ChannelName, Message, Name, Problem, ProblemKind, ServeEvent, Serving};

fn channel(doors: &Doors, text: &str) -> Result<ChannelName, Status> {
    match Name::parse(text, &doors.namespace) {
        Ok(Name::Channel(name)) => Ok(name),
        Ok(Name::Topic(name)) => {
            let text = format!("{name}: requests go over Channels of pattern RequestReply");
            Err(refused(doors, Problem::new(ProblemKind::InvalidArgument, text)))
        }
        Err(problem) => Err(refused(doors, problem)),
    }
}

pub(super) async fn request(doors: &Doors, request: RequestRequest) -> Result<RequestResponse, Status> {
    let name = channel(doors, &request.name)?;
    let message = translate::message(request.message.unwrap_or_default());
    let timeout = (request.timeout_ms > 0).then(|| Duration::from_millis(request.timeout_ms.into()));
    let reply = doors.channels.request(&name, message, timeout, request.idempotent).await;
    let reply = reply.map_err(|problem| refused(doors, problem))?;
    Ok(RequestResponse { message: Some(translate::to_wire(reply)) })
}

/// Answers one stream of requests.
pub(super) fn serve(
    doors: Doors,
    requests: Streaming<ServeRequest>,
) -> impl Stream<Item = Result<ServeResponse, Status>> + Send {
    conversation::stream(Server { doors, requests, serving: None, outbox: Outbox::default() })
}

struct Server {
    doors: Doors,
    requests: Streaming<ServeRequest>,
    serving: Option<Serving>,
    outbox: Outbox<ServeResponse>,
}

impl Conversation for Server {
    type Response = ServeResponse;

    fn outbox(&mut self) -> &mut Outbox<ServeResponse> {
        &mut self.outbox
    }

    async fn step(&mut self) -> Result<(), Status> {
        let Some(serving) = &mut self.serving else { return self.open().await };
        let shutdown = self.doors.tasks.shutdown().clone();
        tokio::select! {
            events = serving.next() => match events {
                Some(events) => self.outbox.extend(events.into_iter().map(response).map(Ok)),
                None => {
                    let ended = serving.ended().cloned();
                    self.outbox.finish();
                    return ended.map_or(Ok(()), |problem| Err(translate::status(problem)));
                }
            },
            request = self.requests.message() => match request? {
                Some(request) => self.request(request)?,
                // Nobody is left who could answer.
                None => self.outbox.finish(),
            },
            () = shutdown.begun() => return Err(Status::unavailable(SHUTTING_DOWN)),
        }
        Ok(())
    }
}

impl Server {
    async fn open(&mut self) -> Result<(), Status> {
        let first = conversation::first(&mut self.requests).await?;
        let Some(Kind::Open(open)) = first.and_then(|request| request.kind) else {
            return Err(Status::invalid_argument("the first request of a serve must be open"));
        };
        let name = channel(&self.doors, &open.name)?;
        if !(1..=CREDIT_MAX).contains(&open.credit) {
            let text = format!("{name}: credit must be 1 to {CREDIT_MAX}, not {}", open.credit);
            return Err(refused(&self.doors, Problem::new(ProblemKind::InvalidArgument, text)));
        }
        let serving = self.doors.channels.serve(&name, open.credit).await;
        self.serving = Some(serving.map_err(|problem| refused(&self.doors, problem))?);
        Ok(())
    }

    fn request(&self, request: ServeRequest) -> Result<(), Status> {
        let Some(serving) = &self.serving else { return Ok(()) };
        match request.kind {
            Some(Kind::Reply(reply)) => serving.reply(reply.id, outcome(reply)),
            Some(Kind::Credit(credit)) => serving.grant(credit.messages),
            Some(Kind::Open(_)) => {
                return Err(Status::invalid_argument("this serve is open already; use another stream"));
            }
            None => return Err(Status::invalid_argument("a request without a kind")),
        }
        Ok(())
    }
}

fn response(event: ServeEvent) -> ServeResponse {
    let timeout_ms = u32::try_from(event.timeout.as_millis()).unwrap_or(u32::MAX);
    ServeResponse { id: event.id, message: Some(translate::to_wire(event.message)), timeout_ms }
}

fn outcome(reply: serve_request::Reply) -> Result<Message, Problem> {
    match reply.problem {
        Some(problem) => Err(translate::problem(problem)),
        None => Ok(translate::message(reply.message.unwrap_or_default())),
    }
}
