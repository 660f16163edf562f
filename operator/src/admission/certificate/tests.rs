//! What is written into the webhook configurations, and when nothing is.

use serde_json::json;

use super::*;

/// Goal: every webhook gets the bundle, and nothing else of it is touched.
#[test]
fn only_the_bundle_is_written() {
    let configuration = json!({"webhooks": [
        {"name": "one", "failurePolicy": "Ignore", "clientConfig": {"service": {"name": "s"}}},
        {"name": "two", "clientConfig": {"service": {"name": "s"}, "caBundle": "b2xk"}},
    ]});
    let part = with_bundle(&configuration, "new").expect("a change");
    assert_eq!(
        part,
        [
            json!({"name": "one", "clientConfig": {"caBundle": "bmV3"}}),
            json!({"name": "two", "clientConfig": {"caBundle": "bmV3"}}),
        ]
    );
}

/// Goal: with the bundle in place nothing is written.
#[test]
fn nothing_is_written_twice() {
    let configuration = json!({"webhooks": [{"name": "one", "clientConfig": {"caBundle": "bmV3"}}]});
    assert_eq!(with_bundle(&configuration, "new"), None);
}
