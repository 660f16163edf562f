//! The gRPC door: `pinnace.v1.Messaging`. Translates; protobuf types stop here.

mod conversation;
mod publish;
mod request;
mod subscribe;
mod translate;

use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use futures::Stream;
use http::Request;
use proto::messaging::messaging_server::{Messaging, MessagingServer};
use proto::messaging::{
    PublishRequest, PublishResponse, PublishStreamRequest, PublishStreamResponse, RequestRequest,
    RequestResponse, ServeRequest, ServeResponse, SubscribeRequest, SubscribeResponse,
};
use tonic::{Response, Status, Streaming};
use tower::Service as _;

use super::Doors;
use super::socket::HttpResponse;
use crate::messaging::{Name, Problem};

/// A request may hold a batch: at least this much, and always the largest message of the view.
const REQUEST_BYTES_MIN: usize = 4 * 1024 * 1024;
/// Room for what protobuf adds to the largest message.
const ENVELOPE_BYTES: usize = 64 * 1024;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

struct Door {
    doors: Doors,
}

/// Answers one gRPC request.
pub(super) async fn call(doors: &Doors, request: Request<Body>) -> HttpResponse {
    let largest = {
        let view = doors.view.borrow();
        let channels = view.channels.values().map(|channel| channel.max_message_bytes);
        let topics = view.topics.values().map(|topic| topic.max_message_bytes);
        channels.chain(topics).max().unwrap_or(0)
    };
    let limit = largest.saturating_add(ENVELOPE_BYTES).max(REQUEST_BYTES_MIN);
    let door = Arc::new(Door { doors: doors.clone() });
    let mut server = MessagingServer::from_arc(door).max_decoding_message_size(limit);
    match server.call(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

impl Door {
    fn name(&self, text: &str) -> Result<Name, Status> {
        Name::parse(text, &self.doors.namespace).map_err(|problem| refused(&self.doors, problem))
    }
}

#[tonic::async_trait]
impl Messaging for Door {
    async fn publish(
        &self,
        request: tonic::Request<PublishRequest>,
    ) -> Result<Response<PublishResponse>, Status> {
        let request = request.into_inner();
        let name = self.name(&request.name)?;
        let messages = request.messages.into_iter().map(translate::message).collect();
        let positions = super::publish::begin(&self.doors, &name, messages).await;
        let positions = match positions {
            Ok(begun) => begun.finish().await,
            Err(problem) => Err(problem),
        };
        let positions = positions.map_err(|problem| refused(&self.doors, problem))?;
        Ok(Response::new(PublishResponse {
            positions: positions.into_iter().map(translate::position).collect(),
        }))
    }

    type PublishStreamStream = Answers<PublishStreamResponse>;

    async fn publish_stream(
        &self,
        request: tonic::Request<Streaming<PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        Ok(Response::new(Box::pin(publish::stream(self.doors.clone(), request.into_inner()))))
    }

    type SubscribeStream = Answers<SubscribeResponse>;

    async fn subscribe(
        &self,
        request: tonic::Request<Streaming<SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        Ok(Response::new(Box::pin(subscribe::stream(self.doors.clone(), request.into_inner()))))
    }

    async fn request(
        &self,
        request: tonic::Request<RequestRequest>,
    ) -> Result<Response<RequestResponse>, Status> {
        request::request(&self.doors, request.into_inner()).await.map(Response::new)
    }

    type ServeStream = Answers<ServeResponse>;

    async fn serve(
        &self,
        request: tonic::Request<Streaming<ServeRequest>>,
    ) -> Result<Response<Self::ServeStream>, Status> {
        Ok(Response::new(Box::pin(request::serve(self.doors.clone(), request.into_inner()))))
    }
}

/// Counts a refusal, and says it in gRPC's words.
fn refused(doors: &Doors, problem: Problem) -> Status {
    let status = translate::status(problem);
    doors.metrics.door_refusals.with_label_values(&["grpc", translate::code_name(status.code())]).inc();
    status
}

#[cfg(test)]
mod tests;
