//! How much may be asked at once, and how large it may be.

use std::collections::BTreeSet;

use super::*;

/// Requests of one socket that wait for a reply.
const REQUESTS_MAX: usize = 1024;

/// So many requests are there, and no more come.
async fn exactly(serving: &mut Serving, count: usize) -> Vec<ServeEvent> {
    let open = requests(serving, count).await;
    assert_eq!(open.len(), count);
    tokio::select! {
        biased;
        () = tokio::time::sleep(Duration::from_millis(200)) => {}
        more = serving.next() => panic!("{} more", more.unwrap().len()),
    }
    open
}

/// Goal: a DEALER has so many requests open and is then not read; nothing of it is lost.
#[tokio::test]
async fn a_dealer_that_asks_too_much_waits() {
    let stage = Stage::open().await;
    stage.change(|view| view.channels.get_mut(&asking()).unwrap().buffer_messages = 100 * REQUESTS_MAX);
    let mut serving = server(&stage, 1_000_000).await;
    let mut dealer = app(&stage, "asking.dealer", SocketType::Dealer).await.ready().await;
    let all = 3 * REQUESTS_MAX;
    for number in 0..all {
        dealer.session.send_message(&[Bytes::new(), Bytes::from(number.to_string())]);
    }
    dealer.flush().await;
    let mut open = exactly(&mut serving, REQUESTS_MAX).await;
    let mut answered = BTreeSet::new();
    while answered.len() < all {
        for request in open.drain(..) {
            serving.reply(request.id, Ok(request.message));
        }
        tokio::select! {
            more = serving.next() => open = more.unwrap(),
            frames = frames(&mut dealer) => assert!(answered.insert(frames[1].clone())),
        }
    }
}

/// Goal: large requests are held back by their bytes, before the buffer is full.
#[tokio::test]
async fn large_requests_are_held_back_by_their_bytes() {
    let stage = Stage::open().await;
    let mut serving = server(&stage, 1_000_000).await;
    let mut dealer = app(&stage, "asking.dealer", SocketType::Dealer).await.ready().await;
    let large = Bytes::from(vec![7; MESSAGE_BYTES_MAX / 2]);
    for _ in 0..20 {
        dealer.session.send_message(&[Bytes::new(), large.clone()]);
    }
    // The door reads no more than a part of it; the rest goes out as replies come.
    let answering = async {
        let mut open = exactly(&mut serving, 8).await;
        // Without it, as many again would wait in the buffer.
        let published = stage.doors.metrics.published.with_label_values(&["channel", "shop", "asking"]);
        assert_eq!(published.get(), 8);
        for _ in 0..20 {
            if open.is_empty() {
                open = serving.next().await.unwrap();
            }
            let request = open.remove(0);
            serving.reply(request.id, Ok(parts(vec![])));
        }
    };
    let asking = async {
        for _ in 0..20 {
            assert_eq!(frames(&mut dealer).await, bytes(&["", ""]));
        }
    };
    soon(async { tokio::join!(answering, asking) }).await;
    counted(&stage.doors.metrics.unanswered, "resource_exhausted", 0).await;
}

/// Goal: sockets that together ask for more than the buffer holds wait for room, and nothing of it is lost.
#[tokio::test]
async fn many_who_ask_wait_for_room() {
    let stage = Stage::open().await;
    let mut serving = server(&stage, 1_000_000).await;
    let mut dealers = Vec::new();
    for _ in 0..4 {
        let mut dealer = app(&stage, "asking.dealer", SocketType::Dealer).await.ready().await;
        for _ in 0..BUFFER_MESSAGES {
            dealer.session.send_message(&bytes(&["", "x"]));
        }
        dealer.flush().await;
        dealers.push(dealer);
    }
    // All of them are asked, or wait for room, before the first is answered.
    let first = requests(&mut serving, BUFFER_MESSAGES).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let answering = async {
        let mut answered = 0;
        let mut more = first;
        loop {
            answered += more.len();
            for request in more {
                serving.reply(request.id, Ok(request.message));
            }
            if answered == 4 * BUFFER_MESSAGES {
                return;
            }
            more = serving.next().await.unwrap();
        }
    };
    let reading = async {
        for dealer in &mut dealers {
            for _ in 0..BUFFER_MESSAGES {
                assert_eq!(frames(dealer).await, bytes(&["", "x"]));
            }
        }
    };
    soon(async { tokio::join!(answering, reading) }).await;
}

/// Goal: a DEALER that does not read its replies is not read either, and gets all of them later.
#[tokio::test]
async fn a_dealer_that_does_not_read_waits() {
    let stage = Stage::open().await;
    let mut serving = server(&stage, 1_000_000).await;
    let mut dealer = app(&stage, "asking.dealer", SocketType::Dealer).await.ready().await;
    let (all, large) = (3 * BUFFER_MESSAGES, Bytes::from(vec![7; 10_000]));
    for _ in 0..all {
        dealer.session.send_message(&bytes(&["", "x"]));
    }
    dealer.flush().await;
    let mut answered = 0;
    while let Ok(more) = tokio::time::timeout(Duration::from_millis(300), serving.next()).await {
        for request in more.unwrap() {
            serving.reply(request.id, Ok(parts(vec![large.clone()])));
            answered += 1;
        }
    }
    assert!(answered < all, "nothing held it back");
    let answering = async {
        while answered < all {
            for request in serving.next().await.unwrap() {
                serving.reply(request.id, Ok(parts(vec![large.clone()])));
                answered += 1;
            }
        }
    };
    let reading = async {
        for _ in 0..all {
            assert_eq!(frames(&mut dealer).await, [Bytes::new(), large.clone()]);
        }
    };
    soon(async { tokio::join!(answering, reading) }).await;
}

/// Goal: the Channel's limit is on what is said, both ways, and not on the envelope; what is above it fails alone.
#[tokio::test]
async fn sizes_up_to_the_limit() {
    let stage = Stage::open().await;
    let mut rep = app(&stage, "asking.rep", SocketType::Rep).await;
    let limits = zmtp::Limits { message_bytes_max: 2 * MESSAGE_BYTES_MAX, ..zmtp::Limits::default() };
    let roomy = |socket_type| Config { limits, ..Config::new(socket_type) };
    rep.session = Session::new(roomy(SocketType::Rep), clock::now().into_std());
    let mut rep = rep.ready().await;
    let mut req = app(&stage, "asking.req", SocketType::Req).await;
    req.session = Session::new(roomy(SocketType::Req), clock::now().into_std());
    let mut req = req.ready().await;
    for length in [0, 1, 255, 256, 65_536, MESSAGE_BYTES_MAX] {
        let body = Bytes::from(vec![7; length]);
        tell(&mut req, &[Bytes::from_static(b"1234"), Bytes::new(), body.clone()]).await;
        let request = frames(&mut rep).await;
        assert!(request[2] == body, "{length}");
        tell(&mut rep, &request).await;
        assert!(frames(&mut req).await[2] == body, "{length}");
    }
    let above = Bytes::from(vec![7; MESSAGE_BYTES_MAX + 1]);
    tell(&mut req, &[Bytes::new(), above.clone()]).await;
    counted(&stage.doors.metrics.unanswered, "invalid_argument", 1).await;
    tell(&mut req, &bytes(&["", "x"])).await;
    let request = frames(&mut rep).await;
    tell(&mut rep, &[request[0].clone(), Bytes::new(), above]).await;
    counted(&stage.doors.metrics.unanswered, "invalid_argument", 2).await;
}
