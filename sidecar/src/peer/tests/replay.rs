//! `spec.delivery.replay`: late joiners and those who were away for too long get what the publisher kept.

use super::mesh::*;
use crate::messaging::{ChannelStart, ProblemKind, Resumed, SubscribeOptions};
use crate::view::{ChannelView, Replay};
use bytes::Bytes;
use std::time::Duration;
use testkit::certificates::TestAuthority;

const LABELS: [&str; 3] = ["channel", "shop", "prices"];

fn keeping(messages: usize) -> ChannelView {
    let replay = Replay { messages, bytes: usize::MAX, time: Duration::MAX };
    ChannelView { replay: Some(replay), ..channel() }
}

/// A publisher that has published, and a node that has not subscribed yet.
async fn before_the_first_subscriber(view: ChannelView, published: u64) -> (Node, Node) {
    let authority = TestAuthority::new();
    let publisher = Node::start(&authority, "publisher", "pricing").await;
    let subscriber = Node::start(&authority, "subscriber", "billing").await;
    publisher.show(view.clone());
    subscriber.show(ChannelView { publishers: vec![publisher.as_peer()], ..view });
    for first in (0..published).step_by(10) {
        publisher.publish(first..first + 10).await;
    }
    (publisher, subscriber)
}

/// Goal: a late joiner, on another pod and on the same one, gets what is kept and then what comes, in order, once, while
/// messages are published all the time.
#[tokio::test]
async fn late_joiners_get_what_is_kept_and_then_what_comes() {
    let (publisher, subscriber) = before_the_first_subscriber(keeping(300), 1000).await;
    let publishing = async {
        for first in (1000..3000).step_by(10) {
            publisher.publish(first..first + 10).await;
            tokio::task::yield_now().await;
        }
    };
    let joining = async {
        let mut seen = (Seen::default(), Seen::default());
        let (mut remote, mut local) =
            (subscriber.subscribe_late(50).await, publisher.subscribe_late(50).await);
        let to_the_end = async |seen: &mut Seen, subscription: &mut _| {
            while seen.numbers.last() != Some(&2999) {
                seen.take(subscription).await;
            }
        };
        tokio::join!(to_the_end(&mut seen.0, &mut remote), to_the_end(&mut seen.1, &mut local));
        seen
    };
    let ((), (remote, local)) = tokio::join!(publishing, joining);
    for seen in [remote, local] {
        let first = seen.numbers[0];
        assert!(first >= 700, "no more than 300 are kept: {first}");
        assert_eq!(seen.numbers, (first..3000).collect::<Vec<_>>());
        assert!(seen.gaps.is_empty(), "{:?}", seen.gaps);
    }
}

/// Goal: exactly what is kept comes, what the filter wants of it, and only to those who ask.
#[tokio::test]
async fn only_those_who_ask_get_what_is_kept() {
    let (publisher, subscriber) = before_the_first_subscriber(keeping(30), 100).await;
    let options = |start| SubscribeOptions {
        prefixes: vec![Bytes::from_static(b"7")],
        credit: 50,
        start,
        ..SubscribeOptions::default()
    };
    let name = prices();
    let subscribe = |start| subscriber.channels.subscribe(&name, options(start));
    let mut late = subscribe(ChannelStart::KeptIfAny).await.unwrap();
    let mut live = subscribe(ChannelStart::Live).await.unwrap();
    publisher.wait_for_guests(2).await;
    publisher.publish(100..110).await;
    let (mut seen_late, mut seen_live) = (Seen::default(), Seen::default());
    seen_late.take_total(&mut late, 4).await;
    seen_live.take_total(&mut live, 1).await;
    assert_eq!((seen_late.numbers, seen_live.numbers), (vec![77, 87, 97, 107], vec![107]));
    let kept = publisher.core.metrics().replay_messages.with_label_values(&LABELS);
    assert_eq!(kept.get(), 30);
}

/// Goal: what is kept does not hold publishers up under Block, however slow the late joiner is.
#[tokio::test]
async fn a_slow_late_joiner_has_its_whole_buffer_besides() {
    let view = ChannelView { buffer_messages: 10, ..keeping(500) };
    let (publisher, subscriber) = before_the_first_subscriber(view, 500).await;
    let mut late = subscriber.subscribe_late(1).await;
    publisher.wait_for_guests(1).await;
    publisher.publish(500..510).await;
    let mut seen = Seen::default();
    seen.take_total(&mut late, 510).await;
    assert_eq!(seen.numbers, (0..510).collect::<Vec<_>>());
}

/// Goal: a subscriber that was away for longer than its queue was kept gets what the publisher still has, and the rest as
/// one exact gap, which the publisher counts.
#[tokio::test]
async fn who_was_away_for_too_long_gets_the_rest() {
    let view = ChannelView { buffer_messages: 10_000, ..keeping(500) };
    let (publisher, subscriber, proxy) = proxied(view).await;
    let mut subscription = subscriber.subscribe(1000).await;
    publisher.wait_for_guests(1).await;
    publisher.publish(0..50).await;
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 50).await;
    proxy.freeze();
    proxy.cut();
    let forgotten = async {
        while publisher.core.guest_count() > 0 {
            publisher.core.forget_away();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, forgotten).await.unwrap();
    for first in (50..1050).step_by(50) {
        publisher.publish(first..first + 50).await;
    }
    proxy.thaw();
    seen.take_total(&mut subscription, 1050).await;
    assert_eq!(seen.gaps, [(51, 550, 500, "disconnected")]);
    assert_eq!(seen.numbers, (0..50).chain(550..1050).collect::<Vec<_>>());
    let [kind, namespace, name] = LABELS;
    let dropped =
        publisher.core.metrics().dropped.with_label_values(&[kind, namespace, name, "disconnected"]);
    assert_eq!(dropped.get(), 500);
}

/// Goal: changes of the view act at once: less is kept, then nothing, and who asks for it then is told which field to
/// change.
#[tokio::test]
async fn the_view_rules_what_is_kept() {
    let (publisher, _subscriber) = before_the_first_subscriber(keeping(300), 100).await;
    let metrics = publisher.core.metrics();
    let kept = async |messages: i64| {
        let wait = async {
            while metrics.replay_messages.with_label_values(&LABELS).get() != messages {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.expect("as many are kept");
    };
    kept(100).await;
    publisher.show(keeping(7));
    kept(7).await;
    let mut late = publisher.subscribe_late(50).await;
    let mut seen = Seen::default();
    seen.take_total(&mut late, 7).await;
    assert_eq!(seen.numbers, (93..100).collect::<Vec<_>>());
    publisher.show(channel());
    kept(0).await;
    assert_eq!(metrics.replay_bytes.with_label_values(&LABELS).get(), 0);
    let options = SubscribeOptions { start: ChannelStart::Kept, credit: 1, ..SubscribeOptions::default() };
    let Err(problem) = publisher.channels.subscribe(&prices(), options).await else {
        panic!("nothing is kept to start from")
    };
    assert_eq!(problem.kind, ProblemKind::InvalidArgument);
    assert!(problem.message.contains("spec.delivery.replay"), "{problem}");
}

/// Goal: what is too old is let go without a publish or a subscriber.
#[tokio::test]
async fn what_is_too_old_is_let_go() {
    let replay = Replay { messages: 1000, bytes: usize::MAX, time: Duration::from_millis(1) };
    let view = ChannelView { replay: Some(replay), ..channel() };
    let (publisher, _subscriber) = before_the_first_subscriber(view, 10).await;
    let gone = async {
        while publisher.core.metrics().replay_messages.with_label_values(&LABELS).get() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.expect("the sweep lets it go");
}

/// Goal: a publisher that starts anew begins with its first message for who was there before, as far as it is kept.
#[tokio::test]
async fn a_new_epoch_is_replayed_from_its_beginning() {
    let authority = TestAuthority::new();
    let old = Node::start(&authority, "publisher", "pricing").await;
    let subscriber = Node::start(&authority, "subscriber", "billing").await;
    old.show(keeping(100));
    subscriber.show(ChannelView { publishers: vec![old.as_peer()], ..keeping(100) });
    let mut subscription = subscriber.subscribe_late(1000).await;
    old.wait_for_guests(1).await;
    old.publish(0..10).await;
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 10).await;
    old.connections.shutdown().begin();
    let new = Node::start(&authority, "publisher", "pricing").await;
    new.show(keeping(100));
    new.publish(0..10).await;
    subscriber.show(ChannelView { publishers: vec![new.as_peer()], ..keeping(100) });
    let mut again = Seen::default();
    again.take_total(&mut subscription, 10).await;
    assert_eq!(again.numbers, (0..10).collect::<Vec<_>>());
    assert_eq!(again.gaps, [(11, 11, 0, "lost")], "what the old one had left");
}

/// Goal: an app that names what it has gets what comes after it, from a publisher of another pod and of its own, and a
/// gap for what is not kept any more.
#[tokio::test]
async fn an_app_goes_on_where_it_was() {
    let (publisher, subscriber) = before_the_first_subscriber(keeping(30), 100).await;
    for node in [&subscriber, &publisher] {
        for (received, gaps, first) in [(80, vec![], 80), (50, vec![(51, 70, 20, "disconnected")], 70)] {
            let resumed = Resumed {
                publisher: publisher.core.sidecar().clone(),
                epoch: publisher.core.epoch(),
                received,
            };
            let options =
                SubscribeOptions { credit: 50, resumed: vec![resumed], ..SubscribeOptions::default() };
            let mut subscription = node.channels.subscribe(&prices(), options).await.unwrap();
            let mut seen = Seen::default();
            seen.take_total(&mut subscription, 100 - received).await;
            assert_eq!((seen.numbers, seen.gaps), ((first..100).collect::<Vec<_>>(), gaps));
        }
    }
}

/// Goal: an app that names a publisher's earlier process is told that something may be lost.
#[tokio::test]
async fn an_app_that_was_with_another_process_is_told() {
    let (publisher, subscriber) = before_the_first_subscriber(keeping(30), 10).await;
    for node in [&subscriber, &publisher] {
        let resumed = Resumed { publisher: publisher.core.sidecar().clone(), epoch: 7, received: 5 };
        let options = SubscribeOptions {
            credit: 50,
            resumed: vec![resumed],
            start: ChannelStart::KeptIfAny,
            ..SubscribeOptions::default()
        };
        let mut subscription = node.channels.subscribe(&prices(), options).await.unwrap();
        let mut seen = Seen::default();
        seen.take_total(&mut subscription, 10).await;
        assert_eq!(seen.gaps, [(6, 6, 0, "lost")]);
        assert_eq!(seen.numbers, (0..10).collect::<Vec<_>>());
    }
}
