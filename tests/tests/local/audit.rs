//! Access lists that are tried before they act, on the example.

use super::program::Example;

/// Goal: with `mode: Audit` an app that no list names goes on, and its sidecar's log names it and the field; with
/// Enforce the same app, still running, is cut and told.
#[test]
fn lists_are_tried_before_they_act() {
    let example = Example::new();
    let mut up = example.up(&["--plain"]);
    up.wait_for_messages();
    let count = |said: &str| said.matches("channels/prices -> grpc").count();
    let listed = "subscribe: [{serviceAccount: shop}]";
    example.edit("2-messaging.yaml", listed, "subscribe: []\n    mode: Audit");
    up.wait_for("the audit", |said| {
        said.lines().any(|line| {
            ["Audit", "orders/shop", "orders/prices", "spec.access.subscribe"]
                .iter()
                .all(|w| line.contains(w))
        })
    });
    let before = count(&up.said());
    up.wait_for("more messages", |said| count(said) > before + 5);
    let refused = "service account orders/shop may not subscribe to Channel orders/prices";
    assert!(!up.said().contains(refused), "{}", up.said());
    let (done, said) = example.run_as("orders/billing", &["publish", "channels/prices", "hello"]);
    assert!(done, "no list names it, and it is let through: {said}");

    example.edit("2-messaging.yaml", "mode: Audit", "mode: Enforce");
    up.wait_for("the refusal", |said| said.contains(refused));
    let (done, said) = example.run_as("orders/billing", &["publish", "channels/prices", "hello"]);
    assert!(!done && said.contains("spec.access.publish"), "{said}");
    up.signal("TERM");
    assert!(up.wait().success(), "{}", up.said());
}
