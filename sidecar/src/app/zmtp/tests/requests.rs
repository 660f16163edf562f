//! REQ and DEALER, REP and ROUTER: the sockets of a RequestReply Channel, here `shop/asking`.

mod limits;

use futures::future::join_all;
use tokio::net::TcpListener;

use super::*;
use crate::messaging::{Message, Problem, ProblemKind, ServeEvent, Serving};

fn asking() -> crate::messaging::ChannelName {
    channel("shop", "asking")
}

async fn server(stage: &Stage, credit: u32) -> Serving {
    stage.doors.channels.serve(&asking(), credit).await.unwrap()
}

/// So many requests, as they came.
async fn requests(serving: &mut Serving, count: usize) -> Vec<ServeEvent> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(soon(serving.next()).await.expect("the serve goes on"));
    }
    all
}

fn parts(parts: Vec<Bytes>) -> Message {
    Message { parts, ..Message::default() }
}

async fn ask(stage: &Stage, frames: &[&'static str]) -> Result<Message, Problem> {
    stage.doors.channels.request(&asking(), parts(bytes(frames)), None, false).await
}

async fn frames<S: AsyncRead + AsyncWrite + Unpin>(app: &mut App<S>) -> Vec<Bytes> {
    match app.next().await {
        Ok(Some(Event::Message(frames))) => frames,
        other => panic!("{other:?}"),
    }
}

async fn tell<S: AsyncRead + AsyncWrite + Unpin>(app: &mut App<S>, frames: &[Bytes]) {
    app.session.send_message(frames);
    app.flush().await;
}

fn set_timeout(stage: &Stage, timeout: Duration) {
    stage.change(|view| view.channels.get_mut(&asking()).unwrap().request_timeout = timeout);
}

/// Waits until as many of `reason` are counted.
async fn counted(counter: &prometheus::IntCounterVec, reason: &str, count: u64) {
    let counter = counter.with_label_values(&["channel", "shop", "asking", reason]);
    soon(async {
        while counter.get() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(counter.get(), count, "{reason}");
}

/// Goal: what a REQ says are the parts of a request, with empty ones in their places; the reply comes behind its
/// envelope, and one without parts as an empty frame.
#[tokio::test]
async fn a_req_asks_and_is_answered() {
    let stage = Stage::open().await;
    let mut serving = server(&stage, 10).await;
    let mut req = app(&stage, "asking.req", SocketType::Req).await.ready().await;
    for (said, answer, wanted) in [
        (&["", "a"][..], &["b"][..], &["", "b"][..]),
        (&["", "a", "", "b"], &["", "c", ""], &["", "", "c", ""]),
        // With ZMQ_REQ_CORRELATE there is a number in front.
        (&["\0\0\x01\0", "", ""], &[], &["\0\0\x01\0", "", ""]),
    ] {
        tell(&mut req, &bytes(said)).await;
        let request = requests(&mut serving, 1).await.remove(0);
        let body = said.iter().position(|frame| frame.is_empty()).unwrap() + 1;
        assert_eq!(request.message.parts, bytes(&said[body..]));
        serving.reply(request.id, Ok(parts(bytes(answer))));
        serving.grant(1);
        assert_eq!(frames(&mut req).await, bytes(wanted));
    }
}

/// Goal: the replies of a DEALER come in whatever order they are given, each behind the envelope of its own request,
/// and without one where the request had none.
#[tokio::test]
async fn a_dealer_gets_replies_in_any_order() {
    let stage = Stage::open().await;
    let mut serving = server(&stage, 10).await;
    let mut dealer = app(&stage, "asking.dealer", SocketType::Dealer).await.ready().await;
    for said in [&["1", "", "one"][..], &["hop", "2", "", "two"], &["", "three"], &["bare", "four"]] {
        dealer.session.send_message(&bytes(said));
    }
    dealer.flush().await;
    for request in requests(&mut serving, 4).await.into_iter().rev() {
        serving.reply(request.id, Ok(request.message));
    }
    for wanted in [&["bare", "four"][..], &["", "three"], &["hop", "2", "", "two"], &["1", "", "one"]] {
        assert_eq!(frames(&mut dealer).await, bytes(wanted));
    }
}

/// Goal: a REP has one request at a time, behind an envelope, and its reply goes to who asked.
#[tokio::test]
async fn a_rep_goes_in_lock_step() {
    let stage = Stage::open().await;
    let mut rep = app(&stage, "asking.rep", SocketType::Rep).await.ready().await;
    let asked = join_all([ask(&stage, &["1"]), ask(&stage, &["2", "", "x"]), ask(&stage, &[])]);
    let answering = async {
        for wanted in [&["1"][..], &["2", "", "x"], &[""]] {
            let mut request = frames(&mut rep).await;
            assert_eq!((request[0].len(), request[1].len()), (8, 0));
            assert_eq!(request[2..], bytes(wanted));
            tokio::select! {
                biased;
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
                other = rep.next() => panic!("{other:?}"),
            }
            request.push(Bytes::from_static(b"re"));
            tell(&mut rep, &request).await;
        }
    };
    let (replies, ()) = soon(async { tokio::join!(asked, answering) }).await;
    let replies: Vec<Vec<Bytes>> = replies.into_iter().map(|reply| reply.unwrap().parts).collect();
    assert_eq!(replies, [bytes(&["1", "re"]), bytes(&["2", "", "x", "re"]), bytes(&["", "re"])]);
}

/// Goal: a ROUTER has many requests and answers in any order; replies that answer nothing are counted and do no harm.
#[tokio::test]
async fn a_router_answers_in_any_order() {
    let stage = Stage::open().await;
    let mut router = app(&stage, "asking.router", SocketType::Router).await.ready().await;
    let asked = join_all((0..100).map(|_| ask(&stage, &["x"])));
    let answering = async {
        let mut all = Vec::new();
        while all.len() < 100 {
            all.push(frames(&mut router).await);
        }
        let first = all[0].clone();
        for strange in
            [bytes(&["x"]), bytes(&["", "x"]), bytes(&["12345678", "", "x"]), bytes(&["1", "2", "", "x"])]
        {
            router.session.send_message(&strange);
        }
        for mut request in all.into_iter().rev() {
            let id = request[0].clone();
            request.push(id);
            router.session.send_message(&request);
        }
        // A second answer to the same request.
        router.session.send_message(&first);
        router.flush().await;
    };
    let (replies, ()) = soon(async { tokio::join!(asked, answering) }).await;
    let ids: std::collections::BTreeSet<Bytes> =
        replies.into_iter().map(|reply| reply.unwrap().parts.remove(1)).collect();
    assert_eq!(ids.len(), 100);
    counted(&stage.doors.metrics.dropped, "unknown_reply", 4).await;
    counted(&stage.doors.metrics.dropped, "late_reply", 1).await;
}

/// Goal: requests that a ROUTER never answers do not use up its room for ever.
#[tokio::test]
async fn a_router_may_leave_requests_unanswered() {
    let stage = Stage::open().await;
    set_timeout(&stage, Duration::from_millis(300));
    let mut router = app(&stage, "asking.router", SocketType::Router).await.ready().await;
    let reading = async {
        loop {
            let request = frames(&mut router).await;
            if request[2] == "answer" {
                tell(&mut router, &request).await;
            }
        }
    };
    let asking = async {
        for _ in 0..3 {
            for outcome in join_all((0..500).map(|_| ask(&stage, &["ignore"]))).await {
                assert_eq!(outcome.unwrap_err().kind, ProblemKind::DeadlineExceeded);
            }
        }
        ask(&stage, &["answer"]).await.unwrap()
    };
    soon(async {
        tokio::select! {
            () = reading => {}
            reply = asking => assert_eq!(reply.parts, bytes(&["answer"])),
        }
    })
    .await;
}

/// Goal: a REP that dies in the middle of a request fails that request at once, and the next one gets the others.
#[tokio::test]
async fn a_rep_that_dies_fails_its_request() {
    let stage = Stage::open().await;
    let mut rep = app(&stage, "asking.rep", SocketType::Rep).await.ready().await;
    let dying = async {
        frames(&mut rep).await;
        drop(rep);
    };
    let (failed, ()) = soon(async { tokio::join!(ask(&stage, &["x"]), dying) }).await;
    let problem = failed.unwrap_err();
    assert_eq!(problem.kind, ProblemKind::Unavailable, "{problem}");
    let mut next = app(&stage, "asking.rep", SocketType::Rep).await.ready().await;
    let answering = async {
        let request = frames(&mut next).await;
        tell(&mut next, &request).await;
    };
    let (reply, ()) = soon(async { tokio::join!(ask(&stage, &["y"]), answering) }).await;
    assert_eq!(reply.unwrap().parts, bytes(&["y"]));
}

/// Goal: a request that fails has no reply and is counted by its reason; the socket goes on.
#[tokio::test]
async fn failed_requests_are_counted() {
    let stage = Stage::open().await;
    set_timeout(&stage, Duration::from_millis(200));
    let unanswered = stage.doors.metrics.unanswered.clone();
    let mut dealer = app(&stage, "asking.dealer", SocketType::Dealer).await.ready().await;
    tell(&mut dealer, &bytes(&["", "nobody is there"])).await;
    counted(&unanswered, "unavailable", 1).await;
    let mut serving = server(&stage, 10).await;
    tell(&mut dealer, &bytes(&["", "ignored"])).await;
    requests(&mut serving, 1).await;
    counted(&unanswered, "deadline_exceeded", 1).await;
    tell(&mut dealer, &bytes(&["", "refused"])).await;
    let request = requests(&mut serving, 1).await.remove(0);
    serving.reply(request.id, Err(Problem::new(ProblemKind::PermissionDenied, "no")));
    counted(&unanswered, "permission_denied", 1).await;
    let long = Bytes::from(vec![7; zmtp::ENVELOPE_BYTES_MAX + 1]);
    tell(&mut dealer, &[long, Bytes::new(), Bytes::from_static(b"x")]).await;
    counted(&unanswered, "envelope_too_large", 1).await;
    // What ZMQ_PROBE_ROUTER sends.
    tell(&mut dealer, &bytes(&[""])).await;
    counted(&stage.doors.metrics.dropped, "nothing_asked", 1).await;
    tell(&mut dealer, &bytes(&["", "answered"])).await;
    let request = requests(&mut serving, 1).await.remove(0);
    serving.reply(request.id, Ok(request.message));
    assert_eq!(frames(&mut dealer).await, bytes(&["", "answered"]));
    // An end that the app brings about while it waits: flags that there are not.
    tell(&mut dealer, &bytes(&["", "open"])).await;
    requests(&mut serving, 1).await;
    dealer.stream.write_all(b"\x08\0").await.unwrap();
    counted(&unanswered, "closed", 1).await;
}

/// Goal: a REQ may ask before anybody is there to answer, as with a socket that is not connected yet.
#[tokio::test]
async fn a_req_may_be_there_first() {
    let stage = Stage::open().await;
    let mut req = app(&stage, "asking.req", SocketType::Req).await.ready().await;
    tell(&mut req, &bytes(&["", "early"])).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut rep = app(&stage, "asking.rep", SocketType::Rep).await.ready().await;
    let request = frames(&mut rep).await;
    tell(&mut rep, &request).await;
    assert_eq!(frames(&mut req).await, bytes(&["", "early"]));
}

/// Goal: each socket takes the one type that it is for, and says which one; who may not is told so.
#[tokio::test]
async fn other_types_are_refused() {
    let stage = Stage::open().await;
    for (socket, ours, others) in [
        ("asking.req", SocketType::Req, [SocketType::Dealer, SocketType::Router]),
        ("asking.dealer", SocketType::Dealer, [SocketType::Req, SocketType::Router]),
        ("asking.rep", SocketType::Rep, [SocketType::Dealer, SocketType::Router]),
        ("asking.router", SocketType::Router, [SocketType::Rep, SocketType::Dealer]),
    ] {
        drop(app(&stage, socket, ours).await.ready().await);
        for other in others {
            let mut wrong = app(&stage, socket, other).await;
            let told = loop {
                match wrong.next().await {
                    Ok(Some(Event::Ready(_))) => {}
                    told => break told,
                }
            };
            let wanted = format!("use {ours}");
            assert!(
                matches!(&told, Err(SessionError::Peer(reason)) if reason.ends_with(&wanted)),
                "{other} at {socket}: {told:?}"
            );
        }
    }
    stage.change(|view| {
        let known = view.channels.get_mut(&asking()).unwrap();
        (known.may_publish, known.may_subscribe) = (false, false);
    });
    for (socket, socket_type, field) in [
        ("asking.req", SocketType::Req, "spec.access.publish"),
        ("asking.router", SocketType::Router, "spec.access.subscribe"),
    ] {
        let told = app(&stage, socket, socket_type).await.next().await;
        assert!(matches!(&told, Err(SessionError::Peer(reason)) if reason.contains(field)), "{told:?}");
    }
}

/// Goal: when the Channel goes, what was asked before is still answered, at both ends.
#[tokio::test]
async fn open_requests_are_answered_at_the_end() {
    let stage = Stage::open().await;
    let mut rep = app(&stage, "asking.rep", SocketType::Rep).await.ready().await;
    let mut req = app(&stage, "asking.req", SocketType::Req).await.ready().await;
    tell(&mut req, &bytes(&["", "last"])).await;
    let request = frames(&mut rep).await;
    stage.doors.tasks.shutdown().begin();
    tokio::time::sleep(Duration::from_millis(50)).await;
    tell(&mut rep, &request).await;
    assert_eq!(frames(&mut req).await, bytes(&["", "last"]));
    drop((rep, req));
    assert_eq!(soon(stage.doors.tasks.drain(Duration::from_secs(30))).await, 0);
}

/// Goal: the extra TCP door is the same door.
#[tokio::test]
async fn a_dealer_may_come_over_tcp() {
    let stage = Stage::open().await;
    let mut serving = server(&stage, 10).await;
    let stream = TcpStream::connect(stage.opened.zmq_listen[1]).await.unwrap();
    let mut dealer = App::new(stream, SocketType::Dealer).ready().await;
    tell(&mut dealer, &bytes(&["", "x"])).await;
    let request = requests(&mut serving, 1).await.remove(0);
    serving.reply(request.id, Ok(request.message));
    assert_eq!(frames(&mut dealer).await, bytes(&["", "x"]));
}

/// Goal: sockets of the app that bind are connected to, also after the app has started again.
#[tokio::test]
async fn bound_sockets_ask_and_answer() {
    let stage = Stage::open().await;
    let mut listeners = Vec::new();
    for role in ["rep", "dealer"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = format!("asking.{role}=tcp://{}", listener.local_addr().unwrap());
        crate::app::zmtp::connect(&stage.doors, vec![target.parse().unwrap()]);
        listeners.push(listener);
    }
    for _ in 0..2 {
        let (stream, _) = soon(listeners[0].accept()).await.unwrap();
        let mut rep = App::new(stream, SocketType::Rep).ready().await;
        let (stream, _) = soon(listeners[1].accept()).await.unwrap();
        let mut dealer = App::new(stream, SocketType::Dealer).ready().await;
        tell(&mut dealer, &bytes(&["1", "", "x"])).await;
        let request = frames(&mut rep).await;
        tell(&mut rep, &request).await;
        assert_eq!(frames(&mut dealer).await, bytes(&["1", "", "x"]));
    }
}
