//! The ZMTP door: hostile peers and refusals with our own client, and pyzmq for the rest.

mod dial;
mod interop;
mod pipeline;
mod requests;

use std::time::Duration;

use bytes::{Buf as _, Bytes};
use runtime::clock;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use zmtp::{Config, Event, Session, SessionError, SocketType};

use super::*;
use crate::app::testing::{
    BUFFER_MESSAGES, Growth, MESSAGE_BYTES_MAX, Stage, channel, message, pub_sub, soon,
};
use crate::messaging::{ChannelEvent, ChannelSubscription, SubscribeOptions};
use crate::view::{Acknowledge, Redeliver};

/// A ZeroMQ app made of our own state machine.
struct App<S> {
    stream: S,
    session: Session,
}

impl<S: AsyncRead + AsyncWrite + Unpin> App<S> {
    fn new(stream: S, socket_type: SocketType) -> Self {
        Self { stream, session: Session::new(Config::new(socket_type), clock::now().into_std()) }
    }

    /// Writes what there is; a door that has closed may still have said why.
    async fn flush(&mut self) {
        while self.session.output().has_remaining() {
            if self.stream.write_buf(self.session.output()).await.is_err() {
                return;
            }
        }
    }

    /// The next event, or why the session ended; `Ok(None)` = the door closed without a word.
    async fn next(&mut self) -> Result<Option<Event>, SessionError> {
        soon(async {
            loop {
                self.flush().await;
                if let Some(event) = self.session.poll_event()? {
                    return Ok(Some(event));
                }
                if self.stream.read_buf(self.session.input()).await.unwrap_or(0) == 0 {
                    return Ok(None);
                }
            }
        })
        .await
    }

    async fn ready(mut self) -> Self {
        let event = self.next().await;
        assert!(matches!(event, Ok(Some(Event::Ready(_)))), "{event:?}");
        self
    }
}

async fn connect(stage: &Stage, name: &str) -> UnixStream {
    let path = stage.folder.path().join("zmq").join(name);
    soon(async {
        loop {
            match UnixStream::connect(&path).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await
}

async fn app(stage: &Stage, name: &str, socket_type: SocketType) -> App<UnixStream> {
    App::new(connect(stage, name).await, socket_type)
}

/// Publishes the first message until the app has it: subscriptions travel without an answer.
async fn until_subscribed<S: AsyncRead + AsyncWrite + Unpin>(stage: &Stage, app: &mut App<S>, subject: &str) {
    let name = channel("shop", "prices");
    let publishing = async {
        loop {
            stage.doors.channels.publish(&name, vec![message(subject, "sync")]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        event = app.next() => assert!(matches!(event, Ok(Some(Event::Message(_)))), "{event:?}"),
        () = publishing => unreachable!(),
    }
}

fn bytes(frames: &[&'static str]) -> Vec<Bytes> {
    frames.iter().map(|frame| Bytes::from_static(frame.as_bytes())).collect()
}

fn refusals(stage: &Stage, reason: &str) -> u64 {
    stage.doors.metrics.door_refusals.with_label_values(&["zmtp", reason]).get()
}

/// Goal: where the Channel asks for it, what a SUB socket has is acknowledged, without another message that follows.
#[tokio::test]
async fn what_a_sub_has_is_acknowledged() {
    const AFTER: Duration = Duration::from_millis(200);
    let stage = Stage::open().await;
    stage.change(|view| {
        let prices = view.channels.get_mut(&channel("shop", "prices")).unwrap();
        prices.acknowledge = Acknowledge::Required;
        prices.redeliver = Redeliver { after: AFTER, attempts: 10 };
    });
    let mut sub = app(&stage, "prices.sub", SocketType::Sub).await.ready().await;
    sub.session.send_subscribe(&Bytes::new());
    until_subscribed(&stage, &mut sub, "sync").await;
    stage.doors.channels.publish(&channel("shop", "prices"), vec![message("a", "once")]).await.unwrap();
    let mut times = 0;
    let reading = async {
        while let Ok(Some(event)) = sub.next().await {
            times += u32::from(event == Event::Message(bytes(&["a", "once"])));
        }
    };
    assert!(tokio::time::timeout(AFTER * 4, reading).await.is_err(), "the door stays open");
    assert_eq!(times, 1);
}

/// Goal: frames and messages are the same thing both ways: first frame = subject, a message of
/// one frame has no parts and comes back as one frame.
#[tokio::test]
async fn frames_and_messages_are_reversible() {
    let stage = Stage::open().await;
    let name = channel("shop", "prices");
    let options = SubscribeOptions {
        prefixes: vec![Bytes::from_static(b"x")],
        credit: 100,
        ..SubscribeOptions::default()
    };
    let mut subscription = stage.doors.channels.subscribe(&name, options).await.unwrap();
    let mut sub = app(&stage, "prices.sub", SocketType::Sub).await.ready().await;
    sub.session.send_subscribe(&Bytes::new());
    until_subscribed(&stage, &mut sub, "sync").await;
    let mut publisher = app(&stage, "prices.pub", SocketType::Pub).await.ready().await;
    assert_eq!(publisher.next().await, Ok(Some(Event::Subscribe(Bytes::new()))));
    let sent =
        [bytes(&["x"]), bytes(&["x", ""]), bytes(&["x1", "a", "", "b"]), bytes(&["", "x"]), bytes(&[""])];
    for frames in &sent {
        publisher.session.send_message(frames);
    }
    publisher.flush().await;
    let mut got = Vec::new();
    while got.len() < sent.len() {
        match sub.next().await {
            Ok(Some(Event::Message(frames))) if frames[0] == "sync" => {}
            Ok(Some(Event::Message(frames))) => got.push(frames),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, sent);
    let mut parts = Vec::new();
    while parts.len() < 3 {
        for event in soon(subscription.next()).await.unwrap() {
            if let ChannelEvent::Message { message, .. } = event {
                parts.push((message.subject, message.parts));
            }
        }
    }
    let wanted = [("x", bytes(&[])), ("x", bytes(&[""])), ("x1", bytes(&["a", "", "b"]))];
    assert_eq!(parts, wanted.map(|(subject, parts)| (Bytes::from_static(subject.as_bytes()), parts)));
}

/// Goal: prefixes are counted, follow the app, and none at all is silence, not everything.
#[tokio::test]
async fn prefixes_follow_the_app() {
    let stage = Stage::open().await;
    let name = channel("shop", "prices");
    let mut sub = app(&stage, "prices.sub", SocketType::Sub).await.ready().await;
    let (eu, us) = (Bytes::from_static(b"eu."), Bytes::from_static(b"us."));
    for prefix in [&eu, &eu, &us] {
        sub.session.send_subscribe(prefix);
    }
    until_subscribed(&stage, &mut sub, "us.").await;
    // One cancel of two: still there. The other prefix goes, and its messages with it.
    sub.session.send_cancel(&eu);
    sub.session.send_cancel(&us);
    sub.flush().await;
    soon(async {
        loop {
            stage
                .doors
                .channels
                .publish(&name, vec![message("us.x", "1"), message("eu.x", "2")])
                .await
                .unwrap();
            let first = sub.next().await.unwrap().unwrap();
            let Event::Message(first) = first else { panic!("{first:?}") };
            if first == bytes(&["eu.x", "2"]) {
                return;
            }
        }
    })
    .await;
    sub.session.send_cancel(&eu);
    sub.session.send_subscribe(&us);
    sub.session.send_cancel(&us);
    sub.flush().await;
    // A PONG comes back behind whatever was still on its way.
    soon(async {
        let mut quiet = 0;
        while quiet < 3 {
            stage.doors.channels.publish(&name, vec![message("eu.x", "3")]).await.unwrap();
            match tokio::time::timeout(Duration::from_millis(50), sub.next()).await {
                Ok(event) => drop(event.unwrap().unwrap()),
                Err(_) => quiet += 1,
            }
        }
    })
    .await;
}

/// Goal: a slow SUB stops its publishers instead of losing messages: what it reads later is whole.
#[tokio::test]
async fn a_slow_subscriber_stops_its_publisher() {
    let stage = Stage::open().await;
    let name = channel("shop", "prices");
    let mut sub = app(&stage, "prices.sub", SocketType::Sub).await.ready().await;
    sub.session.send_subscribe(&Bytes::from_static(b"n"));
    until_subscribed(&stage, &mut sub, "n").await;
    let part = "x".repeat(1000);
    let mut published = 0_usize;
    // More than the credit, the buffer and the sockets hold together.
    let limit = 40 * BUFFER_MESSAGES;
    loop {
        let batch = (0..100).map(|index| message(&format!("n{}", published + index), &part)).collect();
        if stage.doors.channels.publish(&name, batch).await.is_err() {
            break;
        }
        published += 100;
        assert!(published < limit, "nothing stopped the publisher");
    }
    let mut expected = 0;
    while expected < published {
        let Ok(Some(Event::Message(frames))) = sub.next().await else { panic!("the door closed") };
        if frames[0] == "n" {
            continue;
        }
        assert_eq!(frames[0], format!("n{expected}"));
        expected += 1;
    }
}

/// Goal: who may not connect is told why in an ERROR, by object and field; it is counted.
#[tokio::test]
async fn refusals_are_told_and_counted() {
    let stage = Stage::open().await;
    for (socket, socket_type, text) in [
        ("closed.pub", SocketType::Pub, "spec.access.publish"),
        ("closed.sub", SocketType::Sub, "spec.access.subscribe"),
    ] {
        let told = app(&stage, socket, socket_type).await.next().await;
        assert!(
            matches!(&told, Err(SessionError::Peer(reason)) if reason.contains(text)),
            "{socket}: {told:?}"
        );
    }
    assert_eq!(refusals(&stage, "refused"), 2);
    let told = app(&stage, "prices.sub", SocketType::Push).await.next().await;
    let Err(reason) = &told else { panic!("{told:?}") };
    assert!(
        reason.to_string().contains("SUB or XSUB") || matches!(reason, SessionError::SocketType { .. }),
        "{reason}"
    );
    assert_eq!(soon_counted(&stage, "protocol").await, 1);
    // RequestReply has no pub and sub sockets at all.
    assert!(!stage.folder.path().join("zmq/asking.sub").exists());
}

/// The count, once it is there: the door's end of a refusal may come a moment later.
async fn soon_counted(stage: &Stage, reason: &str) -> u64 {
    soon(async {
        while refusals(stage, reason) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        refusals(stage, reason)
    })
    .await
}

/// Goal: sockets are there for both roles with the right mode, come and go with the view, and
/// take their connections with them.
#[tokio::test]
async fn sockets_follow_the_view() {
    use std::os::unix::fs::PermissionsExt as _;
    let stage = Stage::open().await;
    let mut sub = app(&stage, "prices.sub", SocketType::Sub).await.ready().await;
    let folder = stage.folder.path().join("zmq");
    for name in ["prices.pub", "prices.sub", "ticks.infra.pub", "ticks.infra.sub", "closed.pub"] {
        let mode = std::fs::metadata(folder.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666, "{name}");
    }
    stage.change(|view| {
        view.channels.remove(&channel("shop", "prices"));
        view.channels.insert(channel("shop", "news"), pub_sub());
    });
    let ended = sub.next().await;
    assert!(matches!(&ended, Err(SessionError::Peer(_)) | Ok(None)), "{ended:?}");
    drop(app(&stage, "news.pub", SocketType::Pub).await.ready().await);
    assert!(!folder.join("prices.sub").exists() && !folder.join("prices.pub").exists());
    // It comes back in place of what an earlier process may have left.
    std::fs::write(folder.join("left.sub"), "no socket").unwrap();
    stage.change(|view| {
        view.channels.insert(channel("shop", "prices"), pub_sub());
        view.channels.insert(channel("shop", "left"), pub_sub());
    });
    drop(app(&stage, "prices.sub", SocketType::XSub).await.ready().await);
    assert_eq!(std::fs::read(folder.join("left.sub")).unwrap(), b"no socket");
}

/// Goal: the extra TCP door is the same door.
#[tokio::test]
async fn the_tcp_door_is_the_same_door() {
    let stage = Stage::open().await;
    let stream = TcpStream::connect(stage.opened.zmq_listen[0]).await.unwrap();
    let mut sub = App::new(stream, SocketType::Sub).ready().await;
    sub.session.send_subscribe(&Bytes::from_static(b"a"));
    until_subscribed(&stage, &mut sub, "a").await;
}

/// Goal: what an app wrote before the sidecar was told to stop is still published.
#[tokio::test]
async fn the_last_words_of_an_app_are_published() {
    let stage = Stage::open().await;
    let name = channel("shop", "prices");
    let options = SubscribeOptions { prefixes: vec![], credit: 100_000, ..SubscribeOptions::default() };
    let mut subscription = stage.doors.channels.subscribe(&name, options).await.unwrap();
    let mut publisher = app(&stage, "prices.pub", SocketType::Pub).await.ready().await;
    assert_eq!(publisher.next().await, Ok(Some(Event::Subscribe(Bytes::new()))));
    let count = 500;
    for _ in 0..count {
        publisher.session.send_message(&bytes(&["n", "last words"]));
    }
    publisher.flush().await;
    drop(publisher);
    stage.doors.tasks.shutdown().begin();
    let mut seen = 0;
    while seen < count {
        let events = soon(subscription.next()).await.unwrap();
        seen += events.iter().filter(|event| matches!(event, ChannelEvent::Message { .. })).count();
    }
    assert_eq!(soon(stage.doors.tasks.drain(Duration::from_secs(30))).await, 0);
}

/// Goal: hostile bytes end their own connection, cost no memory, and leave the door open.
#[tokio::test]
async fn hostile_bytes_end_their_own_connection() {
    let stage = Stage::open().await;
    let growth = Growth::begin().await;
    let mut greeting = Session::new(Config::new(SocketType::Pub), clock::now().into_std());
    let greeting = greeting.output().copy_to_bytes(64);
    let ready = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03PUB";
    let after = |bytes: &[u8]| [&greeting[..], &ready[..], bytes].concat();
    let mut version_2 = greeting.to_vec();
    version_2[10] = 1;
    let mut curve = greeting.to_vec();
    curve[12..17].copy_from_slice(b"CURVE");
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        version_2,
        curve,
        [&greeting[..], b"\x04\xff"].concat(),
        [&greeting[..], b"\x06\x80\0\0\0\0\0\0\0"].concat(),
        after(b"\x02\0\0\0\x10\0\0\0\0"),
        after(b"\x02\x80\0\0\0\0\0\0\0"),
        after(b"\x08\0"),
        after(&b"\x01\0".repeat(3000)),
    ] {
        let mut stream = connect(&stage, "prices.pub").await;
        // The door may close before all is written.
        drop(stream.write_all(&bytes).await);
        drop(stream.shutdown().await);
        let mut answer = Vec::new();
        drop(soon(stream.read_to_end(&mut answer)).await);
        assert!(answer.len() < 4096, "{} bytes came back", answer.len());
        growth.assert_below(32);
    }
    drop(app(&stage, "prices.pub", SocketType::Pub).await.ready().await);
}

/// Goal: a message above the Channel's limit is refused while its frames come, by name of the limit.
#[tokio::test]
async fn large_messages_are_refused() {
    let stage = Stage::open().await;
    let mut publisher = app(&stage, "prices.pub", SocketType::Pub).await.ready().await;
    assert_eq!(publisher.next().await, Ok(Some(Event::Subscribe(Bytes::new()))));
    let half = Bytes::from(vec![0; MESSAGE_BYTES_MAX / 2 + 1]);
    publisher.session.send_message(&[half.clone(), half]);
    let told = publisher.next().await;
    assert!(matches!(&told, Err(SessionError::Peer(reason)) if reason.contains("1048576")), "{told:?}");
}

/// Goal: Channels have the sockets of their pattern.
#[test]
fn channels_have_the_sockets_of_their_pattern() {
    let names: Vec<String> =
        endpoint::wanted(&crate::app::testing::view()).iter().map(|name| name.file_name("shop")).collect();
    assert_eq!(
        names,
        [
            "ticks.infra.pub",
            "ticks.infra.sub",
            "asking.req",
            "asking.rep",
            "asking.dealer",
            "asking.router",
            "closed.pub",
            "closed.sub",
            "jobs.push",
            "jobs.pull",
            "prices.pub",
            "prices.sub"
        ]
    );
}

/// Goal: a socket that connects late gets what the Channel keeps for the prefixes that it comes with, then what comes.
#[tokio::test]
async fn a_late_socket_gets_what_is_kept() {
    let stage = Stage::open().await;
    let name = channel("shop", "prices");
    let replay = crate::view::Replay { messages: 4, bytes: usize::MAX, time: Duration::MAX };
    stage.change(|view| view.channels.get_mut(&name).unwrap().replay = Some(replay));
    let publish = async |subject: &str, part: &str| {
        stage.doors.channels.publish(&name, vec![message(subject, part)]).await.unwrap();
    };
    for (subject, part) in [("x", "0"), ("x", "1"), ("y", "2"), ("x", "3"), ("y", "4")] {
        publish(subject, part).await;
    }
    let mut sub = app(&stage, "prices.sub", SocketType::Sub).await.ready().await;
    sub.session.send_subscribe(&Bytes::from_static(b"x"));
    let mut got = Vec::new();
    while got.len() < 3 {
        match sub.next().await {
            Ok(Some(Event::Message(frames))) => got.push(frames),
            other => panic!("{other:?}"),
        }
        if got.len() == 2 {
            publish("x", "5").await;
        }
    }
    assert_eq!(got, [bytes(&["x", "1"]), bytes(&["x", "3"]), bytes(&["x", "5"])]);
}
