//! `deadLetter`: what used up its attempts goes to a Topic, and is lost to no broker that is away.

use super::acks::{by_app, required};
use super::mesh::*;
use crate::durable::tests::{bench, options, orders, take, view_with};
use crate::durable::{Settings, Start};
use crate::messaging::{ChannelEvent, Message, ProblemKind};
use crate::view::{ChannelView, Pattern, Redeliver, View};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::certificates::TestAuthority;

fn hopeless(pattern: Pattern) -> ChannelView {
    ChannelView {
        dead_letter: Some(orders()),
        redeliver: Redeliver { after: DEADLINE, attempts: 2 },
        ..required(pattern)
    }
}

/// A publisher with that broker, and a subscriber beside it.
async fn two(view: &ChannelView, broker: Settings) -> [Node; 2] {
    let authority = TestAuthority::new();
    let publisher = Node::start_with(&authority, ("publisher", "pricing"), broker).await;
    let subscriber = Node::start(&authority, "subscriber", "billing").await;
    publisher.show_with(view.clone(), view_with(1));
    subscriber.show(ChannelView { publishers: vec![publisher.as_peer()], ..view.clone() });
    [publisher, subscriber]
}

const LABELS: [&str; 3] = ["channel", "shop", "prices"];

/// Counted as dropped, because no attempt was left.
fn dropped(node: &Node) -> u64 {
    let [kind, namespace, name] = LABELS;
    let labels = [kind, namespace, name, "attempts_exhausted"];
    node.core.metrics().dropped.with_label_values(&labels).get()
}

/// Messages with everything that a message may have.
fn whole(count: u64) -> Vec<Message> {
    let message = |number: u64| Message {
        key: Some(Bytes::from(format!("key {number}"))),
        headers: vec![("ce-id".to_owned(), Bytes::from_static(b"1"))],
        parts: vec![Bytes::from(number.to_string()), Bytes::from_static(b"second")],
        timestamp_ms: 1_700_000_000_000,
        ..Message::default()
    };
    (0..count).map(message).collect()
}

/// Publishes, and refuses everything that comes, until all of it was given up.
async fn refuse(subscriber: &Node, publisher: &Node, sent: Vec<Message>) {
    let mut subscription = by_app(subscriber, 100).await;
    publisher.wait_for_guests(1).await;
    let messages = sent.len() as u64;
    publisher.channels.publish(&prices(), sent).await.unwrap();
    let mut told = 0;
    while told < messages {
        let events = tokio::time::timeout(DEADLINE, subscription.next()).await.expect("in time").unwrap();
        for event in events {
            match event {
                ChannelEvent::Message { receipt, .. } => {
                    subscription.nack(&[receipt.expect("a receipt")], Duration::ZERO);
                    subscription.grant(1);
                }
                ChannelEvent::Gap { messages, reason, .. } => {
                    assert_eq!(reason, "attempts_exhausted");
                    told += messages;
                }
                ChannelEvent::End { reason } => panic!("{reason}"),
            }
        }
    }
}

async fn settle(node: &Node, written: u64) {
    let wait = async {
        let metrics = node.core.metrics();
        while metrics.dead_letters.with_label_values(&LABELS).get() < written {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("they are written");
    assert_eq!(node.core.metrics().dead_letters.with_label_values(&LABELS).get(), written);
}

/// Goal: in both patterns that acknowledge, messages that nobody does come to the Topic whole, with where they come
/// from, once each; and they are not counted as dropped.
#[tokio::test]
async fn what_nobody_does_goes_to_the_topic() {
    for pattern in [Pattern::PubSub, Pattern::Pipeline] {
        let bench = bench(1);
        let [publisher, subscriber] = two(&hopeless(pattern), bench.settings()).await;
        refuse(&subscriber, &publisher, whole(3)).await;
        settle(&publisher, 3).await;
        let earliest = options("", Start::Earliest, 10, false);
        let mut topic = bench.topics.subscribe(&orders(), earliest).await.unwrap();
        let taken = take(&mut topic, 3).await;
        for (number, delivery) in taken.iter().enumerate() {
            let Message { key, headers, parts, timestamp_ms, .. } = &delivery.message;
            assert_eq!(parts, &[Bytes::from(number.to_string()), Bytes::from_static(b"second")]);
            assert_eq!(key.as_deref(), Some(format!("key {number}").as_bytes()));
            assert_eq!(*timestamp_ms, 1_700_000_000_000);
            let headers: BTreeMap<&str, &str> = headers
                .iter()
                .map(|(name, value)| (name.as_str(), std::str::from_utf8(value).unwrap()))
                .collect();
            let sequence = (number + 1).to_string();
            for (name, value) in [
                ("ce-id", "1"),
                ("pinnace-channel", "shop/prices"),
                ("pinnace-publisher", "shop/publisher"),
                ("pinnace-sequence", &sequence),
                ("pinnace-attempts", "2"),
                ("pinnace-reason", "attempts_exhausted"),
            ] {
                assert_eq!(headers.get(name), Some(&value), "{name}: {headers:?}");
            }
        }
        assert_eq!(dropped(&publisher), 0);
    }
}

/// Goal: a Topic that this app may not write refuses the publish and names the field, before anything is published.
#[tokio::test]
async fn a_topic_that_cannot_be_written_is_told_at_the_publish() {
    let [publisher, _subscriber] = two(
        &hopeless(Pattern::PubSub),
        Settings { bootstrap: "127.0.0.1:1".into(), client_name: "shop/publisher".into() },
    )
    .await;
    let mut closed = view_with(1);
    closed.topics.get_mut(&orders()).unwrap().may_publish = false;
    for (view, kind, field) in [
        (closed, ProblemKind::PermissionDenied, "spec.access.publish"),
        (View { topics: BTreeMap::new(), ..view_with(1) }, ProblemKind::NotFound, "does not exist"),
    ] {
        publisher.show_with(hopeless(Pattern::PubSub), view);
        let problem = publisher.channels.publish(&prices(), vec![numbered(0)]).await.unwrap_err();
        assert_eq!(problem.kind, kind);
        assert!(problem.message.contains("spec.delivery.deadLetter: Topic shop/orders"), "{problem}");
        assert!(problem.message.contains(field), "{problem}");
    }
}

/// Goal: what does not fit the Topic is dropped and counted, and keeps nothing else from being written.
#[tokio::test]
async fn what_the_topic_cannot_take_is_counted() {
    let bench = bench(1);
    let view = hopeless(Pattern::PubSub);
    let [publisher, subscriber] = two(&view, bench.settings()).await;
    // Its payload alone is at the Topic's limit; where it comes from does not fit any more.
    let large = Message { parts: vec![Bytes::from(vec![0; 100_000])], ..Message::default() };
    refuse(&subscriber, &publisher, vec![numbered(0), large, numbered(2)]).await;
    settle(&publisher, 2).await;
    let wait = async {
        while dropped(&publisher) < 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("it is counted");
}

/// Goal: while the broker is away, dead letters fill the buffer and make the publisher wait; nothing is dropped.
#[tokio::test]
async fn a_broker_that_is_away_makes_publishers_wait() {
    let view = ChannelView {
        buffer_messages: 3,
        block_timeout: Duration::from_millis(300),
        ..hopeless(Pattern::Pipeline)
    };
    let nowhere = Settings { bootstrap: "127.0.0.1:1".into(), client_name: "shop/publisher".into() };
    let [publisher, subscriber] = two(&view, nowhere).await;
    refuse(&subscriber, &publisher, whole(3)).await;
    publisher.wait_for_guests(0).await;
    let problem = publisher.channels.publish(&prices(), vec![numbered(3)]).await.unwrap_err();
    assert_eq!(problem.kind, ProblemKind::Unavailable, "nobody subscribes: {problem}");
    let _subscription = by_app(&subscriber, 100).await;
    publisher.wait_for_guests(1).await;
    let problem = publisher.channels.publish(&prices(), vec![numbered(3)]).await.unwrap_err();
    assert_eq!(problem.kind, ProblemKind::DeadlineExceeded, "{problem}");
    assert_eq!(dropped(&publisher), 0);
}
