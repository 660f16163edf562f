//! Access lists that are only tried: nobody is refused, and both sides count whom Enforce would refuse.

use super::mesh::*;
use crate::messaging::ProblemKind;
use crate::view::{ChannelView, IdentityPattern, Listed};
use std::time::Duration;
use testkit::certificates::TestAuthority;

/// As soon as this a change of access acts on what runs.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Lists that name neither the publisher nor the subscriber.
fn others() -> ChannelView {
    ChannelView {
        may_publish: false,
        may_subscribe: false,
        publisher_identities: vec![IdentityPattern("shop/sensor".into())],
        subscriber_identities: vec![IdentityPattern("shop/display".into())],
        ..channel()
    }
}

/// The same lists, only tried.
fn tried() -> ChannelView {
    let audit = Some(Listed { publish: false, subscribe: false });
    ChannelView { may_publish: true, may_subscribe: true, audit, ..others() }
}

fn audited(node: &Node, operation: &str, side: &str) -> u64 {
    let labels = ["channel", "shop", "prices", operation, side];
    node.core.metrics().audited.with_label_values(&labels).get()
}

fn all(node: &Node) -> [u64; 4] {
    [("publish", "app"), ("subscribe", "app"), ("publish", "peer"), ("subscribe", "peer")]
        .map(|(operation, side)| audited(node, operation, side))
}

/// Goal: in audit mode everything passes and each side counts who is in no list; when the mode becomes Enforce, what
/// runs is cut at once, at both ends, with the field to change.
#[tokio::test]
async fn audit_lets_through_and_both_sides_count() {
    let (publisher, subscriber, mut subscription) = pair(tried(), 100).await;
    publisher.publish(0..5).await;
    publisher.publish(5..10).await;
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 10).await;
    assert_eq!(all(&publisher), [2, 0, 0, 1], "each publish, and the peer's subscription");
    assert_eq!(all(&subscriber), [0, 1, 1, 0], "the subscription, and whom it hears");

    let begun = runtime::clock::now();
    publisher.show(others());
    subscriber.show(others());
    publisher.wait_for_guests(0).await;
    while seen.take(&mut subscription).await {}
    let took = runtime::clock::now() - begun;
    assert!(took < AT_ONCE, "{took:?}");
    let reason = seen.ended.expect("the app is told");
    assert_eq!(reason.kind, ProblemKind::PermissionDenied);
    assert!(reason.message.contains("spec.access.subscribe"), "{reason}");
    let refused = publisher.channels.publish(&prices(), vec![numbered(10)]).await.unwrap_err();
    assert_eq!(refused.kind, ProblemKind::PermissionDenied);
    assert_eq!((all(&publisher), all(&subscriber)), ([2, 0, 0, 1], [0, 1, 1, 0]), "refused, not audited");
}

/// Goal: who is listed is not counted; lists that are made tighter under audit count a subscription that stands, and
/// cut nothing.
#[tokio::test]
async fn a_tighter_list_counts_what_stands() {
    let listed = Some(Listed { publish: true, subscribe: true });
    let whole = ChannelView { audit: listed, ..channel() };
    let (publisher, subscriber, mut subscription) = pair(whole, 100).await;
    publisher.publish(0..5).await;
    let mut seen = Seen::default();
    seen.take_total(&mut subscription, 5).await;
    assert_eq!((all(&publisher), all(&subscriber)), ([0; 4], [0; 4]));
    publisher.show(tried());
    subscriber.show(ChannelView { publishers: vec![publisher.as_peer()], ..tried() });
    let wait = async {
        while audited(&publisher, "subscribe", "peer") + audited(&subscriber, "subscribe", "app") < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("what stands is counted");
    publisher.publish(5..10).await;
    seen.take_total(&mut subscription, 10).await;
    assert_eq!(seen.numbers, (0..10).collect::<Vec<_>>());
    assert_eq!((all(&publisher), all(&subscriber)), ([1, 0, 0, 1], [0, 1, 1, 0]));
}

/// Goal: an app of the publisher's own pod is audited like any other.
#[tokio::test]
async fn apps_of_one_pod_are_audited() {
    let authority = TestAuthority::new();
    let node = Node::start(&authority, "node", "pricing").await;
    node.show(tried());
    let mut subscription = node.subscribe(10).await;
    node.publish(0..1).await;
    Seen::default().take_total(&mut subscription, 1).await;
    assert_eq!(all(&node), [1, 1, 0, 0]);
}
