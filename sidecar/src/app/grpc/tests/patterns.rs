//! Acks of Channels, and both sides of RequestReply.

use super::*;
use proto::messaging::serve_request::{self, Kind as ServeKind};
use proto::messaging::subscribe_request::Ack;

struct Server {
    asks: mpsc::Sender<wire::ServeRequest>,
    answers: Streaming<wire::ServeResponse>,
}

impl Server {
    async fn start(client: &mut MessagingClient<Channel>, name: &str, credit: u32) -> Self {
        let (asks, receiver) = mpsc::channel(16);
        let open = ServeKind::Open(serve_request::Open { name: name.into(), credit });
        asks.send(wire::ServeRequest { kind: Some(open) }).await.unwrap();
        let serving = soon(client.serve(ReceiverStream::new(receiver))).await.unwrap();
        Self { asks, answers: serving.into_inner() }
    }

    async fn next(&mut self) -> wire::ServeResponse {
        soon(self.answers.message()).await.unwrap().expect("a request")
    }

    async fn say(&self, kind: ServeKind) {
        self.asks.send(wire::ServeRequest { kind: Some(kind) }).await.unwrap();
    }
}

fn request(name: &str, part: &str) -> wire::RequestRequest {
    wire::RequestRequest {
        name: name.into(),
        message: Some(message("a", part)),
        ..wire::RequestRequest::default()
    }
}

async fn deliveries(subscription: &mut Subscription) -> Vec<(u64, u32)> {
    match subscription.next().await.unwrap() {
        Some(Kind::Deliveries(Deliveries { deliveries })) => {
            deliveries.iter().map(|delivery| (delivery.id, delivery.attempt)).collect()
        }
        other => panic!("instead of deliveries: {other:?}"),
    }
}

/// Goal: with acknowledge Required a nacked delivery comes again under another id and with its attempt, an acked one does
/// not; and who does not ask for it cannot nack.
#[tokio::test]
async fn channels_take_acks_and_nacks() {
    let stage = Stage::open().await;
    let mut client = client(&stage).await;
    let open = Open { name: "channels/jobs".into(), credit: 100, acknowledge: true, ..Open::default() };
    let mut subscription = Subscription::start(&mut client, Ask::Open(open.clone())).await;
    assert!(matches!(subscription.next().await, Ok(Some(Kind::Opened(_)))));
    let messages = vec![message("a", "1"), message("a", "2")];
    let published = wire::PublishRequest { name: "channels/jobs".into(), messages };
    soon(client.publish(published)).await.unwrap();
    let mut came = Vec::new();
    while came.len() < 2 {
        came.extend(deliveries(&mut subscription).await);
    }
    assert_eq!(came, [(1, 1), (2, 1)]);
    subscription.ask(Ask::Ack(Ack { deliveries: vec![1] })).await;
    subscription.ask(Ask::Nack(Nack { deliveries: vec![2, 77], delay_ms: 10 })).await;
    assert_eq!(deliveries(&mut subscription).await, [(3, 2)]);
    subscription.ask(Ask::Ack(Ack { deliveries: vec![3] })).await;

    let unasked = Open { acknowledge: false, ..open.clone() };
    let mut other = Subscription::start(&mut client, Ask::Open(unasked)).await;
    assert!(matches!(other.next().await, Ok(Some(Kind::Opened(_)))));
    other.ask(Ask::Nack(Nack { deliveries: vec![1], delay_ms: 0 })).await;
    assert!(other.next().await.unwrap_err().message().contains("open with acknowledge"));
    let with_prefix = Open { prefixes: vec![Bytes::from_static(b"a")], ..open };
    let status = Subscription::start(&mut client, Ask::Open(with_prefix)).await.next().await.unwrap_err();
    assert!(status.code() == Code::InvalidArgument && status.message().contains("prefixes"), "{status}");
}

/// Goal: requests reach the one who serves, credit bounds them, and message or problem come back to the one who asked.
#[tokio::test]
async fn requests_are_answered() {
    let stage = Stage::open().await;
    let mut client = client(&stage).await;
    let mut asker = client.clone();
    let mut server = Server::start(&mut client, "channels/asking", 1).await;
    let serving = async {
        let first = server.next().await;
        assert!(first.timeout_ms > 0 && first.timeout_ms <= 5000, "{}", first.timeout_ms);
        let text = first.message.unwrap().parts[0].clone();
        assert_eq!(&text[..], b"one");
        let reply = serve_request::Reply { id: first.id, message: Some(message("b", "eins")), problem: None };
        server.say(ServeKind::Reply(reply)).await;
        server.say(ServeKind::Credit(serve_request::Credit { messages: 1 })).await;
        let second = server.next().await;
        let problem = wire::Problem { code: Code::NotFound as i32, message: "no such thing".into() };
        let reply = serve_request::Reply { id: second.id, message: None, problem: Some(problem) };
        server.say(ServeKind::Reply(reply)).await;
        // The stream stays open until the answers are there.
        server
    };
    let asking = async {
        let answer = soon(asker.request(request("channels/asking", "one"))).await.unwrap().into_inner();
        assert_eq!(&answer.message.unwrap().parts[0][..], b"eins");
        soon(asker.request(request("channels/asking", "two"))).await.unwrap_err()
    };
    let (server, refused) = tokio::join!(serving, asking);
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, "no such thing"));
    drop(server);
}

/// Goal: requests without anybody to answer, over a Topic, and over another pattern are refused, each with its reason.
#[tokio::test]
async fn senseless_requests_are_refused() {
    let stage = Stage::open().await;
    let mut client = client(&stage).await;
    for (name, code, text) in [
        ("channels/asking", Code::Unavailable, "no responders"),
        ("channels/prices", Code::InvalidArgument, "use Publish"),
        ("channels/closed", Code::PermissionDenied, "spec.access.publish"),
        ("topics/orders", Code::InvalidArgument, "RequestReply"),
    ] {
        let status = soon(client.request(request(name, "one"))).await.unwrap_err();
        assert_eq!(status.code(), code, "{name}: {status}");
        assert!(status.message().contains(text), "{status}");
    }
    for (name, credit, text) in [
        ("channels/prices", 1, "use Subscribe"),
        ("channels/asking", 0, "credit"),
        ("topics/orders", 1, "Channels"),
    ] {
        let mut server = Server::start(&mut client, name, credit).await;
        let status = soon(server.answers.message()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{name}: {status}");
        assert!(status.message().contains(text), "{status}");
    }
}
