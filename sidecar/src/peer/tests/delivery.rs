//! What publishers and subscribers get when nothing breaks.

use super::mesh::*;
use crate::delivery::Took;
use crate::messaging::{ChannelEvent, Message, ProblemKind, SubscribeOptions};
use crate::view::{ChannelView, Overflow};
use bytes::Bytes;
use std::time::Duration;
use testkit::certificates::TestAuthority;

/// Goal: every subscriber, on another pod and on the same one, gets everything in order, once.
#[tokio::test]
async fn all_subscribers_get_everything_in_order() {
    let authority = TestAuthority::new();
    let publisher = Node::start(&authority, "publisher", "pricing").await;
    let first = Node::start(&authority, "first", "billing").await;
    let second = Node::start(&authority, "second", "audit").await;
    publisher.show(channel());
    let mut subscriptions = vec![publisher.subscribe(100).await];
    for node in [&first, &second] {
        node.show(ChannelView { publishers: vec![publisher.as_peer()], ..channel() });
        subscriptions.push(node.subscribe(100).await);
    }
    publisher.wait_for_guests(2).await;
    let publishing = async {
        for batch in 0..50 {
            publisher.publish(batch * 100..(batch + 1) * 100).await;
        }
    };
    let [local, one, two] = subscriptions.as_mut_slice() else { panic!("three subscriptions") };
    let (mut seen_local, mut seen_one, mut seen_two) = (Seen::default(), Seen::default(), Seen::default());
    tokio::join!(
        publishing,
        seen_local.take_total(local, 5000),
        seen_one.take_total(one, 5000),
        seen_two.take_total(two, 5000)
    );
    for seen in [seen_local, seen_one, seen_two] {
        assert_eq!(seen.numbers, (0..5000).collect::<Vec<_>>());
        assert!(seen.gaps.is_empty());
    }
}

/// Goal: publishing without any subscriber is no error, and who comes later gets what comes later.
#[tokio::test]
async fn no_subscriber_is_no_error() {
    let authority = TestAuthority::new();
    let publisher = Node::start(&authority, "publisher", "pricing").await;
    publisher.show(channel());
    publisher.publish(0..10).await;
    let mut subscription = publisher.subscribe(10).await;
    publisher.publish(10..15).await;
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 5).await;
    assert_eq!(seen.numbers, [10, 11, 12, 13, 14]);
}

/// Goal: the app never gets more than it gave credit for, and what it has no credit for stays with the publisher.
#[tokio::test]
async fn credit_bounds_what_is_under_way() {
    let (publisher, subscriber, mut subscription) = pair(channel(), 3).await;
    publisher.publish(0..100).await;
    let mut got = 0;
    while got < 3 {
        got += tokio::time::timeout(DEADLINE, subscription.next()).await.unwrap().unwrap().len();
    }
    let more = tokio::time::timeout(Duration::from_millis(300), subscription.next()).await;
    assert!(more.is_err(), "{more:?}");
    let waiting = publisher.core.metrics().lag.with_label_values(&["channel", "shop", "prices"]).get();
    assert_eq!(waiting, 97, "the rest waits at the publisher");
    subscription.grant(97);
    while got < 100 {
        got += tokio::time::timeout(DEADLINE, subscription.next()).await.unwrap().unwrap().len();
    }
    let delivered = subscriber.core.metrics().delivered.with_label_values(&["channel", "shop", "prices"]);
    assert_eq!(delivered.get(), 100);
}

/// Goal: filters act at the publisher, can be changed, and what they hold back is no gap.
#[tokio::test]
async fn prefixes_filter_at_the_publisher() {
    let (publisher, subscriber, subscription) = pair(channel(), 100).await;
    drop(subscription);
    publisher.wait_for_guests(0).await;
    let options = SubscribeOptions {
        prefixes: vec![Bytes::from_static(b"3")],
        credit: 100,
        ..SubscribeOptions::default()
    };
    let mut subscription = subscriber.channels.subscribe(&prices(), options).await.unwrap();
    publisher.wait_for_guests(1).await;
    publisher.publish(0..100).await;
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 10).await;
    assert!(seen.numbers.iter().all(|number| number % 10 == 3) && seen.gaps.is_empty(), "{seen:?}");

    subscription.set_prefixes(vec![Bytes::from_static(b"4")]);
    let mut next = 100;
    while !seen.numbers.iter().any(|number| number % 10 == 4) {
        publisher.publish(next..next + 10).await;
        next += 10;
        seen.take(&mut subscription).await;
    }
    assert!(seen.gaps.is_empty());
}

/// Goal: under Block a publish waits for a slow subscriber, then fails and says who was slow and what to change;
/// nothing of what was acknowledged is lost.
#[tokio::test]
async fn block_fails_with_the_name_of_the_slow_subscriber() {
    let view = ChannelView { block_timeout: Duration::from_millis(200), buffer_messages: 10, ..channel() };
    let (publisher, _subscriber, mut subscription) = pair(view, 5).await;
    let mut published = 0;
    let problem = loop {
        match publisher.channels.publish(&prices(), vec![numbered(published)]).await {
            Ok(_) => published += 1,
            Err(problem) => break problem,
        }
    };
    assert!((15..100).contains(&published), "credit and buffer bound what is taken: {published}");
    assert_eq!(problem.kind, ProblemKind::DeadlineExceeded);
    for word in ["shop/subscriber (shop/billing)", "spec.delivery.blockTimeout", "0 of 1 messages"] {
        assert!(problem.message.contains(word), "{problem}");
    }
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, published).await;
    publisher.publish(published..published + 1).await;
    seen.take_total(&mut subscription, published + 1).await;
    assert_eq!(seen.numbers, (0..=published).collect::<Vec<_>>());
    assert!(seen.gaps.is_empty());
}

/// Goal: under DropNewest what a slow subscriber misses is told and counted exactly, and it costs the others nothing.
#[tokio::test]
async fn drop_newest_adds_up_and_a_stuck_subscriber_costs_others_nothing() {
    let view = ChannelView { overflow: Overflow::DropNewest, buffer_messages: 200, ..channel() };
    let (publisher, _subscriber, mut stuck) = pair(view.clone(), 5).await;
    let mut reading = publisher.subscribe(1000).await;
    let (mut seen, total) = (Seen::default(), 5000);
    for first in (0..total).step_by(100) {
        publisher.publish(first..first + 100).await;
        seen.take_total(&mut reading, first + 100).await;
    }
    assert_eq!(seen.numbers, (0..total).collect::<Vec<_>>(), "the one that reads misses nothing");
    let mut late = Seen::default();
    late.take_total(&mut stuck, total).await;
    assert_eq!(late.total(), total, "delivered plus gap is what was published");
    assert!(late.numbers.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(
        !late.gaps.is_empty() && late.gaps.iter().all(|gap| gap.3 == "dropped_newest"),
        "{:?}",
        late.gaps
    );
    let dropped =
        publisher.core.metrics().dropped.with_label_values(&["channel", "shop", "prices", "dropped_newest"]);
    assert_eq!(dropped.get() + late.numbers.len() as u64, total, "the publisher counts the same");
}

/// Goal: a large message travels whole, beside small ones, and one above the limit is refused with the field.
#[tokio::test]
async fn large_messages() {
    let (publisher, _subscriber, mut subscription) = pair(channel(), 10).await;
    let mut large = numbered(0);
    large.parts.push(Bytes::from(vec![7; 900_000]));
    large.headers.push(("trace".to_owned(), Bytes::from_static(b"abc")));
    large.key = Some(Bytes::new());
    publisher.channels.publish(&prices(), vec![large.clone(), numbered(1)]).await.unwrap();
    let mut messages = Vec::new();
    while messages.len() < 2 {
        for event in tokio::time::timeout(DEADLINE, subscription.next()).await.unwrap().unwrap() {
            match event {
                ChannelEvent::Message { message, .. } => messages.push(message),
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(messages[0].timestamp_ms > 0, "the sidecar fills in the time");
    large.timestamp_ms = messages[0].timestamp_ms;
    assert!(messages[0] == large);

    let mut larger = numbered(2);
    larger.parts.push(Bytes::from(vec![7; 1 << 20]));
    let problem = publisher.channels.publish(&prices(), vec![larger]).await.unwrap_err();
    assert_eq!(problem.kind, ProblemKind::InvalidArgument);
    assert!(problem.message.contains("spec.maxMessageSize"), "{problem}");
}

/// Goal: when a publisher's sidecar shuts down, what it took is delivered first.
#[tokio::test]
async fn drain_flushes_before_goodbye() {
    let (publisher, _subscriber, mut subscription) = pair(channel(), 100).await;
    publisher.publish(0..1000).await;
    publisher.core.begin_drain();
    let refused = publisher.channels.publish(&prices(), vec![numbered(0)]).await.unwrap_err();
    assert_eq!(refused.kind, ProblemKind::Unavailable);
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 1000).await;
    assert_eq!(seen.numbers, (0..1000).collect::<Vec<_>>());
    assert_eq!(publisher.connections.drain(DEADLINE).await, 0, "connections end by themselves");
}

/// Goal: two pods that both publish and subscribe share one connection, whoever dialled first, and nothing is lost while
/// they agree on which.
#[tokio::test]
async fn one_connection_per_pair_of_pods() {
    let authority = TestAuthority::new();
    let first = Node::start(&authority, "first", "pricing").await;
    let second = Node::start(&authority, "second", "billing").await;
    first.show(ChannelView { publishers: vec![second.as_peer()], ..channel() });
    second.show(ChannelView { publishers: vec![first.as_peer()], ..channel() });
    let (mut at_first, mut at_second) = (first.subscribe(100).await, second.subscribe(100).await);
    first.wait_for_guests(1).await;
    second.wait_for_guests(1).await;
    // Everybody publishes the same numbers, so that each subscription sees each number twice.
    let publishing = async |node: &Node| {
        for batch in 0..100 {
            node.publish(batch * 10..(batch + 1) * 10).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let (mut seen_first, mut seen_second) = (Seen::default(), Seen::default());
    tokio::join!(
        publishing(&first),
        publishing(&second),
        seen_first.take_total(&mut at_first, 2000),
        seen_second.take_total(&mut at_second, 2000)
    );
    for mut seen in [seen_first, seen_second] {
        assert!(seen.gaps.is_empty(), "{:?}", seen.gaps);
        seen.numbers.sort_unstable();
        assert_eq!(seen.numbers, (0..1000).flat_map(|number| [number, number]).collect::<Vec<_>>());
    }
    let standing = |node: &Node| {
        let count = |direction| node.core.metrics().peer_connections.with_label_values(&[direction]).get();
        count("accepted") + count("dialled")
    };
    let agree = async {
        while standing(&first) != 1 || standing(&second) != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(
        tokio::time::timeout(DEADLINE, agree).await.is_ok(),
        "{} {}",
        standing(&first),
        standing(&second)
    );
    first.publish(1000..1010).await;
    second.publish(1000..1010).await;
    Seen::default().take_total(&mut at_first, 20).await;
    Seen::default().take_total(&mut at_second, 20).await;
}

/// Goal: who waits for what came and takes it gets all of it, however much that is, and nothing beyond the credit.
#[tokio::test]
async fn all_that_came_is_taken() {
    let node = Node::start(&TestAuthority::new(), "node", "pricing").await;
    node.show(ChannelView { buffer_messages: 10_000, ..channel() });
    let mut subscription = node.subscribe(9000).await;
    node.publish(0..9500).await;
    let mut events: Vec<ChannelEvent> = Vec::new();
    while events.len() < 9000 {
        tokio::time::timeout(DEADLINE, subscription.came()).await.expect("it is told");
        subscription.take(&mut events);
    }
    assert_eq!((events.len(), subscription.take(&mut events)), (9000, Took::Nothing));
    subscription.grant(500);
    tokio::time::timeout(DEADLINE, subscription.came()).await.expect("it is told");
    subscription.take(&mut events);
    assert_eq!(events.len(), 9500);
}

/// Goal: an app that gives credit and takes nothing makes its sidecar hold no more bytes than the Channel's buffer has.
#[tokio::test]
async fn what_waits_for_the_app_is_bounded_in_bytes() {
    const WINDOW: u64 = 64 * 1024;
    const PAYLOAD: u64 = 1024;
    let authority = TestAuthority::new();
    let publisher = Node::start(&authority, "publisher", "pricing").await;
    let subscriber = Node::start(&authority, "subscriber", "billing").await;
    publisher.show(channel());
    let buffer_bytes = usize::try_from(WINDOW).unwrap();
    subscriber.show(ChannelView { publishers: vec![publisher.as_peer()], buffer_bytes, ..channel() });
    let subscription = subscriber.subscribe(100).await;
    publisher.wait_for_guests(1).await;
    let payload = Bytes::from(vec![0; usize::try_from(PAYLOAD).unwrap()]);
    let message = Message { parts: vec![payload], ..Message::default() };
    publisher.channels.publish(&prices(), vec![message; 1000]).await.unwrap();
    let held = || subscriber.core.subscribers()[0].held_messages();
    let full = async {
        while held() < WINDOW / PAYLOAD / 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, full).await.expect("messages come");
    for _ in 0..5 {
        subscription.grant(100);
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(held() * PAYLOAD <= WINDOW + PAYLOAD, "{} messages are held", held());
    }
}
