//! `acknowledge: Required`: what is not acknowledged comes again, until it was tried often enough.

use super::mesh::*;
use crate::messaging::{ChannelEvent, ChannelSubscription, Receipt, SubscribeOptions};
use crate::view::{Acknowledge, ChannelView, Pattern, Redeliver};
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::certificates::TestAuthority;

pub(super) fn required(pattern: Pattern) -> ChannelView {
    ChannelView {
        pattern,
        acknowledge: Acknowledge::Required,
        redeliver: Redeliver { after: Duration::from_millis(400), attempts: 3 },
        ..channel()
    }
}

pub(super) async fn by_app(node: &Node, credit: u32) -> ChannelSubscription {
    let options = SubscribeOptions { credit, acknowledge: true, ..SubscribeOptions::default() };
    node.channels.subscribe(&prices(), options).await.unwrap()
}

/// What came: the sequence number and the receipt of each message, and the reasons of gaps.
#[derive(Default)]
struct Came {
    messages: Vec<(u64, Receipt)>,
    gaps: Vec<(u64, &'static str)>,
}

impl Came {
    async fn take(&mut self, subscription: &mut ChannelSubscription) {
        let events = tokio::time::timeout(DEADLINE, subscription.next()).await.expect("in time").unwrap();
        for event in events {
            match event {
                ChannelEvent::Message { position, receipt, .. } => {
                    self.messages.push((position.offset as u64, receipt.expect("a receipt")));
                }
                ChannelEvent::Gap { messages, reason, .. } => self.gaps.push((messages, reason)),
                ChannelEvent::End { reason } => panic!("{reason}"),
            }
        }
    }

    fn attempts(&self) -> Vec<(u64, u32)> {
        self.messages.iter().map(|(sequence, receipt)| (*sequence, receipt.attempt)).collect()
    }
}

/// Goal: PubSub: what the app does not acknowledge comes again to the same subscription with its attempt, an ack ends it,
/// and after the last attempt it is a gap that is counted.
#[tokio::test]
async fn unacknowledged_messages_come_again() {
    let (publisher, subscriber, subscription) = pair(required(Pattern::PubSub), 100).await;
    drop(subscription);
    publisher.wait_for_guests(0).await;
    let mut subscription = by_app(&subscriber, 100).await;
    publisher.wait_for_guests(1).await;
    publisher.publish(0..2).await;
    let mut came = Came::default();
    while came.messages.len() < 2 {
        came.take(&mut subscription).await;
    }
    assert_eq!(came.attempts(), [(1, 1), (2, 1)]);
    subscription.ack(&[came.messages[0].1.clone()]);
    while came.messages.len() < 4 {
        came.take(&mut subscription).await;
    }
    assert_eq!(came.attempts()[2..], [(2, 2), (2, 3)], "only the other one, again and again");
    while came.gaps.is_empty() {
        came.take(&mut subscription).await;
    }
    assert_eq!(came.gaps, [(1, "attempts_exhausted")]);
    let dropped = &publisher.core.metrics().dropped;
    let dropped = dropped.with_label_values(&["channel", "shop", "prices", "attempts_exhausted"]);
    assert_eq!((dropped.get(), came.messages.len()), (1, 4));
}

/// Goal: a nack brings a message again after its delay, to the local subscription as to one on another pod.
#[tokio::test]
async fn a_nack_brings_a_message_again() {
    let view =
        ChannelView { redeliver: Redeliver { after: DEADLINE, attempts: 3 }, ..required(Pattern::PubSub) };
    let (publisher, subscriber, subscription) = pair(view, 100).await;
    drop(subscription);
    publisher.wait_for_guests(0).await;
    let mut both = [by_app(&subscriber, 100).await, by_app(&publisher, 100).await];
    publisher.wait_for_guests(1).await;
    publisher.publish(0..1).await;
    for subscription in &mut both {
        let mut came = Came::default();
        came.take(subscription).await;
        subscription.nack(&[came.messages[0].1.clone()], Duration::from_millis(50));
        came.take(subscription).await;
        assert_eq!(came.attempts(), [(1, 1), (1, 2)]);
        subscription.ack(&[came.messages[1].1.clone()]);
    }
    let settled = async {
        let lag = publisher.core.metrics().lag.with_label_values(&["channel", "shop", "prices"]);
        while lag.get() != 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, settled).await.expect("nothing waits");
}

/// Goal: Pipeline: what a receiver had and did not acknowledge goes to another when it dies, and everything is done.
#[tokio::test]
async fn work_of_a_receiver_that_died_is_done_by_another() {
    let view =
        ChannelView { redeliver: Redeliver { after: DEADLINE, attempts: 3 }, ..required(Pattern::Pipeline) };
    let authority = TestAuthority::new();
    let publisher = Node::start(&authority, "publisher", "pricing").await;
    let dying = Node::start(&authority, "dying", "billing").await;
    let proxy = Proxy::start(publisher.address).await;
    publisher.show(view.clone());
    dying.show(ChannelView { publishers: vec![publisher.as_peer_at(proxy.address)], ..view });
    let mut dying_at = by_app(&dying, 50).await;
    publisher.wait_for_guests(1).await;
    publisher.publish(0..200).await;
    let mut first = Came::default();
    while first.messages.len() < 50 {
        first.take(&mut dying_at).await;
    }
    let done: Vec<Receipt> = first.messages[..20].iter().map(|(_, receipt)| receipt.clone()).collect();
    dying_at.ack(&done);
    // The acks travel before anything that comes back can: a later one would be given credit for.
    dying_at.grant(1);
    while first.messages.len() < 51 {
        first.take(&mut dying_at).await;
    }
    proxy.kill();
    let mut other = publisher.subscribe(10).await;
    let (mut seen, mut attempts) = (BTreeMap::new(), 0);
    while seen.len() < 180 {
        let events = tokio::time::timeout(DEADLINE, other.next()).await.expect("in time").unwrap();
        let mut count = 0;
        for event in events {
            let ChannelEvent::Message { position, receipt, .. } = event else { panic!("{event:?}") };
            attempts += receipt.as_ref().map_or(0, |receipt| receipt.attempt - 1);
            seen.insert(position.offset, receipt);
            count += 1;
        }
        other.grant(count);
    }
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), (21..=200).collect::<Vec<_>>());
    assert_eq!(attempts, 31, "what the first one had counts as a second attempt");
}

/// Goal: connections that are cut again and again lose nothing when acknowledgement is required.
#[tokio::test]
async fn cut_connections_lose_nothing() {
    let view = ChannelView {
        redeliver: Redeliver { after: Duration::from_millis(400), attempts: 100 },
        ..required(Pattern::PubSub)
    };
    let (publisher, subscriber, proxy) = proxied(view).await;
    let mut subscription = subscriber.subscribe(500).await;
    publisher.wait_for_guests(1).await;
    let publishing = async {
        for batch in 0..100_u64 {
            publisher.publish(batch * 20..(batch + 1) * 20).await;
            if batch % 30 == 10 {
                proxy.cut();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let reading = async {
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 2000 {
            let events = tokio::time::timeout(DEADLINE, subscription.next()).await.expect("in time").unwrap();
            let mut count = 0;
            for event in events {
                match event {
                    ChannelEvent::Message { position, .. } => {
                        seen.insert(position.offset);
                        count += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            subscription.grant(count);
        }
    };
    tokio::join!(publishing, reading);
}

/// Goal: a publisher's sidecar that ends keeps the receivers that have nothing to do until all work is acknowledged: the
/// receiver that has some may give it back.
#[tokio::test]
async fn receivers_stay_until_all_work_is_done() {
    let redeliver = Redeliver { after: DEADLINE, attempts: 3 };
    let [publisher, first, second] = three(ChannelView { redeliver, ..required(Pattern::Pipeline) }).await;
    let mut working = by_app(&first, 1).await;
    publisher.wait_for_guests(1).await;
    publisher.publish(0..1).await;
    let came = tokio::time::timeout(DEADLINE, working.next()).await.expect("in time").unwrap();
    assert_eq!(came.len(), 1);
    let mut idle = by_app(&second, 1).await;
    publisher.wait_for_guests(2).await;
    publisher.core.begin_drain();
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(working);
    let again = tokio::time::timeout(DEADLINE, idle.next()).await.expect("it comes").unwrap();
    let [ChannelEvent::Message { position, receipt: Some(receipt), .. }] = &again[..] else {
        panic!("{again:?}")
    };
    assert_eq!((position.offset, receipt.attempt), (1, 2));
    idle.ack(std::slice::from_ref(receipt));
    assert_eq!(publisher.connections.drain(DEADLINE).await, 0);
}
