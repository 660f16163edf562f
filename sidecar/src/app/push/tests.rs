//! A real HTTP server as the app, whose answers the test gives.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use runtime::shutdown::Shutdown;
use runtime::tasks::{OnError, Tasks};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::app::testing::{self, Stage, channel, soon};
use crate::durable::tests as durable;
use crate::messaging::{Message, ProblemKind};

/// One request at the app, which waits for its answer.
struct Call {
    headers: HeaderMap,
    body: Bytes,
    answer: oneshot::Sender<Response<Body>>,
}

impl Call {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn answer(self, status: u16) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        self.answer.send(response).unwrap();
    }
}

struct App {
    calls: mpsc::Receiver<Call>,
    address: SocketAddr,
    tasks: Tasks,
}

impl Drop for App {
    fn drop(&mut self) {
        self.tasks.shutdown().begin();
    }
}

impl App {
    async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let (sender, calls) = mpsc::channel(100);
        let handler = |State(sender): State<mpsc::Sender<Call>>, request: Request<Body>| async move {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let (answer, answered) = oneshot::channel();
            sender.send(Call { headers: head.headers, body, answer }).await.unwrap();
            answered.await.unwrap()
        };
        let service = axum::Router::new().route("/in", axum::routing::post(handler)).with_state(sender);
        let tasks = Tasks::new(Shutdown::new());
        let ending = tasks.shutdown().clone();
        drop(tasks.spawn("app", OnError::Log, async move {
            axum::serve(listener, service).with_graceful_shutdown(async move { ending.begun().await }).await
        }));
        Self { calls, address, tasks }
    }

    fn push(&self, stage: &Stage, name: &str, options: &str) {
        push(stage, name, self.address, options);
    }

    async fn next(&mut self) -> Call {
        soon(self.calls.recv()).await.expect("a call")
    }
}

fn push(stage: &Stage, name: &str, app: SocketAddr, options: &str) {
    start(&stage.doors, vec![format!("{name}=http://{app}/in{options}").parse().unwrap()]);
}

fn text(text: &str) -> Message {
    Message { parts: vec![Bytes::copy_from_slice(text.as_bytes())], ..Message::default() }
}

/// Publishes once the pusher has subscribed.
async fn publish(stage: &Stage, name: &str, messages: Vec<Message>) {
    let name = channel("shop", name);
    until(|| stage.has_subscriber(&name)).await;
    stage.doors.channels.publish(&name, messages).await.unwrap();
}

async fn until(mut done: impl FnMut() -> bool) {
    soon(async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn pushed(stage: &Stage, name: &str, outcome: &str) -> u64 {
    stage.doors.metrics.pushes.with_label_values(&["channel", "shop", name, outcome]).get()
}

/// Goal: messages come one after the other, with what they are and where they come from, whatever the app thinks of them.
#[tokio::test]
async fn messages_are_posted_in_order() {
    let stage = Stage::open().await;
    let mut app = App::start().await;
    app.push(&stage, "channels/prices", "");
    let whole = Message {
        subject: Bytes::from_static(b"EURUSD"),
        key: Some(Bytes::from_static(b"k")),
        headers: vec![("ce-id".to_owned(), Bytes::from_static(b"7"))],
        parts: vec![Bytes::from_static(b"ab"), Bytes::from_static(b"cde")],
        ..Message::default()
    };
    publish(&stage, "prices", vec![whole, text("second"), text("third")]).await;
    let call = app.next().await;
    assert_eq!((call.text(), call.header("pinnace-part-sizes")), ("abcde", "2,3"));
    for (name, value) in [
        ("pinnace-subject", "EURUSD"),
        ("pinnace-key", "k"),
        ("ce-id", "7"),
        ("pinnace-sequence", "1"),
        ("pinnace-publisher", "shop/web-0"),
        ("pinnace-attempt", "1"),
    ] {
        assert_eq!(call.header(name), value, "{name}");
    }
    assert!(app.calls.try_recv().is_err(), "one at a time");
    call.answer(204);
    let call = app.next().await;
    assert_eq!(call.text(), "second");
    // Nobody acknowledges here, so it does not come again.
    call.answer(500);
    let call = app.next().await;
    assert_eq!(call.text(), "third");
    call.answer(200);
    until(|| pushed(&stage, "prices", "done") >= 2).await;
    let dropped = ["channel", "shop", "prices", "push_failed"];
    assert_eq!(stage.doors.metrics.dropped.with_label_values(&dropped).get(), 1);
    assert_eq!(pushed(&stage, "prices", "failed"), 1);
}

/// Goal: an app without time gets the same message again, when it asks for it, and nothing overtakes it.
#[tokio::test]
async fn an_app_without_time_is_asked_again() {
    let stage = Stage::open().await;
    let mut app = App::start().await;
    app.push(&stage, "channels/prices", "");
    publish(&stage, "prices", vec![text("first"), text("second")]).await;
    for status in [429, 503] {
        let call = app.next().await;
        assert_eq!(call.text(), "first");
        call.answer(status);
    }
    let call = app.next().await;
    let began = runtime::clock::now();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    response.headers_mut().insert("retry-after", http::HeaderValue::from_static("1"));
    call.answer.send(response).unwrap();
    for expected in ["first", "second"] {
        let call = app.next().await;
        assert_eq!(call.text(), expected);
        call.answer(200);
    }
    assert!(runtime::clock::now() - began >= Duration::from_secs(1), "as long as it asked for");
    assert_eq!(pushed(&stage, "prices", "later"), 3);
}

/// Goal: an app that starts late gets what was published before.
#[tokio::test]
async fn an_app_that_is_not_there_is_waited_for() {
    let stage = Stage::open().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    push(&stage, "channels/prices", address, "");
    publish(&stage, "prices", vec![text("first")]).await;
    until(|| pushed(&stage, "prices", "unreachable") >= 1).await;
    let mut app = App::on(TcpListener::bind(address).await.unwrap());
    let call = app.next().await;
    assert_eq!(call.text(), "first");
    call.answer(200);
}

/// Goal: where messages are acknowledged, one that fails comes again and says which attempt it is; one that the app does
/// not answer fails too.
#[tokio::test]
async fn work_that_fails_comes_again() {
    let stage = Stage::open().await;
    let mut app = App::start().await;
    app.push(&stage, "channels/jobs", "#timeoutMs=200");
    publish(&stage, "jobs", vec![text("job")]).await;
    let call = app.next().await;
    assert_eq!(call.header("pinnace-attempt"), "1");
    call.answer(500);
    let unanswered = app.next().await;
    assert_eq!(unanswered.header("pinnace-attempt"), "2");
    let call = app.next().await;
    assert_eq!((call.header("pinnace-attempt"), call.text()), ("3", "job"));
    call.answer(200);
    drop(unanswered.answer.send(Response::new(Body::empty())));
}

/// Goal: as many messages are at the app as it can do at once, and no more.
#[tokio::test]
async fn concurrency_is_the_credit() {
    let stage = Stage::open().await;
    let mut app = App::start().await;
    app.push(&stage, "channels/prices", "#concurrency=3");
    publish(&stage, "prices", (0..5).map(|number| text(&number.to_string())).collect()).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(app.next().await);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(app.calls.try_recv().is_err(), "three are there already");
    open.remove(0).answer(200);
    open.push(app.next().await);
    assert_eq!(open.len(), 3);
    for call in open {
        call.answer(200);
    }
    app.next().await.answer(200);
}

/// Goal: a Topic is pushed with its place in the log, in order.
#[tokio::test]
async fn topics_are_pushed_too() {
    let bench = durable::bench(1);
    let topics = durable::view_with(1);
    let view = crate::view::View { topics: topics.topics, broker: topics.broker, ..testing::view() };
    let stage = Stage::with(view, Some(bench.topics.clone())).await;
    let mut app = App::start().await;
    app.push(&stage, "topics/orders", "#group=billing");
    // A group without a place begins with what comes once it stands.
    let publishing = async {
        for number in 0_u32.. {
            bench.topics.publish(&durable::orders(), vec![text(&number.to_string())]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let taking = async {
        let first = app.next().await;
        let number: u32 = first.text().parse().unwrap();
        assert_eq!((first.header("pinnace-offset"), first.header("pinnace-partition")), (first.text(), "0"));
        // It fails, and comes again after those that are behind it.
        first.answer(500);
        let mut seen = Vec::new();
        while !seen.contains(&(number, "2".to_owned())) {
            let call = app.next().await;
            seen.push((call.text().parse().unwrap(), call.header("pinnace-attempt").to_owned()));
            call.answer(200);
        }
        assert_eq!(seen.first(), Some(&(number + 1, "1".to_owned())));
    };
    tokio::select! {
        () = taking => {}
        () = publishing => unreachable!("it does not end"),
    }
}

/// Goal: a request is answered by the app's answer; an app that fails or is not there fails the request.
#[tokio::test]
async fn requests_are_answered() {
    let stage = Stage::open().await;
    let mut app = App::start().await;
    app.push(&stage, "channels/asking", "#concurrency=2");
    let name = channel("shop", "asking");
    let ask = |message| stage.doors.channels.request(&name, message, None, false);
    let (reply, ()) = tokio::join!(ask(text("how much?")), async {
        let call = app.next().await;
        assert_eq!(call.text(), "how much?");
        let mut response = Response::new(Body::from("42"));
        response.headers_mut().insert("ce-id", http::HeaderValue::from_static("9"));
        call.answer.send(response).unwrap();
    });
    let reply = reply.unwrap();
    assert_eq!(reply.parts, [Bytes::from_static(b"42")]);
    assert_eq!(reply.headers, [("ce-id".to_owned(), Bytes::from_static(b"9"))]);
    for (status, kind) in [(500, ProblemKind::Internal), (503, ProblemKind::Unavailable)] {
        let (reply, ()) = tokio::join!(ask(text("and now?")), async { app.next().await.answer(status) });
        assert_eq!(reply.unwrap_err().kind, kind);
    }
}

/// Goal: a sidecar that ends waits for the message that is at the app, and takes no more.
#[tokio::test]
async fn what_is_at_the_app_is_waited_for() {
    let stage = Stage::open().await;
    let mut app = App::start().await;
    app.push(&stage, "channels/jobs", "");
    publish(&stage, "jobs", vec![text("first"), text("second")]).await;
    let call = app.next().await;
    stage.doors.tasks.shutdown().begin();
    tokio::time::sleep(Duration::from_millis(50)).await;
    call.answer(200);
    until(|| pushed(&stage, "jobs", "done") >= 1).await;
    assert!(app.calls.try_recv().is_err());
}
