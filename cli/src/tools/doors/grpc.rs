//! The gRPC door.

use super::{Incoming, Outgoing, Received, Wanted, join, nobody, text};
use crate::args::Via;
use crate::tools::Failure;
use crate::tools::target::{Kind, Target};
use bytes::Bytes;
use proto::messaging as wire;
use proto::messaging::messaging_client::MessagingClient;
use proto::messaging::{subscribe_request, subscribe_response};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

/// Messages that may be on their way to us.
const CREDIT: u32 = 1_000;

pub(crate) struct Publisher {
    client: MessagingClient<Channel>,
    name: String,
}

async fn connect(address: &str) -> Result<MessagingClient<Channel>, Failure> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| Failure::Refused(format!("--address {address} is not of the form HOST:PORT")))?;
    let channel = endpoint.connect().await.map_err(|error| nobody("gRPC", address, root(&error)))?;
    Ok(MessagingClient::new(channel).max_decoding_message_size(usize::MAX))
}

fn root(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn failure(status: &tonic::Status) -> Failure {
    use tonic::Code;
    let text = status.message().to_owned();
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Unknown
        | Code::Aborted => {
            Failure::Unavailable(if text.is_empty() { format!("{:?}", status.code()) } else { text })
        }
        code => Failure::Refused(format!("{text} ({code:?})")),
    }
}

impl Publisher {
    pub(super) async fn open(target: &Target, address: &str) -> Result<Self, Failure> {
        Ok(Self { client: connect(address).await?, name: target.to_string() })
    }

    pub(super) async fn publish(&mut self, message: Outgoing) -> Result<String, Failure> {
        let message = wire::Message {
            subject: Bytes::from(message.subject),
            key: message.key.map(Bytes::from),
            parts: vec![Bytes::from(message.payload)],
            ..wire::Message::default()
        };
        let request = wire::PublishRequest { name: self.name.clone(), messages: vec![message] };
        let answer = self.client.publish(request).await.map_err(|status| failure(&status))?;
        Ok(answer.into_inner().positions.first().map(position).unwrap_or_default())
    }
}

fn position(position: &wire::Position) -> String {
    if position.publisher.is_empty() {
        format!("{}:{}", position.partition, position.offset)
    } else {
        format!("{} #{}", position.publisher, position.offset)
    }
}

fn request(kind: subscribe_request::Kind) -> wire::SubscribeRequest {
    wire::SubscribeRequest { kind: Some(kind) }
}

pub(super) async fn subscribe(
    wanted: &Wanted,
    address: &str,
    queue: &mpsc::Sender<Incoming>,
) -> Result<(), Failure> {
    let mut client = connect(address).await?;
    let (sender, receiver) = mpsc::channel(16);
    // With a group, what was printed is acked, and only that is committed.
    let acknowledge = wanted.target.kind == Kind::Topic && !wanted.group.is_empty();
    let start = match (wanted.target.kind, wanted.from_start) {
        (_, true) => subscribe_request::Start::Earliest,
        (Kind::Topic, false) => subscribe_request::Start::Latest,
        (Kind::Channel, false) => subscribe_request::Start::Unspecified,
    };
    let open = subscribe_request::Open {
        name: wanted.target.to_string(),
        prefixes: wanted.prefixes.iter().cloned().map(Bytes::from).collect(),
        group: wanted.group.clone(),
        start: start.into(),
        credit: CREDIT,
        acknowledge,
    };
    let closed = || Failure::Unavailable("the subscription's stream closed".to_owned());
    sender.send(request(subscribe_request::Kind::Open(open))).await.map_err(|_| closed())?;
    let answers = client.subscribe(ReceiverStream::new(receiver)).await;
    let mut answers = answers.map_err(|status| failure(&status))?.into_inner();
    while let Some(answer) = answers.message().await.map_err(|status| failure(&status))? {
        match answer.kind {
            Some(subscribe_response::Kind::Opened(_)) => put(queue, Incoming::Open { via: Via::Grpc }).await,
            Some(subscribe_response::Kind::Deliveries(batch)) => {
                let messages = u32::try_from(batch.deliveries.len()).unwrap_or(CREDIT);
                let ids = batch.deliveries.iter().map(|delivery| delivery.id).collect();
                for delivery in batch.deliveries {
                    put(queue, incoming(delivery)).await;
                }
                if acknowledge {
                    let ack = subscribe_request::Ack { deliveries: ids };
                    sender.send(request(subscribe_request::Kind::Ack(ack))).await.map_err(|_| closed())?;
                }
                let credit = subscribe_request::Credit { messages };
                sender.send(request(subscribe_request::Kind::Credit(credit))).await.map_err(|_| closed())?;
            }
            Some(subscribe_response::Kind::Gap(gap)) => {
                put(queue, Incoming::Gap { via: Via::Grpc, messages: gap.messages, reason: gap.reason })
                    .await;
            }
            Some(subscribe_response::Kind::End(end)) => return Err(Failure::Unavailable(end.reason)),
            None => {}
        }
    }
    Err(closed())
}

/// Waits for room; when nobody takes any more, the process is ending.
async fn put(queue: &mpsc::Sender<Incoming>, incoming: Incoming) {
    if queue.send(incoming).await.is_err() {
        tracing::trace!("nobody takes messages any more");
    }
}

fn incoming(delivery: subscribe_response::Delivery) -> Incoming {
    let place = delivery.position.as_ref().map(position).unwrap_or_default();
    let message = delivery.message.unwrap_or_default();
    let message = Received {
        subject: text(&message.subject),
        key: message.key.as_ref().map(|key| text(key)),
        payload: join(&message.parts),
        position: place,
    };
    Incoming::Message { via: Via::Grpc, message }
}
