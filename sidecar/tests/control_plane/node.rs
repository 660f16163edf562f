//! One whole sidecar, and what an app beside it does.

use super::fake::{DEADLINE, Fake};
use clap::Parser as _;
use proto::messaging::messaging_client::MessagingClient;
use proto::messaging::{Message, PublishRequest, SubscribeRequest, subscribe_request, subscribe_response};
use runtime::shutdown::Shutdown;
use runtime::tasks::{OnError, Tasks};
use sidecar::args::Args;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

pub(crate) struct Node {
    tasks: Tasks,
    shutdown: Shutdown,
    app: SocketAddr,
    admin: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Node {
    /// Starts `shop/POD` as the service account `shop/ACCOUNT` and waits until its doors are open and it is ready.
    pub(crate) async fn start(fake: &Fake, pod: &str, account: &str, state: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (token, ready) = (folder.path().join("token"), folder.path().join("ready"));
        std::fs::write(&token, format!("shop/{account}")).unwrap();
        let own_state = folder.path().join("state");
        let state = state.unwrap_or(&own_state);
        let args = Args::try_parse_from([
            "pinnace-sidecar".to_owned(),
            format!("--name=shop/{pod}"),
            "--namespace=shop".to_owned(),
            "--app-listen=127.0.0.1:0".to_owned(),
            "--kafka-listen=127.0.0.1:0".to_owned(),
            "--peer-listen=127.0.0.1:0".to_owned(),
            "--admin-listen=127.0.0.1:0".to_owned(),
            format!("--control={}", fake.address),
            "--control-server-name=operator.test".to_owned(),
            format!("--trust-bundle={}", fake.bundle()),
            format!("--token-file={}", token.display()),
            format!("--state-dir={}", state.display()),
            format!("--ready-file={}", ready.display()),
        ])
        .unwrap();
        let tasks = Tasks::new(Shutdown::new());
        let shutdown = Shutdown::new();
        drop(tasks.spawn("sidecar", OnError::Log, sidecar::run::run(args, shutdown.clone())));
        let opened = wait_for_file(&ready).await;
        let address = |name: &str| opened[name].as_str().unwrap().parse().unwrap();
        let node = Self { app: address("app"), admin: address("admin"), tasks, shutdown, _folder: folder };
        node.wait_until_ready().await;
        node
    }

    async fn wait_until_ready(&self) {
        let wait = async {
            while !self.admin("/ready").await.starts_with("HTTP/1.1 200") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(tokio::time::timeout(DEADLINE, wait).await.is_ok(), "{}", self.admin("/ready").await);
    }

    pub(crate) async fn stop(self) {
        self.shutdown.begin();
        assert_eq!(self.tasks.drain(DEADLINE).await, 0, "the sidecar ends in order");
    }

    pub(crate) async fn admin(&self, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(self.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn app(&self) -> MessagingClient<Channel> {
        MessagingClient::connect(format!("http://{}", self.app)).await.unwrap()
    }

    pub(crate) async fn publish(&self, texts: &[&str]) {
        let message = |text: &&str| Message { parts: vec![text.to_string().into()], ..Message::default() };
        let messages: Vec<Message> = texts.iter().map(message).collect();
        let count = messages.len();
        let request = PublishRequest { name: "channels/prices".to_owned(), messages };
        let answer = self.app().await.publish(request).await.unwrap().into_inner();
        assert_eq!(answer.positions.len(), count);
    }

    pub(crate) async fn publish_until_received(&self, subscription: &mut Subscription) {
        let unique = format!("{:x}", runtime::random::number());
        let wait = async {
            loop {
                self.publish(&[&unique]).await;
                if subscription.try_next().await.is_some_and(|text| text == unique) {
                    return;
                }
            }
        };
        assert!(tokio::time::timeout(DEADLINE, wait).await.is_ok(), "nothing arrives");
    }

    pub(crate) async fn subscribe(&self, credit: u32) -> Subscription {
        let (requests, receiver) = mpsc::channel(8);
        let open =
            subscribe_request::Open { name: "channels/prices".to_owned(), credit, ..Default::default() };
        let open = SubscribeRequest { kind: Some(subscribe_request::Kind::Open(open)) };
        requests.send(open).await.unwrap();
        let mut client = self.app().await;
        let answers = client.subscribe(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Subscription { requests, answers, texts: VecDeque::new() }
    }
}

async fn wait_for_file(path: &Path) -> serde_json::Value {
    let wait = async {
        loop {
            if let Ok(text) = std::fs::read_to_string(path) {
                return serde_json::from_str(&text).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("the ready file is written")
}

/// An app's subscription over gRPC.
pub(crate) struct Subscription {
    requests: mpsc::Sender<SubscribeRequest>,
    answers: Streaming<proto::messaging::SubscribeResponse>,
    texts: VecDeque<String>,
}

impl Subscription {
    /// The next message, if one comes soon; credit goes back.
    pub(crate) async fn try_next(&mut self) -> Option<String> {
        if let Some(text) = self.texts.pop_front() {
            return Some(text);
        }
        let answer = tokio::time::timeout(Duration::from_millis(100), self.answers.message()).await.ok()?;
        let kind = answer.expect("the subscription stands")?.kind?;
        if let subscribe_response::Kind::Deliveries(deliveries) = kind {
            let messages = u32::try_from(deliveries.deliveries.len()).unwrap();
            for delivery in deliveries.deliveries {
                let part = delivery.message.unwrap().parts.remove(0);
                self.texts.push_back(String::from_utf8(part.to_vec()).unwrap());
            }
            let credit = subscribe_request::Kind::Credit(subscribe_request::Credit { messages });
            self.requests.send(SubscribeRequest { kind: Some(credit) }).await.unwrap();
        }
        self.texts.pop_front()
    }
}
