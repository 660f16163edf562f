//! The gRPC door with tonic's own client, over TCP and over the Unix socket.

mod patterns;

use std::time::Duration;

use bytes::Bytes;
use proto::messaging as wire;
use proto::messaging::messaging_client::MessagingClient;
use proto::messaging::subscribe_request::{Credit, Kind as Ask, Nack, Open};
use proto::messaging::subscribe_response::{Deliveries, Kind};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};

use crate::app::testing::{self, Stage, channel, soon};

async fn client(stage: &Stage) -> MessagingClient<Channel> {
    MessagingClient::connect(stage.url()).await.unwrap()
}

fn message(subject: &str, part: &str) -> wire::Message {
    wire::Message {
        subject: Bytes::copy_from_slice(subject.as_bytes()),
        parts: vec![Bytes::copy_from_slice(part.as_bytes())],
        ..wire::Message::default()
    }
}

fn open(name: &str, prefix: &str, credit: u32) -> Ask {
    let prefixes = if prefix.is_empty() { vec![] } else { vec![Bytes::copy_from_slice(prefix.as_bytes())] };
    Ask::Open(Open { name: name.to_owned(), prefixes, credit, ..Open::default() })
}

struct Subscription {
    asks: mpsc::Sender<wire::SubscribeRequest>,
    answers: Streaming<wire::SubscribeResponse>,
}

impl Subscription {
    async fn start(client: &mut MessagingClient<Channel>, first: Ask) -> Self {
        let (asks, receiver) = mpsc::channel(16);
        let subscription = client.subscribe(ReceiverStream::new(receiver));
        asks.send(wire::SubscribeRequest { kind: Some(first) }).await.unwrap();
        let answers = soon(subscription).await.unwrap().into_inner();
        Self { asks, answers }
    }

    async fn ask(&self, kind: Ask) {
        self.asks.send(wire::SubscribeRequest { kind: Some(kind) }).await.unwrap();
    }

    async fn next(&mut self) -> Result<Option<Kind>, tonic::Status> {
        Ok(soon(self.answers.message()).await?.and_then(|answer| answer.kind))
    }

    /// Payloads of deliveries, until there are `count`.
    async fn take(&mut self, count: usize) -> Vec<String> {
        let mut taken = Vec::new();
        while taken.len() < count {
            match self.next().await.unwrap() {
                Some(Kind::Deliveries(Deliveries { deliveries })) => {
                    for delivery in deliveries {
                        let part = delivery.message.unwrap().parts[0].clone();
                        taken.push(String::from_utf8(part.to_vec()).unwrap());
                    }
                }
                other => panic!("instead of deliveries: {other:?}"),
            }
        }
        taken
    }
}

/// Goal: what is published over gRPC arrives over gRPC, filtered by prefix, in order, with
/// everything a message has; each message got its position.
#[tokio::test]
async fn publishes_and_subscribes() {
    let stage = Stage::open().await;
    let mut client = client(&stage).await;
    let mut subscription = Subscription::start(&mut client, open("channels/prices", "eu.", 100)).await;
    assert!(matches!(subscription.next().await, Ok(Some(Kind::Opened(_)))));
    let full = wire::Message {
        key: Some(Bytes::new()),
        headers: vec![wire::Header { name: "a".into(), value: Bytes::from_static(&[0xff]) }],
        parts: vec![Bytes::from_static(b"one"), Bytes::new()],
        timestamp_ms: 5,
        ..message("eu.de", "")
    };
    let messages = vec![message("us.ny", "no"), full.clone(), message("eu.fr", "two")];
    let request = wire::PublishRequest { name: "channels/prices".into(), messages };
    let positions = soon(client.publish(request)).await.unwrap().into_inner().positions;
    assert_eq!(positions.iter().map(|position| position.offset).collect::<Vec<_>>(), [1, 2, 3]);
    let Ok(Some(Kind::Deliveries(Deliveries { deliveries }))) = subscription.next().await else {
        panic!("no deliveries");
    };
    assert_eq!(deliveries[0].message.as_ref(), Some(&full));
    assert_eq!(deliveries[0].position.as_ref(), Some(&positions[1]));
    assert_eq!((deliveries[0].id, deliveries[0].attempt), (1, 1));
    let second = match deliveries.get(1) {
        Some(second) => second.clone(),
        None => match subscription.next().await {
            Ok(Some(Kind::Deliveries(more))) => more.deliveries[0].clone(),
            other => panic!("no second delivery: {other:?}"),
        },
    };
    assert_eq!((second.id, &second.message.unwrap().subject[..]), (2, &b"eu.fr"[..]));
}

/// Goal: the Unix socket is the same door.
#[tokio::test]
async fn the_unix_socket_is_the_same_door() {
    let stage = Stage::open().await;
    let path = stage.folder.path().join("api.sock");
    let connector = tower::service_fn(move |_: http::Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
    });
    let connected =
        Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap();
    let request =
        wire::PublishRequest { name: "channels/ticks.infra".into(), messages: vec![message("a", "b")] };
    let published = soon(MessagingClient::new(connected).publish(request)).await.unwrap();
    assert_eq!(published.into_inner().positions[0].publisher, "shop/web-0");
}

/// Goal: refusals have gRPC's code and name the object and the field.
#[tokio::test]
async fn refusals_have_codes_and_reasons() {
    let stage = Stage::open().await;
    let mut client = client(&stage).await;
    for (name, code, text) in [
        ("channels/closed", Code::PermissionDenied, "spec.access.publish"),
        ("channels/nowhere", Code::NotFound, "shop/nowhere"),
        ("channels/asking", Code::InvalidArgument, "spec.pattern"),
        ("topics/orders", Code::NotFound, "shop/orders"),
        ("prices", Code::InvalidArgument, "channels/NAME"),
    ] {
        let request = wire::PublishRequest { name: name.into(), messages: vec![message("a", "b")] };
        let status = soon(client.publish(request)).await.unwrap_err();
        assert_eq!(status.code(), code, "{name}: {status}");
        assert!(status.message().contains(text), "{status}");
        let mut subscription = Subscription::start(&mut client, open(name, "", 1)).await;
        let status = subscription.next().await.unwrap_err();
        assert_eq!(status.code(), code, "{name}: {status}");
    }
}

/// Goal: subscriptions that make no sense are refused, and so are nacks where nothing is redelivered.
#[tokio::test]
async fn senseless_subscriptions_are_refused() {
    let stage = Stage::open().await;
    let mut client = client(&stage).await;
    let base = Open { name: "channels/prices".into(), credit: 1, ..Open::default() };
    for (first, text) in [
        (Ask::Credit(Credit { messages: 1 }), "must be open"),
        (Ask::Open(Open { credit: 0, ..base.clone() }), "credit"),
        (Ask::Open(Open { credit: 1_000_001, ..base.clone() }), "credit"),
        (Ask::Open(Open { group: "g".into(), ..base.clone() }), "group"),
        (Ask::Open(Open { acknowledge: true, ..base.clone() }), "acknowledge"),
        (Ask::Open(Open { start: 2, ..base.clone() }), "start"),
        (Ask::Open(Open { start: 9, ..base.clone() }), "start"),
        (Ask::Open(Open { prefixes: vec![Bytes::from(vec![0; 9000])], ..base.clone() }), "prefixes"),
    ] {
        let status = Subscription::start(&mut client, first).await.next().await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{text}: {status}");
        assert!(status.message().contains(text), "{status}");
    }
    let mut subscription = Subscription::start(&mut client, Ask::Open(base)).await;
    assert!(matches!(subscription.next().await, Ok(Some(Kind::Opened(_)))));
    subscription.ask(Ask::Nack(Nack { deliveries: vec![1], delay_ms: 0 })).await;
    let status = subscription.next().await.unwrap_err();
    assert!(status.message().contains("spec.delivery.acknowledge"), "{status}");
}

/// Goal: a subscription that starts with the earliest message gets what the Channel keeps, then what comes.
#[tokio::test]
async fn a_late_joiner_gets_what_is_kept() {
    let stage = Stage::open().await;
    let replay = crate::view::Replay { messages: 3, bytes: usize::MAX, time: Duration::MAX };
    stage.change(|view| view.channels.get_mut(&channel("shop", "prices")).unwrap().replay = Some(replay));
    let mut client = client(&stage).await;
    let messages = |range: std::ops::Range<u32>| wire::PublishRequest {
        name: "channels/prices".into(),
        messages: range.map(|index| message("a", &index.to_string())).collect(),
    };
    soon(client.publish(messages(0..5))).await.unwrap();
    let start = i32::from(wire::subscribe_request::Start::Earliest);
    let late = Open { name: "channels/prices".into(), credit: 10, start, ..Open::default() };
    let mut late = Subscription::start(&mut client, Ask::Open(late)).await;
    assert!(matches!(late.next().await, Ok(Some(Kind::Opened(_)))));
    soon(client.publish(messages(5..7))).await.unwrap();
    assert_eq!(late.take(5).await, ["2", "3", "4", "5", "6"]);
}

/// Goal: an ordered stream answers each request in order, by id, and goes on after one that failed.
#[tokio::test]
async fn publish_streams_go_on_after_a_failure() {
    let stage = Stage::open().await;
    let mut client = client(&stage).await;
    let request = |id, name: &str| wire::PublishStreamRequest {
        id,
        name: name.into(),
        messages: vec![message("a", "b"), message("a", "c")],
    };
    let requests = [
        request(7, "channels/prices"),
        request(8, "channels/closed"),
        request(9, "channels/prices"),
        request(10, ""),
    ];
    let answers = soon(client.publish_stream(tokio_stream::iter(requests))).await.unwrap();
    let mut answers = answers.into_inner();
    let mut seen = Vec::new();
    while let Some(answer) = soon(answers.message()).await.unwrap() {
        let offsets: Vec<i64> = answer.positions.iter().map(|position| position.offset).collect();
        seen.push((answer.id, offsets, answer.problem.map(|problem| problem.code)));
    }
    let denied = Some(Code::PermissionDenied as i32);
    assert_eq!(
        seen,
        [(7, vec![1, 2], None), (8, vec![], denied), (9, vec![3, 4], None), (10, vec![5, 6], None)]
    );
}

/// Goal: credit is the only gate: without it nothing comes, with it everything does; and a
/// subscriber that closed its side ends when its credit is used up.
#[tokio::test]
async fn credit_is_the_gate() {
    let stage = Stage::open().await;
    let mut client = client(&stage).await;
    let mut subscription = Subscription::start(&mut client, open("channels/prices", "", 2)).await;
    assert!(matches!(subscription.next().await, Ok(Some(Kind::Opened(_)))));
    let messages = (0..5).map(|index| message("a", &index.to_string())).collect();
    let request = wire::PublishRequest { name: "channels/prices".into(), messages };
    soon(client.publish(request)).await.unwrap();
    assert_eq!(subscription.take(2).await, ["0", "1"]);
    let more = tokio::time::timeout(Duration::from_millis(300), subscription.answers.message()).await;
    assert!(more.is_err(), "delivered past the credit: {more:?}");
    subscription.ask(Ask::Credit(Credit { messages: 3 })).await;
    assert_eq!(subscription.take(3).await, ["2", "3", "4"]);
    drop(std::mem::replace(&mut subscription.asks, mpsc::channel(1).0));
    assert!(matches!(subscription.next().await, Ok(Some(Kind::End(end))) if end.reason.contains("credit")));
    assert!(matches!(subscription.next().await, Ok(None)));
}

/// Goal: a subscription whose permission is taken away ends with the reason.
#[tokio::test]
async fn losing_access_ends_a_subscription() {
    let stage = Stage::open().await;
    let mut client = client(&stage).await;
    let mut subscription = Subscription::start(&mut client, open("channels/prices", "", 2)).await;
    assert!(matches!(subscription.next().await, Ok(Some(Kind::Opened(_)))));
    stage.change(|view| {
        view.channels.get_mut(&channel("shop", "prices")).unwrap().may_subscribe = false;
    });
    assert!(
        matches!(subscription.next().await, Ok(Some(Kind::End(end))) if end.reason.contains("spec.access"))
    );
    assert_eq!(subscription.next().await.unwrap_err().code(), Code::PermissionDenied);
}

/// Goal: a subscriber that reads nothing holds what it was given and no more: the publisher is
/// told, and memory does not follow what is published.
#[tokio::test]
async fn a_stuck_subscriber_costs_a_bounded_amount() {
    let stage = Stage::open().await;
    let mut client = client(&stage).await;
    let stuck = Subscription::start(&mut client, open("channels/prices", "", 1_000_000)).await;
    let part = "x".repeat(10_000);
    let growth = testing::Growth::begin().await;
    let mut published = 0_usize;
    let refused = loop {
        let messages = (0..100).map(|_| message("a", &part)).collect();
        let request = wire::PublishRequest { name: "channels/prices".into(), messages };
        match soon(client.publish(request)).await {
            Ok(_) => published += 100 * part.len(),
            Err(status) => break status,
        }
        assert!(published < 200_000_000, "a stuck subscriber took 200 MB");
    };
    assert_eq!(refused.code(), Code::DeadlineExceeded, "{refused}");
    growth.assert_below(64);
    drop(stuck);
}

/// Goal: a request above the limit is refused by its length, whatever it claims.
#[tokio::test]
async fn large_requests_are_refused() {
    let stage = Stage::open().await;
    let mut client = client(&stage).await;
    let large = wire::Message { parts: vec![Bytes::from(vec![0; 8 << 20])], ..wire::Message::default() };
    let request = wire::PublishRequest { name: "channels/prices".into(), messages: vec![large] };
    let status = soon(client.publish(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    let above = message("a", &"x".repeat(testing::MESSAGE_BYTES_MAX));
    let request = wire::PublishRequest { name: "channels/prices".into(), messages: vec![above] };
    let status = soon(client.publish(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("spec.maxMessageSize"), "{status}");
}
