//! Who may what is enforced by the side that sends and by the side that receives.

use super::mesh::*;
use crate::messaging::{ProblemKind, SubscribeOptions};
use crate::view::{ChannelView, IdentityPattern};
use std::time::Duration;
use testkit::certificates::TestAuthority;

/// Goal: an app that may not is told the object and the field, before anything is sent.
#[tokio::test]
async fn apps_are_refused_with_the_field_to_change() {
    let authority = TestAuthority::new();
    let node = Node::start(&authority, "node", "billing").await;
    let unknown = node.channels.publish(&prices(), vec![numbered(0)]).await.unwrap_err();
    assert_eq!(unknown.kind, ProblemKind::Unavailable, "no view yet");
    node.show(ChannelView { may_publish: false, may_subscribe: false, ..channel() });
    let problem = node.channels.publish(&prices(), vec![numbered(0)]).await.unwrap_err();
    assert_eq!(problem.kind, ProblemKind::PermissionDenied);
    for word in ["shop/billing", "Channel shop/prices", "spec.access.publish"] {
        assert!(problem.message.contains(word), "{problem}");
    }
    let Err(problem) = node.channels.subscribe(&prices(), SubscribeOptions::default()).await else {
        panic!("it may not subscribe")
    };
    assert_eq!(problem.kind, ProblemKind::PermissionDenied);
    assert!(problem.message.contains("spec.access.subscribe"), "{problem}");
}

/// Goal: a publisher's sidecar serves nobody whom its own view does not allow, whatever the other view says.
#[tokio::test]
async fn the_publisher_refuses_who_may_not_subscribe() {
    let authority = TestAuthority::new();
    let publisher = Node::start(&authority, "publisher", "pricing").await;
    let subscriber = Node::start(&authority, "subscriber", "billing").await;
    let others = vec![IdentityPattern("shop/audit".into())];
    publisher.show(ChannelView { subscriber_identities: others, ..channel() });
    subscriber.show(ChannelView { publishers: vec![publisher.as_peer()], ..channel() });
    let mut subscription = subscriber.subscribe(10).await;
    let connections = publisher.core.metrics().peer_connections.with_label_values(&["accepted"]);
    while connections.get() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    publisher.publish(0..10).await;
    let nothing = tokio::time::timeout(Duration::from_millis(500), subscription.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    assert_eq!(publisher.core.guest_count(), 0);

    // When its view allows it, the subscriber asks again by itself.
    publisher.show(channel());
    publisher.wait_for_guests(1).await;
    publisher.publish(10..20).await;
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 10).await;
    assert_eq!(seen.numbers, (10..20).collect::<Vec<_>>());
}

/// Goal: a subscriber's sidecar takes nothing from a peer that is not whom the view names, or that may not publish.
#[tokio::test]
async fn the_subscriber_refuses_who_may_not_publish() {
    let authority = TestAuthority::new();
    let publisher = Node::start(&authority, "publisher", "pricing").await;
    let subscriber = Node::start(&authority, "subscriber", "billing").await;
    publisher.show(channel());
    let mut impostor = publisher.as_peer();
    impostor.identity = "shop/somebody".into();
    subscriber.show(ChannelView { publishers: vec![impostor], ..channel() });
    let mut subscription = subscriber.subscribe(10).await;
    let mut misnamed = publisher.as_peer();
    misnamed.sidecar = "shop/other-pod".into();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(publisher.core.guest_count(), 0, "another identity");
    subscriber.show(ChannelView { publishers: vec![misnamed], ..channel() });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(publisher.core.guest_count(), 0, "another pod at the address");
    let others = vec![IdentityPattern("shop/audit".into())];
    let view =
        ChannelView { publishers: vec![publisher.as_peer()], publisher_identities: others, ..channel() };
    subscriber.show(view);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(publisher.core.guest_count(), 0, "not among the publishers");
    subscriber.show(ChannelView { publishers: vec![publisher.as_peer()], ..channel() });
    publisher.wait_for_guests(1).await;
    publisher.publish(0..5).await;
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 5).await;
}

/// Goal: a change of access cuts what stands at once: at the publisher, and at the subscriber with the error for its app.
#[tokio::test]
async fn a_change_of_access_cuts_subscriptions() {
    let (publisher, subscriber, mut subscription) = pair(channel(), 10).await;
    publisher.publish(0..5).await;
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 5).await;
    publisher.show(ChannelView { subscriber_identities: Vec::new(), ..channel() });
    publisher.wait_for_guests(0).await;
    publisher.publish(5..10).await;
    subscriber.show(ChannelView { may_subscribe: false, publishers: Vec::new(), ..channel() });
    while seen.take(&mut subscription).await {}
    let reason = seen.ended.expect("the app is told");
    assert_eq!(reason.kind, ProblemKind::PermissionDenied);
    assert!(reason.message.contains("spec.access.subscribe"), "{reason}");
    assert_eq!(seen.numbers, [0, 1, 2, 3, 4]);
}
