//! Topics through the doors: the same calls as for Channels, with a log behind them.

use bytes::Bytes;
use proto::messaging as wire;
use proto::messaging::messaging_client::MessagingClient;
use proto::messaging::subscribe_request::{Ack, Kind as Ask, Nack, Open, Start};
use proto::messaging::subscribe_response::{Delivery, Kind};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::testing::{self, Stage, soon};
use crate::durable::tests as durable;

/// Doors with the Topic `shop/orders` of one partition behind them.
async fn stage() -> (Stage, durable::Bench) {
    let bench = durable::bench(1);
    let topics = durable::view_with(1);
    let view = crate::view::View { topics: topics.topics, broker: topics.broker, ..testing::view() };
    (Stage::with(view, Some(bench.topics.clone())).await, bench)
}

fn message(part: String) -> wire::Message {
    wire::Message { parts: vec![Bytes::from(part)], ..wire::Message::default() }
}

/// One request as text; the answer up to where it stops coming.
async fn http(stage: &Stage, request: &str, until: &str) -> String {
    let mut stream = TcpStream::connect(stage.opened.listen.unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    soon(async {
        while !String::from_utf8_lossy(&answer).contains(until) {
            assert!(
                stream.read_buf(&mut answer).await.unwrap() > 0,
                "it ended: {}",
                String::from_utf8_lossy(&answer)
            );
        }
    })
    .await;
    String::from_utf8(answer).unwrap()
}

async fn deliveries(answers: &mut Streaming<wire::SubscribeResponse>, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        match soon(answers.message()).await.unwrap().and_then(|answer| answer.kind) {
            Some(Kind::Opened(_)) => {}
            Some(Kind::Deliveries(batch)) => taken.extend(batch.deliveries),
            other => panic!("instead of deliveries: {other:?}"),
        }
    }
    taken
}

/// Goal: a Topic is published to and read over HTTP; its position has a partition and an offset,
/// and no publisher.
#[tokio::test]
async fn topics_over_http() {
    let (stage, _bench) = stage().await;
    let post =
        "POST /v1/topics/orders HTTP/1.1\r\nhost: a\r\npinnace-key: k\r\ncontent-length: 5\r\n\r\nhello";
    let answer = http(&stage, post, "}").await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), json!({"partition": 0, "offset": 0}));
    let get = "GET /v1/topics/orders/messages?start=earliest&group=g HTTP/1.1\r\nhost: a\r\n\r\n";
    let answer = http(&stage, get, "hello").await;
    let line = answer.lines().find(|line| line.starts_with('{')).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        (&line["key"], &line["parts"], &line["position"]["offset"]),
        (&json!("k"), &json!(["hello"]), &json!(0))
    );
}

/// Goal: over gRPC, many ordered requests are on their way at once and keep their order; a group
/// with acks gets a refused message again, with the attempt counted.
#[tokio::test]
async fn topics_over_grpc() {
    let (stage, _bench) = stage().await;
    let mut client = MessagingClient::connect(stage.url()).await.unwrap();
    let requests = (0..200_u64).map(|id| wire::PublishStreamRequest {
        id,
        name: "topics/orders".into(),
        messages: vec![message(format!("{id}a")), message(format!("{id}b"))],
    });
    let answers = soon(client.publish_stream(tokio_stream::iter(requests))).await.unwrap();
    let mut answers = answers.into_inner();
    for id in 0..200 {
        let answer = soon(answers.message()).await.unwrap().unwrap();
        let offsets: Vec<i64> = answer.positions.iter().map(|position| position.offset).collect();
        let first = i64::try_from(id * 2).unwrap();
        assert_eq!((answer.id, offsets, answer.problem), (id, vec![first, first + 1], None));
    }
    let (asks, receiver) = mpsc::channel(4);
    let open = Open {
        name: "topics/orders".into(),
        group: "billing".into(),
        start: i32::from(Start::Earliest),
        credit: 500,
        acknowledge: true,
        ..Open::default()
    };
    asks.send(wire::SubscribeRequest { kind: Some(Ask::Open(open)) }).await.unwrap();
    let mut answers = soon(client.subscribe(ReceiverStream::new(receiver))).await.unwrap().into_inner();
    let taken = deliveries(&mut answers, 400).await;
    let parts: Vec<Bytes> =
        taken.iter().map(|delivery| delivery.message.as_ref().unwrap().parts[0].clone()).collect();
    assert!(
        parts
            .iter()
            .zip(0..400)
            .all(|(part, index)| *part == format!("{}{}", index / 2, ["a", "b"][index % 2]))
    );
    let nack = Ask::Nack(Nack { deliveries: vec![taken[7].id], delay_ms: 10 });
    asks.send(wire::SubscribeRequest { kind: Some(nack) }).await.unwrap();
    let again = deliveries(&mut answers, 1).await;
    assert_eq!((again[0].attempt, &again[0].message), (2, &taken[7].message));
    let ack =
        Ask::Ack(Ack { deliveries: taken.iter().map(|delivery| delivery.id).chain([again[0].id]).collect() });
    asks.send(wire::SubscribeRequest { kind: Some(ack) }).await.unwrap();
}
