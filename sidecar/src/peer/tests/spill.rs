//! `overflow: Spill`: what a subscriber has no room for comes back through a Topic, in order, and costs nobody else
//! anything.

use super::acks::by_app;
use super::mesh::*;
use crate::durable::tests::{Bench, bench, orders, view_with};
use crate::messaging::{ChannelEvent, ChannelSubscription, Message, ProblemKind, SubscribeOptions};
use crate::view::{Acknowledge, ChannelView, Overflow, Pattern, Redeliver};
use bytes::Bytes;
use std::time::Duration;
use testkit::certificates::TestAuthority;

const LABELS: [&str; 3] = ["channel", "shop", "prices"];
const SHORT: Duration = Duration::from_millis(300);
const ROOM: usize = 5;

fn spilling(pattern: Pattern, acknowledge: Acknowledge) -> ChannelView {
    ChannelView {
        pattern,
        acknowledge,
        overflow: Overflow::Spill,
        spill: Some(orders()),
        buffer_messages: ROOM,
        redeliver: Redeliver { after: DEADLINE, attempts: 3 },
        ..channel()
    }
}

/// A publisher whose Topic has one partition, and a subscriber elsewhere that has found it.
async fn spilling_pair(bench: &Bench, view: &ChannelView, credit: u32) -> (Node, Node, ChannelSubscription) {
    let authority = TestAuthority::new();
    let publisher = Node::start_with(&authority, ("publisher", "pricing"), bench.settings()).await;
    publisher.show_with(view.clone(), view_with(1));
    let (subscriber, subscription) = join(&authority, &publisher, view, credit).await;
    (publisher, subscriber, subscription)
}

/// One more subscriber, in a pod of its own.
async fn join(
    authority: &TestAuthority,
    publisher: &Node,
    view: &ChannelView,
    credit: u32,
) -> (Node, ChannelSubscription) {
    let before = publisher.core.guest_count();
    let pod = format!("subscriber-{before}");
    let node = Node::start(authority, &pod, "billing").await;
    node.show(ChannelView { publishers: vec![publisher.as_peer()], ..view.clone() });
    let subscription = node.subscribe(credit).await;
    publisher.wait_for_guests(before + 1).await;
    (node, subscription)
}

fn spilled(node: &Node) -> u64 {
    node.core.metrics().spilled.with_label_values(&LABELS).get()
}

fn waiting(node: &Node) -> i64 {
    node.core.metrics().spill_waiting.with_label_values(&LABELS).get()
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// Publishes one by one, so that nothing is all of one batch.
async fn publish_each(node: &Node, numbers: std::ops::Range<u64>) {
    for number in numbers {
        node.publish(number..number + 1).await;
    }
}

/// Goal: a subscriber that does not read holds no publisher up, whatever the pattern and whether it acknowledges, and
/// then gets everything once and in order, from the Topic and from memory; after that nothing is spilled any more.
#[tokio::test]
async fn what_overflows_comes_back_in_order() {
    for (pattern, acknowledge) in [
        (Pattern::PubSub, Acknowledge::None),
        (Pattern::PubSub, Acknowledge::Required),
        (Pattern::Pipeline, Acknowledge::None),
        (Pattern::Pipeline, Acknowledge::Required),
    ] {
        let bench = bench(1);
        let view = spilling(pattern, acknowledge);
        let (publisher, _subscriber, mut subscription) = spilling_pair(&bench, &view, 3).await;
        publish_each(&publisher, 0..20).await;
        // Some stay in memory, and others are in the Topic alone.
        for batch in 2..40 {
            publisher.publish(batch * 10..batch * 10 + 10).await;
        }
        until("all of it is written", || spilled(&publisher) > 300).await;
        assert!(waiting(&publisher) > 300, "{pattern:?} {acknowledge:?}: {}", waiting(&publisher));
        let mut seen = Seen::default();
        seen.take_total(&mut subscription, 400).await;
        assert_eq!(seen.numbers, (0..400).collect::<Vec<_>>(), "{pattern:?} {acknowledge:?}");
        assert_eq!(seen.gaps, []);
        until("it has caught up", || waiting(&publisher) == 0).await;
        let before = spilled(&publisher);
        for number in 400..410 {
            publisher.publish(number..number + 1).await;
            seen.take_total(&mut subscription, number + 1).await;
        }
        assert_eq!(spilled(&publisher), before, "{pattern:?} {acknowledge:?}: it goes directly again");
    }
}

/// Goal: order is kept while a subscriber is behind, catches up and falls behind again, with a publisher that never stops.
#[tokio::test]
async fn order_is_kept_over_every_change() {
    let bench = bench(1);
    let view = spilling(Pattern::PubSub, Acknowledge::None);
    let (publisher, _subscriber, mut subscription) = spilling_pair(&bench, &view, 50).await;
    let mut seen = Seen::default();
    let publishing = async {
        for round in 0..300_u64 {
            publisher.publish(round * 10..round * 10 + 10).await;
            if round % 7 == 0 {
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        }
    };
    let reading = async {
        let mut pause = 0;
        while seen.total() < 3000 {
            assert!(seen.take(&mut subscription).await);
            pause += 1;
            if pause % 20 == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    tokio::join!(publishing, reading);
    assert_eq!(seen.numbers, (0..3000).collect::<Vec<_>>());
    assert!(spilled(&publisher) > 0, "nothing overflowed: the test shows nothing");
    until("it has caught up", || waiting(&publisher) == 0).await;
}

/// Goal: one that is stuck costs another nothing, neither time nor messages, and each gets what its filter lets through.
#[tokio::test]
async fn others_are_not_concerned() {
    let bench = bench(1);
    let view = spilling(Pattern::PubSub, Acknowledge::None);
    let authority = TestAuthority::new();
    let publisher = Node::start_with(&authority, ("publisher", "pricing"), bench.settings()).await;
    publisher.show_with(view.clone(), view_with(1));
    let (_one, mut quick) = join(&authority, &publisher, &view, 100).await;
    let (stuck_node, stuck) = join(&authority, &publisher, &view, 1).await;
    drop(stuck);
    publisher.wait_for_guests(1).await;
    let prefixes = vec![Bytes::from_static(b"3")];
    let options = SubscribeOptions { credit: 1, prefixes, ..SubscribeOptions::default() };
    let mut stuck = stuck_node.channels.subscribe(&prices(), options).await.unwrap();
    publisher.wait_for_guests(2).await;
    let mut seen = Seen::default();
    for number in 0..300 {
        publisher.publish(number..number + 1).await;
        seen.take_total(&mut quick, number + 1).await;
    }
    assert_eq!(seen.numbers, (0..300).collect::<Vec<_>>());
    let mut seen = Seen::default();
    seen.take_total(&mut stuck, 30).await;
    assert_eq!(seen.numbers, (0..300).filter(|number| number % 10 == 3).collect::<Vec<_>>());
    until("it has caught up", || waiting(&publisher) == 0).await;
}

/// Goal: a message comes back as it was, with all its parts.
#[tokio::test]
async fn messages_come_back_whole() {
    let bench = bench(1);
    let view = spilling(Pattern::PubSub, Acknowledge::None);
    let (publisher, _subscriber, mut subscription) = spilling_pair(&bench, &view, 1).await;
    let whole = |number: u64| Message {
        subject: Bytes::from(format!("subject {number}")),
        key: number.is_multiple_of(2).then(|| Bytes::from(number.to_string())),
        headers: vec![("a".into(), Bytes::from_static(b"1")), ("a".into(), Bytes::from_static(&[0xff]))],
        parts: (0..number % 3).map(|part| Bytes::from(vec![7; usize::try_from(part).unwrap()])).collect(),
        timestamp_ms: 1_700_000_000_000,
    };
    for number in 0..100 {
        publisher.channels.publish(&prices(), vec![whole(number)]).await.unwrap();
    }
    until("most of it is written", || spilled(&publisher) > 80).await;
    let mut came = Vec::new();
    while came.len() < 100 {
        let events = tokio::time::timeout(DEADLINE, subscription.next()).await.expect("in time").unwrap();
        for event in events {
            let ChannelEvent::Message { message, .. } = event else { panic!("{event:?}") };
            came.push(message);
            subscription.grant(1);
        }
    }
    assert_eq!(came, (0..100).map(whole).collect::<Vec<_>>());
}

/// Goal: while the broker is away publishers get as far as memory goes, are told why, and nothing is lost.
#[tokio::test]
async fn a_broker_that_is_away_loses_nothing() {
    let bench = bench(1);
    let view = spilling(Pattern::PubSub, Acknowledge::None);
    let (publisher, _subscriber, mut subscription) = spilling_pair(&bench, &view, 1).await;
    bench.broker_down();
    let mut sent = 0;
    let problem = loop {
        assert!(sent < 1000, "nothing holds the publisher back");
        match publisher.channels.publish_patiently(&prices(), vec![numbered(sent)], SHORT).await {
            Ok(_) => sent += 1,
            Err(problem) => break problem,
        }
    };
    assert_eq!(problem.kind, ProblemKind::DeadlineExceeded, "{problem}");
    assert!(
        problem.message.contains("spec.delivery.spill") && problem.message.contains("0 of 1"),
        "{problem}"
    );
    assert!(sent >= 2 * ROOM as u64, "{sent}");
    bench.broker_up();
    for number in sent..sent + 50 {
        publisher.channels.publish_patiently(&prices(), vec![numbered(number)], DEADLINE).await.unwrap();
    }
    tokio::time::timeout(DEADLINE, publisher.core.flushed()).await.expect("it is written");
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, sent + 50).await;
    assert_eq!(seen.numbers, (0..sent + 50).collect::<Vec<_>>());
}

/// Goal: work that nobody is there for waits in the Topic, and the first who comes gets it all.
#[tokio::test]
async fn work_waits_for_the_first_receiver() {
    let bench = bench(1);
    let view = spilling(Pattern::Pipeline, Acknowledge::Required);
    let authority = TestAuthority::new();
    let publisher = Node::start_with(&authority, ("publisher", "pricing"), bench.settings()).await;
    publisher.show_with(view.clone(), view_with(1));
    for batch in 0..20 {
        publisher.publish(batch * 5..batch * 5 + 5).await;
    }
    until("most of it is written", || spilled(&publisher) > 80).await;
    let (_node, mut subscription) = join(&authority, &publisher, &view, 10).await;
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 100).await;
    assert_eq!(seen.numbers, (0..100).collect::<Vec<_>>());
}

/// Goal: a Channel that spills no more delivers what it spilled first, and publishers wait for that.
#[tokio::test]
async fn what_was_spilled_comes_first() {
    for pattern in [Pattern::PubSub, Pattern::Pipeline] {
        let bench = bench(1);
        let view = spilling(pattern, Acknowledge::None);
        let (publisher, _subscriber, mut subscription) = spilling_pair(&bench, &view, 1).await;
        publish_each(&publisher, 0..100).await;
        until("most of it is written", || spilled(&publisher) > 80).await;
        let after = ChannelView { overflow: Overflow::Block, spill: None, ..view };
        publisher.show_with(after, view_with(1));
        until("the view is there", || publisher.core.view().version == 2).await;
        let problem = publisher.channels.publish_patiently(&prices(), vec![numbered(100)], SHORT).await;
        assert_eq!(problem.unwrap_err().kind, ProblemKind::DeadlineExceeded, "{pattern:?}");
        let mut seen = Seen::default();
        let name = prices();
        let publishing = publisher.channels.publish_patiently(&name, vec![numbered(100)], DEADLINE);
        let (published, ()) = tokio::join!(publishing, seen.take_total(&mut subscription, 101));
        published.unwrap();
        assert_eq!(seen.numbers, (0..=100).collect::<Vec<_>>(), "{pattern:?}");
    }
}

/// Goal: for who goes while it is behind the publisher keeps nothing.
#[tokio::test]
async fn who_goes_leaves_nothing() {
    let bench = bench(1);
    let view = spilling(Pattern::PubSub, Acknowledge::None);
    let authority = TestAuthority::new();
    let publisher = Node::start_with(&authority, ("publisher", "pricing"), bench.settings()).await;
    publisher.show_with(view.clone(), view_with(1));
    let (_node, subscription) = join(&authority, &publisher, &view, 1).await;
    publish_each(&publisher, 0..100).await;
    until("it is behind", || waiting(&publisher) > 80).await;
    drop(subscription);
    publisher.wait_for_guests(0).await;
    until("nothing is kept", || waiting(&publisher) == 0).await;
    let lag = || publisher.core.metrics().lag.with_label_values(&LABELS).get();
    until("nothing waits", || lag() == 0).await;
}

/// Goal: who was away for too long while it was behind is told all that it missed, and that is what is counted.
#[tokio::test]
async fn who_was_away_too_long_is_told_and_counted() {
    let bench = bench(1);
    let view = spilling(Pattern::PubSub, Acknowledge::None);
    let authority = TestAuthority::new();
    let publisher = Node::start_with(&authority, ("publisher", "pricing"), bench.settings()).await;
    publisher.show_with(view.clone(), view_with(1));
    let subscriber = Node::start(&authority, "subscriber", "billing").await;
    let proxy = Proxy::start(publisher.address).await;
    subscriber.show(ChannelView { publishers: vec![publisher.as_peer_at(proxy.address)], ..view });
    let mut subscription = subscriber.subscribe(1).await;
    publisher.wait_for_guests(1).await;
    publish_each(&publisher, 0..100).await;
    until("it is behind", || waiting(&publisher) > 80).await;
    proxy.kill();
    until("it is away, and forgotten", || {
        publisher.core.forget_away();
        publisher.core.guest_count() == 0
    })
    .await;
    until("nothing is kept", || waiting(&publisher) == 0).await;
    proxy.thaw();
    publisher.wait_for_guests(1).await;
    publish_each(&publisher, 100..110).await;
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 110).await;
    let told: u64 = seen.gaps.iter().map(|gap| gap.2).sum();
    assert!(told > 80, "{:?}", seen.gaps);
    let [kind, namespace, name] = LABELS;
    let dropped =
        publisher.core.metrics().dropped.with_label_values(&[kind, namespace, name, "disconnected"]);
    assert_eq!(dropped.get(), told, "{:?}", seen.gaps);
}

/// Goal: a message that could not come back as it was, or that the Topic would not take, is refused before it is published.
#[tokio::test]
async fn what_cannot_be_spilled_is_refused() {
    let bench = bench(1);
    let view = spilling(Pattern::PubSub, Acknowledge::None);
    let (publisher, ..) = spilling_pair(&bench, &view, 1).await;
    let headers = vec![("pinnace-sequence".to_owned(), Bytes::from_static(b"1"))];
    let reserved = Message { headers, ..numbered(0) };
    let large = Message { parts: vec![Bytes::from(vec![0; 100_000])], ..Message::default() };
    for (message, words) in [(reserved, "pinnace-sequence"), (large, "maxMessageSize")] {
        let problem = publisher.channels.publish(&prices(), vec![message]).await.unwrap_err();
        assert_eq!(problem.kind, ProblemKind::InvalidArgument, "{problem}");
        let named = problem.message.contains("spec.delivery.spill") && problem.message.contains(words);
        assert!(named, "{problem}");
    }
    let mut topics = view_with(1);
    topics.topics.get_mut(&orders()).unwrap().may_subscribe = false;
    publisher.show_with(view, topics);
    until("the view is there", || publisher.core.view().version == 2).await;
    let problem = publisher.channels.publish(&prices(), vec![numbered(0)]).await.unwrap_err();
    assert_eq!(problem.kind, ProblemKind::PermissionDenied, "{problem}");
}

/// Goal: a drain hands over what overflowed before it ends.
#[tokio::test]
async fn a_drain_hands_over_what_overflowed() {
    for pattern in [Pattern::PubSub, Pattern::Pipeline] {
        let bench = bench(1);
        let view = spilling(pattern, Acknowledge::Required);
        let (publisher, node, subscription) = spilling_pair(&bench, &view, 1).await;
        drop(subscription);
        publisher.wait_for_guests(0).await;
        let mut subscription = by_app(&node, 1000).await;
        publisher.wait_for_guests(1).await;
        for batch in 0..20 {
            publisher.publish(batch * 10..batch * 10 + 10).await;
        }
        publisher.core.begin_drain();
        let ending = publisher.connections.drain(DEADLINE);
        let mut numbers = Vec::new();
        let reading = async {
            while numbers.len() < 200 {
                let answer = tokio::time::timeout(DEADLINE, subscription.next()).await.expect("in time");
                for event in answer.expect("it has not ended") {
                    let ChannelEvent::Message { position, receipt, .. } = event else { panic!("{event:?}") };
                    numbers.push(position.offset);
                    subscription.ack(&[receipt.expect("a receipt")]);
                    subscription.grant(1);
                }
            }
        };
        tokio::join!(ending, reading);
        assert_eq!(numbers, (1..=200).collect::<Vec<_>>(), "{pattern:?}");
    }
}

/// Goal: what nobody took in time in a drain is told, and counted once, with what overflowed.
#[tokio::test]
async fn what_a_drain_leaves_is_told() {
    let bench = bench(1);
    let view = spilling(Pattern::PubSub, Acknowledge::None);
    let (publisher, _subscriber, mut subscription) = spilling_pair(&bench, &view, 1).await;
    publish_each(&publisher, 0..100).await;
    until("it is behind", || waiting(&publisher) > 80).await;
    publisher.core.begin_drain();
    publisher.connections.drain(DEADLINE).await;
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 100).await;
    let told: u64 = seen.gaps.iter().map(|gap| gap.2).sum();
    assert!(told > 80 && seen.gaps.iter().all(|gap| gap.3 == "shutdown"), "{:?}", seen.gaps);
    let [kind, namespace, name] = LABELS;
    let dropped = publisher.core.metrics().dropped.with_label_values(&[kind, namespace, name, "shutdown"]);
    assert_eq!(dropped.get(), told, "{:?}", seen.gaps);
}

/// Goal: what is not in the Topic any more, because somebody made it anew or took it away, is told as a gap in its place
/// and counted, and what comes after that is delivered.
#[tokio::test]
async fn what_the_topic_lost_is_told() {
    for made_anew in [true, false] {
        let bench = bench(1);
        bench.add_topic("anew");
        let view = spilling(Pattern::PubSub, Acknowledge::None);
        let (publisher, _subscriber, mut subscription) = spilling_pair(&bench, &view, 1).await;
        publish_each(&publisher, 0..100).await;
        until("all of it is written", || spilled(&publisher) > 80).await;
        let mut topics = view_with(1);
        if made_anew {
            topics.topics.get_mut(&orders()).unwrap().topic_name = "anew".to_owned();
        } else {
            topics.topics.clear();
        }
        publisher.show_with(view.clone(), topics);
        until("the view is there", || publisher.core.view().version == 2).await;
        let mut seen = Seen::default();
        seen.take_total(&mut subscription, 100).await;
        let [(first, last, messages, "spill_lost")] = seen.gaps[..] else { panic!("{:?}", seen.gaps) };
        assert_eq!(messages, last.abs_diff(first) + 1);
        let lost = u64::try_from(first - 1).unwrap()..u64::try_from(last).unwrap();
        assert_eq!(seen.numbers, (0..100).filter(|number| !lost.contains(number)).collect::<Vec<_>>());
        let [kind, namespace, name] = LABELS;
        let dropped =
            publisher.core.metrics().dropped.with_label_values(&[kind, namespace, name, "spill_lost"]);
        assert_eq!(dropped.get(), messages);
        until("it has caught up", || waiting(&publisher) == 0).await;
        publisher.show_with(view, view_with(1));
        until("the view is there", || publisher.core.view().version == 3).await;
        publish_each(&publisher, 100..200).await;
        seen.take_total(&mut subscription, 200).await;
        assert_eq!(seen.numbers.last(), Some(&199));
        assert_eq!(seen.gaps.len(), 1, "made anew {made_anew}: {:?}", seen.gaps);
    }
}
