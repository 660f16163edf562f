//! `record`: the Topic gets a copy of every message, in order, and a broker that is away leaves no hole in it.

use super::acks::by_app;
use super::mesh::*;
use crate::durable::tests::{Bench, bench, options, orders, take, view_with};
use crate::durable::{Settings, Start};
use crate::messaging::{Message, ProblemKind};
use crate::view::{ChannelView, Overflow, Pattern};
use bytes::Bytes;
use std::time::Duration;
use testkit::certificates::TestAuthority;

const LABELS: [&str; 3] = ["channel", "shop", "prices"];
const SHORT: Duration = Duration::from_millis(300);

fn recorded(pattern: Pattern) -> ChannelView {
    ChannelView { pattern, record: Some(orders()), ..channel() }
}

/// A publisher whose Topic has so many partitions.
async fn publisher(view: &ChannelView, broker: Settings, partitions: u32) -> Node {
    let node = Node::start_with(&TestAuthority::new(), ("publisher", "pricing"), broker).await;
    node.show_with(view.clone(), view_with(partitions));
    node
}

fn written(node: &Node) -> u64 {
    node.core.metrics().recorded.with_label_values(&LABELS).get()
}

/// The payloads of the Topic's first messages, and in which partitions they are.
async fn in_topic(bench: &Bench, count: usize) -> (Vec<Vec<Bytes>>, Vec<i32>) {
    let earliest = options("", Start::Earliest, 1000, false);
    let mut topic = bench.topics.subscribe(&orders(), earliest).await.unwrap();
    let taken = take(&mut topic, count).await;
    let mut partitions: Vec<i32> = taken.iter().map(|delivery| delivery.position.partition).collect();
    partitions.sort_unstable();
    partitions.dedup();
    (taken.into_iter().map(|delivery| delivery.message.parts).collect(), partitions)
}

fn numbers(range: std::ops::Range<u64>) -> Vec<Vec<Bytes>> {
    range.map(|number| numbered(number).parts).collect()
}

/// Goal: when a publish returns, the Topic has the messages, whole and with where they come from; whether somebody
/// subscribes or not, and whoever gets them.
#[tokio::test]
async fn what_is_published_is_in_the_topic() {
    for pattern in [Pattern::PubSub, Pattern::Pipeline] {
        let bench = bench(1);
        let node = publisher(&recorded(pattern), bench.settings(), 1).await;
        let mut subscription = node.subscribe(10).await;
        let whole = Message {
            subject: Bytes::from_static(b"EURUSD"),
            key: Some(Bytes::from_static(b"k")),
            headers: vec![("ce-id".to_owned(), Bytes::from_static(b"1"))],
            parts: vec![Bytes::from_static(b"first"), Bytes::from_static(b"second")],
            timestamp_ms: 1_700_000_000_000,
        };
        node.channels.publish(&prices(), vec![whole.clone(), numbered(1)]).await.unwrap();
        assert_eq!(written(&node), 2);
        let came = tokio::time::timeout(DEADLINE, subscription.next()).await.expect("in time").unwrap();
        assert_eq!(came.len(), 2);
        let mut topic =
            bench.topics.subscribe(&orders(), options("", Start::Earliest, 10, false)).await.unwrap();
        let taken = take(&mut topic, 2).await;
        let copy = &taken[0].message;
        assert_eq!((&copy.subject, &copy.key, &copy.parts), (&whole.subject, &whole.key, &whole.parts));
        assert_eq!(copy.timestamp_ms, whole.timestamp_ms);
        for (name, value) in [
            ("ce-id", "1"),
            ("pinnace-channel", "shop/prices"),
            ("pinnace-publisher", "shop/publisher"),
            ("pinnace-epoch", &node.core.epoch().to_string()),
            ("pinnace-sequence", "1"),
        ] {
            let header = (name.to_owned(), Bytes::from(value.to_owned()));
            assert!(copy.headers.contains(&header), "{name}: {:?}", copy.headers);
        }
    }
}

/// Goal: messages without a key keep their order in a Topic of several partitions, and nobody need subscribe.
#[tokio::test]
async fn order_is_kept_without_keys() {
    let bench = bench(3);
    let node = publisher(&recorded(Pattern::PubSub), bench.settings(), 3).await;
    for batch in 0..20_u64 {
        node.publish(batch * 10..(batch + 1) * 10).await;
    }
    let (payloads, partitions) = in_topic(&bench, 200).await;
    assert_eq!(payloads, numbers(0..200));
    assert_eq!(partitions.len(), 1, "{partitions:?}");
}

/// Goal: while the broker is away publishers get as far as the buffer, are told why, and nothing that was delivered is
/// missing in the Topic afterwards; under a policy that drops, too.
#[tokio::test]
async fn a_broker_that_is_away_leaves_no_hole() {
    for (pattern, overflow) in [
        (Pattern::PubSub, Overflow::Block),
        (Pattern::PubSub, Overflow::DropOldest),
        (Pattern::Pipeline, Overflow::Block),
    ] {
        let bench = bench(1);
        let view = ChannelView { buffer_messages: 3, block_timeout: SHORT, overflow, ..recorded(pattern) };
        let node = publisher(&view, bench.settings(), 1).await;
        let mut subscription = by_app(&node, 100).await;
        node.publish(0..1).await;
        bench.broker_down();
        let (mut sent, mut seen) = (1, Seen::default());
        let problem = loop {
            seen.take_total(&mut subscription, sent).await;
            assert!(sent < 100, "nothing holds the publisher back");
            match node.channels.publish_patiently(&prices(), vec![numbered(sent)], SHORT).await {
                Ok(_) => sent += 1,
                Err(problem) => break problem,
            }
        };
        assert_eq!(problem.kind, ProblemKind::DeadlineExceeded, "{problem}");
        assert!(problem.message.contains("spec.record") && problem.message.contains("0 of 1"), "{problem}");
        assert_eq!(sent, 4, "as many as the buffer holds");
        bench.broker_up();
        let last = vec![numbered(sent)];
        node.channels.publish_patiently(&prices(), last, DEADLINE).await.unwrap();
        tokio::time::timeout(DEADLINE, node.core.flushed()).await.expect("it is written");
        seen.take_total(&mut subscription, sent + 1).await;
        assert_eq!(seen.numbers, (0..=sent).collect::<Vec<_>>());
        let (payloads, _) = in_topic(&bench, usize::try_from(sent).unwrap() + 1).await;
        assert_eq!(payloads, numbers(0..sent + 1), "{pattern:?} {overflow:?}");
    }
}

/// Goal: a publisher that goes away while it waits for the Topic leaves its message in both places.
#[tokio::test]
async fn a_publisher_that_gives_up_changes_nothing() {
    let bench = bench(1);
    let node = publisher(&recorded(Pattern::PubSub), bench.settings(), 1).await;
    node.publish(0..1).await;
    bench.broker_down();
    let channel = prices();
    let publish = node.channels.publish(&channel, vec![numbered(1)]);
    assert!(tokio::time::timeout(SHORT, publish).await.is_err(), "the Topic cannot have it");
    bench.broker_up();
    tokio::time::timeout(DEADLINE, node.core.flushed()).await.expect("it is written");
    assert_eq!(in_topic(&bench, 2).await.0, numbers(0..2));
}

/// Goal: what the Topic would not take, and a Topic that this app may not write, refuse the publish and name the field.
#[tokio::test]
async fn what_cannot_be_recorded_is_not_published() {
    let bench = bench(1);
    let view = recorded(Pattern::PubSub);
    let node = publisher(&view, bench.settings(), 1).await;
    let mut closed = view_with(1);
    closed.topics.get_mut(&orders()).unwrap().may_publish = false;
    let large = Message { parts: vec![Bytes::from(vec![0; 99_950])], ..Message::default() };
    for (topics, message, kind) in [
        (view_with(1), large, ProblemKind::InvalidArgument),
        (closed, numbered(0), ProblemKind::PermissionDenied),
        (crate::view::View::default(), numbered(0), ProblemKind::NotFound),
    ] {
        node.show_with(view.clone(), topics);
        let problem = node.channels.publish(&prices(), vec![message]).await.unwrap_err();
        assert_eq!(problem.kind, kind, "{problem}");
        assert!(problem.message.contains("spec.record"), "{problem}");
    }
    assert_eq!(node.core.metrics().published.with_label_values(&LABELS).get(), 0);
}

/// Goal: what the Topic refuses after all, because it was made smaller meanwhile, holds nothing up and is counted.
#[tokio::test]
async fn what_the_topic_refuses_later_is_counted() {
    let bench = bench(1);
    let view = recorded(Pattern::PubSub);
    let node = publisher(&view, bench.settings(), 1).await;
    let large = Message { parts: vec![Bytes::from(vec![0; 50_000])], ..Message::default() };
    let batch = vec![numbered(0), large, numbered(2)];
    node.channels.publish_patiently(&prices(), batch, SHORT).await.unwrap();
    let mut smaller = view_with(1);
    smaller.topics.get_mut(&orders()).unwrap().max_message_bytes = 1000;
    node.show_with(view, smaller);
    tokio::time::timeout(DEADLINE, node.core.flushed()).await.expect("it is settled");
    let unrecorded = node.core.metrics().unrecorded.with_label_values(&LABELS).get();
    assert_eq!((written(&node), unrecorded), (2, 1));
}

/// Goal: a publisher is not told that a message is recorded which the broker refused.
#[tokio::test]
async fn a_refusal_reaches_who_waits() {
    let bench = bench(1);
    let node = publisher(&recorded(Pattern::PubSub), bench.settings(), 1).await;
    bench.refuse_once_as_too_large();
    let problem = node.channels.publish(&prices(), vec![numbered(0)]).await.unwrap_err();
    assert_eq!(problem.kind, ProblemKind::InvalidArgument);
    assert!(problem.message.contains("published, and not recorded"), "{problem}");
    node.publish(1..2).await;
}

/// Goal: a broker refuses a batch as a whole; those in it that it takes are written all the same.
#[tokio::test]
async fn a_refused_batch_is_tried_one_by_one() {
    let bench = bench(1);
    let node = publisher(&recorded(Pattern::PubSub), bench.settings(), 1).await;
    bench.refuse_once_as_too_large();
    node.publish(0..3).await;
    assert_eq!(in_topic(&bench, 3).await.0, numbers(0..3));
    assert_eq!(node.core.metrics().unrecorded.with_label_values(&LABELS).get(), 0);
}
