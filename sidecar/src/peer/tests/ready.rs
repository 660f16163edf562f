//! `spec.ready.subscribers`: a publish waits for subscribers, and says what it misses.

use super::mesh::*;
use crate::messaging::ProblemKind;
use crate::view::{Acknowledge, ChannelView, Overflow};
use std::time::Duration;
use testkit::certificates::TestAuthority;

const SHORT: Duration = Duration::from_millis(50);

/// Goal: the first message waits for as many subscribers as the Channel asks for, of this pod and of others, and all
/// of them get it.
#[tokio::test]
async fn the_first_message_waits_for_its_subscribers() {
    let authority = TestAuthority::new();
    let publisher = Node::start(&authority, "publisher", "pricing").await;
    let subscriber = Node::start(&authority, "subscriber", "billing").await;
    let view = ChannelView { ready_subscribers: 2, ..channel() };
    publisher.show(view.clone());
    subscriber.show(ChannelView { publishers: vec![publisher.as_peer()], ..view });
    let joining = async {
        let local = publisher.subscribe(10).await;
        tokio::time::sleep(SHORT).await;
        (local, subscriber.subscribe(10).await)
    };
    let ((), (mut local, mut remote)) = tokio::join!(publisher.publish(0..3), joining);
    for subscription in [&mut local, &mut remote] {
        let mut seen = Seen::default();
        seen.take_total(subscription, 3).await;
        assert_eq!(seen.numbers, [0, 1, 2]);
    }
}

/// Goal: without enough subscribers a publish fails, whatever the overflow, and says how many are there and which
/// field to change; nothing is published.
#[tokio::test]
async fn too_few_subscribers_are_named() {
    for overflow in [Overflow::Block, Overflow::DropNewest] {
        let view = ChannelView { ready_subscribers: 3, overflow, ..channel() };
        let (publisher, _subscriber, _subscription) = pair(view, 10).await;
        let name = prices();
        let publish = publisher.channels.publish_patiently(&name, vec![numbered(0)], SHORT);
        let problem = publish.await.unwrap_err();
        assert_eq!(problem.kind, ProblemKind::Unavailable);
        for word in ["asks for 3, and 1 subscribers", "spec.ready.subscribers", "0 of 1 messages"] {
            assert!(problem.message.contains(word), "{problem}");
        }
        assert_eq!(
            publisher.core.metrics().published.with_label_values(&["channel", "shop", "prices"]).get(),
            0
        );
    }
}

/// Goal: a publish that waits already need not wait for what a newer view does not ask for any more.
#[tokio::test]
async fn a_view_that_asks_for_fewer_frees_who_waits() {
    let view = ChannelView { ready_subscribers: 5, ..channel() };
    let (publisher, _subscriber, mut subscription) = pair(view.clone(), 10).await;
    let lowering = async {
        tokio::time::sleep(SHORT).await;
        publisher.show(ChannelView { ready_subscribers: 1, ..view });
    };
    tokio::join!(publisher.publish(0..1), lowering);
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 1).await;
}

/// The connection is cut before the subscriber has the answer to its Subscribe, while messages are published.
async fn loses_the_answer(view: ChannelView) {
    let view = ChannelView { ready_subscribers: 1, ..view };
    let (publisher, subscriber, proxy) = proxied(view).await;
    let mut subscription = subscriber.subscribe(10).await;
    publisher.publish(0..1).await;
    proxy.kill();
    let name = prices();
    let gone = async {
        let mut next = 1;
        loop {
            let publish = publisher.channels.publish_patiently(&name, vec![numbered(next)], SHORT);
            match publish.await {
                Ok(_) => next += 1,
                Err(problem) => break (next, problem),
            }
        }
    };
    let (next, problem) = tokio::time::timeout(DEADLINE, gone).await.unwrap();
    assert!(problem.message.contains("asks for 1, and 0 subscribers"), "{problem}");
    proxy.thaw();
    publisher.publish(next..next + 1).await;
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, next + 1).await;
    assert_eq!(seen.numbers, (0..=next).collect::<Vec<_>>());
}

/// Goal: a subscriber whose connection is lost does not count until it is back, and then it gets all that was published
/// since it counted, although it never heard that it did.
#[tokio::test]
async fn who_is_away_does_not_count() {
    loses_the_answer(channel()).await;
}

/// Goal: the same where each message is to be acknowledged.
#[tokio::test]
async fn a_lost_answer_loses_no_message_to_acknowledge() {
    loses_the_answer(ChannelView { acknowledge: Acknowledge::Required, ..channel() }).await;
}
