//! Whole sidecars with a fake control plane: apps speak gRPC to their doors, everything between is real.
#![expect(clippy::tests_outside_test_module, clippy::unwrap_used, reason = "the whole file is a test")]

#[path = "control_plane/fake.rs"]
mod fake;
#[path = "control_plane/node.rs"]
mod node;

use fake::Fake;
use node::Node;

/// Goal: two apps that know nothing of each other exchange messages as soon as both have said what they do.
#[tokio::test]
async fn apps_find_each_other() {
    let fake = Fake::start().await;
    let shop = Node::start(&fake, "checkout-0", "checkout", None).await;
    let audit = Node::start(&fake, "audit-0", "audit", None).await;
    let mut subscription = audit.subscribe(100).await;
    shop.publish(&["first"]).await;
    fake.wait_for("the publisher is served to the subscriber", |reports| {
        reports.values().any(|report| report.channels.iter().any(|used| used.publishes))
    })
    .await;
    // Messages before the subscriber was there are not its own; publish until it is.
    let mut number = 0;
    let got = loop {
        shop.publish(&[&format!("again-{number}")]).await;
        number += 1;
        if let Some(text) = subscription.try_next().await {
            break text;
        }
    };
    assert!(got.starts_with("again-"), "{got}");
    let metrics = audit.admin("/metrics").await;
    assert!(
        metrics
            .contains(r#"pinnace_delivered_messages_total{kind="channel",name="prices",namespace="shop"}"#)
    );
    assert!(metrics.contains("pinnace_certificate_expiration_timestamp_seconds"));
    assert!(audit.admin("/ready").await.starts_with("HTTP/1.1 200"));
    shop.stop().await;
    audit.stop().await;
}

/// Goal: a control plane that goes away and comes back changes nothing for those who talk, and hears everything again.
#[tokio::test]
async fn the_control_plane_may_go_away() {
    let mut fake = Fake::start().await;
    let shop = Node::start(&fake, "checkout-0", "checkout", None).await;
    let audit = Node::start(&fake, "audit-0", "audit", None).await;
    let mut subscription = audit.subscribe(100).await;
    shop.publish_until_received(&mut subscription).await;
    fake.stop().await;
    shop.publish_until_received(&mut subscription).await;
    assert!(audit.admin("/ready").await.starts_with("HTTP/1.1 200"));
    fake.start_again().await;
    fake.wait_for("both report again", |reports| reports.len() == 2).await;
    let subscribed = |report: &proto::control::Report| report.channels.iter().any(|used| used.subscribes);
    fake.wait_for("what they do is known again", |reports| reports.values().any(subscribed)).await;
    shop.publish_until_received(&mut subscription).await;
    shop.stop().await;
    audit.stop().await;
}

/// Goal: a sidecar that is started again while the control plane is away works with what it has saved.
#[tokio::test]
async fn a_restart_without_the_control_plane() {
    let state = tempfile::tempdir().unwrap();
    let mut fake = Fake::start().await;
    let shop = Node::start(&fake, "checkout-0", "checkout", None).await;
    let audit = Node::start(&fake, "audit-0", "audit", Some(state.path())).await;
    let mut subscription = audit.subscribe(100).await;
    shop.publish_until_received(&mut subscription).await;
    fake.stop().await;
    drop(subscription);
    audit.stop().await;
    let audit = Node::start(&fake, "audit-0", "audit", Some(state.path())).await;
    assert!(audit.admin("/ready").await.starts_with("HTTP/1.1 200"));
    let mut subscription = audit.subscribe(100).await;
    shop.publish_until_received(&mut subscription).await;
    shop.stop().await;
    audit.stop().await;
}
