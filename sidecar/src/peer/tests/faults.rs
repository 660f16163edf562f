//! Connections that break, freeze, or speak nonsense.

use super::mesh::*;
use crate::delivery::{Asked, Waker};
use crate::messaging::{ChannelEvent, ProblemKind, SubscribeOptions};
use crate::peer::ALPN;
use crate::peer::listen::carry;
use crate::view::{Acknowledge, ChannelView};
use peer_wire::{Credit, Resume, Subscribe};
use runtime::tasks::OnError;
use runtime::tls::Expect;
use rustls_pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use testkit::certificates::TestAuthority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Goal: while both processes live, a connection that is cut again and again loses, doubles and reorders nothing.
#[tokio::test]
async fn cut_connections_lose_nothing() {
    let view = ChannelView { buffer_messages: 100_000, buffer_bytes: 64 << 20, ..channel() };
    let (publisher, subscriber, proxy) = proxied(view).await;
    let mut subscription = subscriber.subscribe(500).await;
    publisher.wait_for_guests(1).await;
    let publishing = async {
        for batch in 0..400_u64 {
            publisher.publish(batch * 50..(batch + 1) * 50).await;
            if batch % 80 == 40 {
                proxy.cut();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let mut seen = Seen::default();
    tokio::join!(publishing, seen.take_total(&mut subscription, 20_000));
    assert_eq!(seen.numbers, (0..20_000).collect::<Vec<_>>());
    assert!(seen.gaps.is_empty(), "{:?}", seen.gaps);
}

/// Goal: what does not fit the buffer while the subscriber is away never holds the publisher up, and is told exactly
/// when it comes back.
#[tokio::test]
async fn what_overflows_while_away_is_told() {
    let view = ChannelView { buffer_messages: 100, ..channel() };
    let (publisher, subscriber, proxy) = proxied(view).await;
    let mut subscription = subscriber.subscribe(1000).await;
    publisher.wait_for_guests(1).await;
    publisher.publish(0..50).await;
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 50).await;
    proxy.freeze();
    proxy.cut();
    for first in (50..1050).step_by(50) {
        publisher.publish(first..first + 50).await;
    }
    proxy.thaw();
    seen.take_total(&mut subscription, 1050).await;
    assert_eq!(seen.total(), 1050);
    assert!(seen.numbers.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(seen.gaps.iter().all(|gap| gap.3 == "disconnected"), "{:?}", seen.gaps);
}

/// Goal: what a subscriber is told that it missed is what its publisher counts, when it was away for longer than its queue
/// was kept: what overflowed meanwhile, what waited then, what was under way, and what came after; also when it goes and
/// comes back once more.
#[tokio::test]
async fn what_is_told_is_counted() {
    for buffer_messages in [1000, 20] {
        let (publisher, subscriber, proxy) = proxied(ChannelView { buffer_messages, ..channel() }).await;
        let mut subscription = subscriber.subscribe(1000).await;
        publisher.wait_for_guests(1).await;
        let mut seen = Seen::default();
        let labels = ["channel", "shop", "prices", "disconnected"];
        let dropped = publisher.core.metrics().dropped.with_label_values(&labels);
        for round in 0..2 {
            let first = round * 100;
            publisher.publish(first..first + 10).await;
            seen.take_total(&mut subscription, first + 10).await;
            proxy.kill();
            publisher.publish(first + 10..first + 20).await;
            // From here on its publisher knows that it is away.
            let accepted = publisher.core.metrics().peer_connections.with_label_values(&["accepted"]);
            let noticed = async {
                while accepted.get() > 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(DEADLINE, noticed).await.expect("the connection is lost");
            for batch in [20..30, 30..40, 40..50] {
                publisher.publish(first + batch.start..first + batch.end).await;
            }
            let forgotten = async {
                while publisher.core.guest_count() > 0 {
                    publisher.core.forget_away();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(DEADLINE, forgotten).await.expect("it is away");
            publisher.publish(first + 50..first + 90).await;
            proxy.thaw();
            publisher.wait_for_guests(1).await;
            publisher.publish(first + 90..first + 100).await;
            seen.take_total(&mut subscription, first + 100).await;
            let told: u64 = seen.gaps.iter().map(|gap| gap.2).sum();
            assert_eq!(told, (round + 1) * 80, "{buffer_messages}: {:?}", seen.gaps);
            assert_eq!(dropped.get(), told, "{buffer_messages}: {:?}", seen.gaps);
        }
    }
}

/// Goal: a peer that vanished without a word is noticed by heartbeats, and the new connection goes on where the old
/// one stood.
#[tokio::test]
async fn a_frozen_connection_is_replaced() {
    let (publisher, subscriber, proxy) = proxied(channel()).await;
    let mut subscription = subscriber.subscribe(1000).await;
    publisher.wait_for_guests(1).await;
    publisher.publish(0..10).await;
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 10).await;
    proxy.freeze();
    tokio::time::sleep(Duration::from_millis(50)).await;
    proxy.thaw();
    publisher.publish(10..20).await;
    seen.take_total(&mut subscription, 20).await;
    assert_eq!(seen.numbers, (0..20).collect::<Vec<_>>());
    assert!(seen.gaps.is_empty());
}

/// Goal: a publisher that is a new process is a new numbering, and the subscriber is told that something may be lost.
#[tokio::test]
async fn a_restarted_publisher_is_a_new_epoch() {
    let authority = TestAuthority::new();
    let old = Node::start(&authority, "publisher", "pricing").await;
    let subscriber = Node::start(&authority, "subscriber", "billing").await;
    old.show(channel());
    subscriber.show(ChannelView { publishers: vec![old.as_peer()], ..channel() });
    let mut subscription = subscriber.subscribe(1000).await;
    old.wait_for_guests(1).await;
    old.publish(0..10).await;
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 10).await;
    // A process that dies says nothing.
    old.connections.shutdown().begin();
    let new = Node::start(&authority, "publisher", "pricing").await;
    new.show(channel());
    subscriber.show(ChannelView { publishers: vec![new.as_peer()], ..channel() });
    new.wait_for_guests(1).await;
    new.publish(0..10).await;
    let mut again = Seen::default();
    again.take_total(&mut subscription, 10).await;
    assert_eq!(again.numbers, (0..10).collect::<Vec<_>>());
    assert_eq!(again.gaps, [(11, 11, 0, "lost")]);
}

/// Goal: what came from a process that died since, and waits for the app, keeps the numbering of that process: neither
/// its position nor its acknowledgement is taken for one of the new process.
#[tokio::test]
async fn what_waits_for_the_app_stays_of_the_process_that_sent_it() {
    let view = ChannelView { acknowledge: Acknowledge::Required, ..channel() };
    let authority = TestAuthority::new();
    let old = Node::start(&authority, "publisher", "pricing").await;
    let subscriber = Node::start(&authority, "subscriber", "billing").await;
    old.show(view.clone());
    subscriber.show(ChannelView { publishers: vec![old.as_peer()], ..view.clone() });
    let options = SubscribeOptions { credit: 3, acknowledge: true, ..SubscribeOptions::default() };
    let mut subscription = subscriber.channels.subscribe(&prices(), options).await.unwrap();
    old.wait_for_guests(1).await;
    old.publish(0..3).await;
    // The app takes nothing yet: they wait in its sidecar.
    let held = async {
        while subscriber.core.subscribers()[0].held_messages() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, held).await.expect("they came");
    old.connections.shutdown().begin();
    let new = Node::start(&authority, "publisher", "pricing").await;
    new.show(view.clone());
    subscriber.show(ChannelView { publishers: vec![new.as_peer()], ..view });
    new.wait_for_guests(1).await;
    let mut epochs = Vec::new();
    while epochs.len() < 4 {
        for event in tokio::time::timeout(DEADLINE, subscription.next()).await.expect("in time").unwrap() {
            match event {
                ChannelEvent::Message { position, receipt, .. } => {
                    let receipt = receipt.expect("a receipt");
                    assert_eq!(receipt.epoch, position.epoch);
                    subscription.ack(&[receipt]);
                    epochs.push((position.offset, position.epoch));
                }
                ChannelEvent::Gap { first, epoch, .. } => epochs.push((first, epoch)),
                ChannelEvent::End { reason } => panic!("{reason}"),
            }
        }
    }
    let dead = old.core.epoch();
    assert_eq!(epochs, [(1, dead), (2, dead), (3, dead), (4, dead)]);
    // The new process still waits for its own acknowledgement, and its connection stands.
    subscription.grant(3);
    new.publish(0..1).await;
    let events = tokio::time::timeout(DEADLINE, subscription.next()).await.expect("in time").unwrap();
    assert!(
        matches!(&events[..], [ChannelEvent::Message { position, .. }] if position.epoch == new.core.epoch()),
        "{events:?}"
    );
}

/// Goal: two connections may pass each other; a Subscribe that comes after a later one of the same subscription takes
/// nothing from it. It once did, and when its connection ended nobody had the subscription, without a word.
#[tokio::test]
async fn a_subscribe_that_was_overtaken_changes_nothing() {
    let publisher = Node::start(&TestAuthority::new(), "publisher", "pricing").await;
    publisher.show(channel());
    let (identity, sidecar) = ("shop/billing".into(), "shop/subscriber".into());
    let serve = |ordinal: u64, received: Option<u64>, waker: &Arc<Waker>| {
        let epoch = publisher.core.epoch();
        let resume = received.map(|received| Resume { epoch, received });
        let subscribe = Subscribe {
            namespace: "shop".into(),
            name: "prices".into(),
            message_bytes_max: 1000,
            credit_messages: 10,
            credit_bytes: 1000,
            resume,
            replay: false,
            ordinal: Some(ordinal),
            prefixes: Vec::new(),
        };
        publisher.core.serve(Asked {
            distance: peer_wire::Distance::Far,
            identity: &identity,
            sidecar: &sidecar,
            epoch: 7,
            id: 1,
            subscribe,
            waker,
        })
    };
    let (older, newer) = (Arc::default(), Arc::default());
    let served = serve(2, None, &newer).unwrap();
    publisher.publish(0..3).await;
    assert!(!served.is_flushed(), "they wait for the newer connection");
    for received in [None, Some(0)] {
        let problem = serve(1, received, &older).err().expect("it was overtaken");
        assert_eq!(problem.kind, ProblemKind::Unavailable, "{problem}");
    }
    assert!(!served.is_flushed(), "and still do");
    assert!(serve(3, Some(0), &older).is_ok(), "the latest counts");
    assert!(served.is_flushed());
}

/// Goal: a subscriber gives no credit before it has the publisher's answer. The publisher takes credit as a sign that its
/// answer has come: it once began the subscription anew after a lost connection, behind what it had published since.
#[tokio::test]
async fn credit_waits_for_the_answer() {
    let node = Node::start(&TestAuthority::new(), "subscriber", "billing").await;
    node.show(channel());
    let subscription = node.subscribe(10).await;
    let subscriber = node.core.subscribers().remove(0);
    let (sidecar, waker) = ("shop/publisher".into(), Arc::default());
    subscriber.open(&sidecar, 7, &waker);
    subscription.grant(90);
    let owed = || subscriber.owed((&sidecar, &waker), Credit { messages: 10, bytes: 1000 }).credit;
    assert_eq!(owed(), None);
    subscriber.opened((&sidecar, &waker), 3);
    assert_eq!(owed().map(|credit| credit.messages), Some(90));
}

/// Goal: who says goodbye keeps the socket until the other side has read it: what is still written to a closed one is
/// refused, and then its writer reads no more of what it was sent before.
#[tokio::test(start_paused = true)]
async fn a_goodbye_waits_until_it_is_read() {
    let node = Node::start(&TestAuthority::new(), "publisher", "pricing").await;
    node.show(channel());
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    let (core, accepted) = (Arc::clone(&node.core), Arc::default());
    let carried = node.connections.spawn("carried", OnError::Log, async move {
        drop(carry(near, "shop/billing".into(), core, accepted).await);
        Ok::<_, std::convert::Infallible>(())
    });
    far.write_all(b"\0\0\0\x1f\x01\0\0\0\0\0PNCE\0\x01\0\x01\0\0\0\0\0\0\0\x07\0\x07shop/me").await.unwrap();
    node.core.begin_drain();
    let mut answer = Vec::new();
    far.read_to_end(&mut answer).await.unwrap();
    assert!(answer.windows(6).any(|window| window == [12, 0, 0, 0, 0, 0]), "{answer:?}");
    far.write_all(b"\0\0\0\x0e\x0a\0\0\0\0\0\0\0\0\0\0\0\0\x01").await.expect("the socket is still there");
    assert!(!carried.is_finished());
    drop(far);
    tokio::time::timeout(DEADLINE, carried).await.expect("and is closed then").unwrap();
}

/// Goal: callers without a certificate, with nonsense before or after the handshake, are cut off, and those who follow
/// the protocol notice nothing.
#[tokio::test]
async fn hostile_callers_disturb_nobody() {
    let (publisher, _subscriber, mut subscription) = pair(channel(), 1000).await;
    let authority = TestAuthority::new();
    let stranger = credentials(&authority.account("shop", "billing"));
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[0x16, 3, 1, 0xff, 0xff], b""] {
        let mut caller = TcpStream::connect(publisher.address).await.unwrap();
        caller.write_all(bytes).await.unwrap();
        caller.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // An alert, a reset or an end: all are fine, silence is not.
        let ended = tokio::time::timeout(DEADLINE, caller.read_to_end(&mut answer)).await;
        assert!(ended.is_ok());
    }
    // Of another authority.
    let caller = TcpStream::connect(publisher.address).await.unwrap();
    let config = stranger.client_config(Expect::Identity("shop/pricing".parse().unwrap()), &[ALPN]).unwrap();
    let name = ServerName::try_from("peer").unwrap();
    assert!(tokio_rustls::TlsConnector::from(config).connect(name, caller).await.is_err());

    publisher.publish(0..10).await;
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 10).await;
    assert_eq!(seen.numbers, (0..10).collect::<Vec<_>>());
}

/// Goal: a peer with a valid certificate that speaks nonsense is told so and cut off, whatever it claims.
#[tokio::test]
async fn hostile_peers_are_cut_off() {
    let authority = TestAuthority::new();
    let publisher = Node::start(&authority, "publisher", "pricing").await;
    publisher.show(channel());
    let own = credentials(&authority.account("shop", "billing"));
    let hello = b"\0\0\0\x1f\x01\0\0\0\0\0PNCE\0\x01\0\x01\0\0\0\0\0\0\0\x07\0\x07shop/me";
    let mut claims_4_gib = hello.to_vec();
    claims_4_gib.extend_from_slice(b"\xff\xff\xff\xff\x07\0\0\0\0\x01");
    let mut unasked_message = hello.to_vec();
    unasked_message.extend_from_slice(b"\0\0\0\x18\x07\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0");
    let mut huge_control = hello.to_vec();
    huge_control.extend_from_slice(b"\x7f\xff\xff\xff\x02\0\0\0\0\x01");
    let cases = [b"no hello at all, just some text".to_vec(), claims_4_gib, unasked_message, huge_control];
    for bytes in cases {
        let expect = Expect::Identity("shop/pricing".parse().unwrap());
        let config = own.client_config(expect, &[ALPN]).unwrap();
        let stream = TcpStream::connect(publisher.address).await.unwrap();
        let name = ServerName::try_from("peer").unwrap();
        let mut stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "cut off");
        // The last frame is a goodbye with the code for a broken protocol.
        let goodbye = answer.windows(6).any(|window| window == [12, 0, 0, 0, 0, 0]);
        assert!(goodbye, "{answer:?}");
    }
    assert_eq!(publisher.core.guest_count(), 0);
    drop(Arc::clone(&publisher.core));
}

/// Goal: a view that leaves a publisher out for a moment, because it was made before the app subscribed again, costs no
/// message; one that says that it may not be heard cuts it.
#[tokio::test]
async fn a_view_that_is_late_costs_nothing() {
    let (publisher, subscriber, mut subscription) = pair(channel(), 10).await;
    let whole = ChannelView { publishers: vec![publisher.as_peer()], ..channel() };
    publisher.publish(0..5).await;
    subscriber.show(channel());
    publisher.publish(5..10).await;
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 10).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    publisher.publish(10..15).await;
    subscriber.show(whole.clone());
    publisher.publish(15..20).await;
    seen.take_total(&mut subscription, 20).await;
    assert_eq!((seen.numbers, seen.gaps), ((0..20).collect::<Vec<_>>(), vec![]));
    subscriber.show(ChannelView { publisher_identities: Vec::new(), ..whole });
    publisher.wait_for_guests(0).await;
}
