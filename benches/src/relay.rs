//! A relay of gRPC: what a pair of sidecars would be that knows nothing. What an app publishes goes to the other
//! relay, and what that one sends goes to the subscribers of its name. No TLS, no credit, no numbers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use futures::Stream;
use proto::messaging::messaging_server::{Messaging, MessagingServer};
use proto::messaging::subscribe_request::Kind;
use proto::messaging::{
    PublishRequest, PublishResponse, PublishStreamRequest, PublishStreamResponse, RequestRequest,
    RequestResponse, ServeRequest, ServeResponse, SubscribeRequest, SubscribeResponse, subscribe_response,
};
use runtime::shutdown::Shutdown;
use runtime::tasks::Tasks;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::args::Options;
use crate::connect;

/// Requests on their way through a relay, of one publisher or to one subscriber.
const QUEUE: usize = 64;
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const UNKNOWN: &str = "a relay only passes streams on";

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Subscriber = mpsc::Sender<Result<SubscribeResponse, Status>>;
type Subscribers = Arc<Mutex<HashMap<String, Vec<Subscriber>>>>;

/// Where a door passes on what is published there.
#[derive(Clone)]
enum Onward {
    Peer(mpsc::Sender<PublishStreamRequest>),
    Subscribers,
}

#[derive(Clone)]
struct Door {
    onward: Onward,
    subscribers: Subscribers,
    tasks: Tasks,
}

/// Relays until it is ended.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let (app, listen): (SocketAddr, SocketAddr) = (options.app.parse()?, options.listen.parse()?);
    let (to_peer, receiver) = mpsc::channel(QUEUE);
    let tasks = Tasks::new(Shutdown::new());
    let subscribers = Subscribers::default();
    let door = |onward| Door { onward, subscribers: Arc::clone(&subscribers), tasks: tasks.clone() };
    let (app, listen) = (serve(app, door(Onward::Peer(to_peer))), serve(listen, door(Onward::Subscribers)));
    let peer = async {
        let mut client = connect::dial(&options.peer).await?;
        let mut answers = client.publish_stream(ReceiverStream::new(receiver)).await?.into_inner();
        while answers.message().await?.is_some() {}
        Ok::<_, anyhow::Error>(())
    };
    let ended = runtime::shutdown::signalled();
    tokio::select! {
        outcome = app => outcome,
        outcome = listen => outcome,
        outcome = peer => outcome.context("the other relay is gone"),
        signal = ended => signal.map(drop).context("signals cannot be waited for"),
    }
}

async fn serve(address: SocketAddr, door: Door) -> Result<()> {
    let service = MessagingServer::new(door).max_decoding_message_size(usize::MAX);
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(service)
        .serve(address);
    server.await.with_context(|| format!("cannot serve on {address}"))
}

impl Door {
    async fn pass(&self, request: PublishStreamRequest) -> Result<(), Status> {
        match &self.onward {
            Onward::Peer(peer) => {
                peer.send(request).await.map_err(|_| Status::unavailable("the other relay is gone"))
            }
            Onward::Subscribers => {
                let subscribers = self.of(&request.name);
                let deliveries = request.messages.into_iter().map(|message| subscribe_response::Delivery {
                    message: Some(message),
                    ..subscribe_response::Delivery::default()
                });
                let batch = subscribe_response::Deliveries { deliveries: deliveries.collect() };
                let response = SubscribeResponse { kind: Some(subscribe_response::Kind::Deliveries(batch)) };
                for subscriber in subscribers {
                    // One that has left gets nothing.
                    drop(subscriber.send(Ok(response.clone())).await);
                }
                Ok(())
            }
        }
    }

    fn of(&self, name: &str) -> Vec<Subscriber> {
        let mut all = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(subscribers) = all.get_mut(name) else { return Vec::new() };
        subscribers.retain(|subscriber| !subscriber.is_closed());
        subscribers.clone()
    }
}

#[tonic::async_trait]
impl Messaging for Door {
    type PublishStreamStream = Answers<PublishStreamResponse>;

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let mut requests = request.into_inner();
        let (answers, receiver) = mpsc::channel(QUEUE);
        let door = self.clone();
        drop(self.tasks.spawn_until_shutdown("publisher", async move {
            while let Ok(Some(request)) = requests.message().await {
                let id = request.id;
                let passed = door.pass(request).await;
                let answer =
                    passed.map(|()| PublishStreamResponse { id, ..PublishStreamResponse::default() });
                if answers.send(answer).await.is_err() {
                    return;
                }
            }
        }));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    type SubscribeStream = Answers<SubscribeResponse>;

    async fn subscribe(
        &self,
        request: Request<Streaming<SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let mut requests = request.into_inner();
        let Some(Kind::Open(open)) = requests.message().await?.and_then(|request| request.kind) else {
            return Err(Status::invalid_argument("the first request must be open"));
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut all = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(open.name).or_default().push(sender);
        drop(all);
        // Credit is read, so that its stream does not stand still, and means nothing here.
        drop(self.tasks.spawn_until_shutdown("credit", async move {
            while let Ok(Some(_)) = requests.message().await {}
        }));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn publish(&self, _: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        Err(Status::unimplemented(UNKNOWN))
    }

    async fn request(&self, _: Request<RequestRequest>) -> Result<Response<RequestResponse>, Status> {
        Err(Status::unimplemented(UNKNOWN))
    }

    type ServeStream = Answers<ServeResponse>;

    async fn serve(
        &self,
        _: Request<Streaming<ServeRequest>>,
    ) -> Result<Response<Self::ServeStream>, Status> {
        Err(Status::unimplemented(UNKNOWN))
    }
}
