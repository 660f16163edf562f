//! Pattern Pipeline: each message goes to one receiver, wherever it is.

use super::mesh::*;
use crate::messaging::{ChannelSubscription, Message, ProblemKind};
use crate::view::{ChannelView, Overflow, Pattern};
use bytes::Bytes;
use peer_wire::{Origin, Sequenced};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use testkit::certificates::TestAuthority;

fn pipeline() -> ChannelView {
    ChannelView { pattern: Pattern::Pipeline, ..channel() }
}

/// Takes until all of `subscriptions` together have seen so many messages or gaps.
async fn take_together(subscriptions: &mut [ChannelSubscription], total: u64) -> Vec<Seen> {
    let mut seen: Vec<Seen> = subscriptions.iter().map(|_| Seen::default()).collect();
    while seen.iter().map(Seen::total).sum::<u64>() < total {
        let next = subscriptions.iter_mut().zip(&mut seen);
        let next = next.map(|(subscription, seen)| Box::pin(seen.take(subscription)));
        futures::future::select_all(next).await;
    }
    seen
}

fn all_of(seen: &[Seen]) -> Vec<u64> {
    let mut all: Vec<u64> = seen.iter().flat_map(|seen| seen.numbers.iter().copied()).collect();
    all.sort_unstable();
    all
}

/// Goal: what comes when the app has just gone, and its connection does not know it yet, is counted as dropped: its
/// publisher believes that it has arrived.
#[tokio::test]
async fn what_comes_after_the_app_is_counted() {
    let node = Node::start(&TestAuthority::new(), "node", "billing").await;
    node.show(pipeline());
    let subscription = node.subscribe(10).await;
    let subscriber = node.core.subscribers().remove(0);
    let (sidecar, waker) = ("shop/publisher".into(), Arc::default());
    subscriber.open(&sidecar, 7, &waker);
    subscriber.opened((&sidecar, &waker), 0);
    let come = |number: u64| {
        let origin = Some(Origin { sequence: number, attempt: 1, timeout_ms: None });
        subscriber.deliver(
            (&sidecar, &waker),
            vec![Sequenced { sequence: number, origin, frame_bytes: 30, message: numbered(number) }],
        );
    };
    come(1);
    drop(subscription);
    come(2);
    let dropped =
        node.core.metrics().dropped.with_label_values(&["channel", "shop", "prices", "disconnected"]);
    assert_eq!(dropped.get(), 2);
}

/// Goal: receivers on other pods and on the same one share the work, each message goes to one of them, and each of them
/// sees its part in order.
#[tokio::test]
async fn work_is_shared() {
    let [publisher, first, second] = three(pipeline()).await;
    let mut subscriptions =
        vec![first.subscribe(50).await, second.subscribe(50).await, publisher.subscribe(50).await];
    publisher.wait_for_guests(2).await;
    let publishing = async {
        for batch in 0..30 {
            publisher.publish(batch * 100..(batch + 1) * 100).await;
        }
    };
    let ((), seen) = tokio::join!(publishing, take_together(&mut subscriptions, 3000));
    assert_eq!(all_of(&seen), (0..3000).collect::<Vec<_>>());
    for seen in &seen {
        assert!(seen.numbers.len() >= 50, "everybody has a part: {}", seen.numbers.len());
        assert!(seen.numbers.is_sorted() && seen.gaps.is_empty());
    }
}

/// Goal: a receiver that is stuck holds its credit and no more, and when it dies the rest of what waited for it goes to
/// the other; nothing is doubled.
#[tokio::test]
async fn a_receiver_that_is_stuck_and_dies() {
    let [publisher, stuck, reading] = three(pipeline()).await;
    let proxy = Proxy::start(publisher.address).await;
    stuck.show(ChannelView { publishers: vec![publisher.as_peer_at(proxy.address)], ..pipeline() });
    let _stuck_at = stuck.subscribe(5).await;
    publisher.wait_for_guests(1).await;
    let keyed =
        |number: u64| Message { key: Some(Bytes::from((number % 7).to_string())), ..numbered(number) };
    // Nobody else is there, so these keys stick to it; five of them go out.
    publisher.channels.publish(&prices(), (0..100).map(keyed).collect()).await.unwrap();
    let reading_at = reading.subscribe(50).await;
    publisher.wait_for_guests(2).await;
    publisher.publish(100..1000).await;
    let mut subscriptions = vec![reading_at];
    let seen = take_together(&mut subscriptions, 900).await;
    assert_eq!(all_of(&seen), (100..1000).collect::<Vec<_>>(), "the other one gets all that has no key");
    proxy.kill();
    let mut seen = Seen::default();
    while seen.numbers.len() < 95 {
        assert!(seen.take(&mut subscriptions[0]).await);
    }
    seen.numbers.sort_unstable();
    assert_eq!(seen.numbers, (5..100).collect::<Vec<_>>(), "its keys have moved, with what waited");
    // Of what it was sent, its sidecar may not have confirmed all before it died.
    let untold = seen.gaps.iter().map(|gap| gap.2).sum::<u64>();
    assert!(untold <= 5 && seen.gaps.iter().all(|gap| gap.3 == "disconnected"), "{:?}", seen.gaps);
}

/// Goal: a receiver that leaves orderly hands on what it was not sent.
#[tokio::test]
async fn a_receiver_that_leaves() {
    let [publisher, leaving, staying] = three(pipeline()).await;
    let leaving_at = leaving.subscribe(10).await;
    publisher.wait_for_guests(1).await;
    publisher.publish(0..500).await;
    let mut staying_at = vec![staying.subscribe(10).await];
    publisher.wait_for_guests(2).await;
    drop(leaving_at);
    let seen = take_together(&mut staying_at, 490).await;
    let all = all_of(&seen);
    let distinct: BTreeSet<u64> = all.iter().copied().collect();
    assert_eq!(distinct.len(), all.len(), "nothing twice");
    assert!(all.len() >= 490 - 10, "{}", all.len());
}

/// Goal: without a receiver a blocking publish waits and says so; one that comes in time gets the message.
#[tokio::test]
async fn without_receivers_a_publish_waits() {
    let view = ChannelView { block_timeout: Duration::from_millis(300), ..pipeline() };
    let [publisher, first, _] = three(view).await;
    let problem = publisher.channels.publish(&prices(), vec![numbered(0)]).await.unwrap_err();
    assert_eq!(problem.kind, ProblemKind::Unavailable);
    for word in ["no subscriber came", "spec.delivery.blockTimeout", "0 of 1 messages"] {
        assert!(problem.message.contains(word), "{problem}");
    }
    publisher.show(pipeline());
    let late = async {
        let mut subscription = first.subscribe(10).await;
        Seen::default().take(&mut subscription).await
    };
    // What was not published has taken no number: there is no hole.
    let name = prices();
    let publishing = publisher.channels.publish(&name, vec![numbered(0)]);
    let (published, came) = tokio::join!(publishing, late);
    assert!(published.is_ok() && came);
}

/// Goal: what finds no room under DropNewest is counted and told to somebody.
#[tokio::test]
async fn drop_newest_adds_up() {
    let view = ChannelView { overflow: Overflow::DropNewest, buffer_messages: 20, ..pipeline() };
    let [publisher, first, _] = three(view).await;
    let mut subscriptions = vec![first.subscribe(5).await];
    publisher.wait_for_guests(1).await;
    publisher.publish(0..100).await;
    let seen = take_together(&mut subscriptions, 100).await;
    let dropped =
        publisher.core.metrics().dropped.with_label_values(&["channel", "shop", "prices", "dropped_newest"]);
    assert!(dropped.get() > 0);
    assert_eq!(dropped.get() + seen[0].numbers.len() as u64, 100);
}

/// Goal: connections that are cut while messages flow lose and double nothing.
#[tokio::test]
async fn cut_connections_lose_nothing() {
    let [publisher, first, second] = three(pipeline()).await;
    let proxy = Proxy::start(publisher.address).await;
    let through = vec![publisher.as_peer_at(proxy.address)];
    first.show(ChannelView { publishers: through, ..pipeline() });
    let mut subscriptions = vec![first.subscribe(50).await, second.subscribe(50).await];
    publisher.wait_for_guests(2).await;
    let publishing = async {
        for batch in 0..100_u64 {
            publisher.publish(batch * 50..(batch + 1) * 50).await;
            if batch % 30 == 10 {
                proxy.cut();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let ((), seen) = tokio::join!(publishing, take_together(&mut subscriptions, 5000));
    assert_eq!(all_of(&seen), (0..5000).collect::<Vec<_>>());
    assert!(seen.iter().all(|seen| seen.gaps.is_empty()));
}

/// Goal: the metric says how long a publish took, not how long it might have.
#[tokio::test]
async fn a_publish_is_timed_from_its_beginning() {
    let view = ChannelView { block_timeout: Duration::from_secs(3600), ..pipeline() };
    let [publisher, _, _] = three(view).await;
    let _here = publisher.subscribe(10).await;
    publisher.publish(0..5).await;
    let duration =
        publisher.core.metrics().publish_duration.with_label_values(&["channel", "shop", "prices"]);
    assert_eq!(duration.get_sample_count(), 1);
    assert!(duration.get_sample_sum() < 1800.0, "{} s", duration.get_sample_sum());
}
