//! Objects as the API server has them in, values of the control plane out.

use serde_json::{Value, json};

use super::*;

fn topic(status: &Value) -> Topic {
    let object = json!({
        "apiVersion": "pinnace.dev/v1alpha1", "kind": "Topic",
        "metadata": {"name": "orders", "namespace": "shop", "generation": 2},
        "spec": {}, "status": status,
    });
    api::decode::decode(&object).expect("a Topic")
}

fn ready(status: &str, reason: &str, generation: i64) -> Value {
    json!({"conditions": [{
        "type": "Ready", "status": status, "reason": reason, "message": "why",
        "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]})
}

/// Goal: a Topic that its Broker does not take is a problem in the view, with the controller's words.
#[test]
fn final_reasons_reach_the_view() {
    let refused = translate_topic(&topic(&ready("False", topic_reasons::REASON_NAMESPACE_NOT_ALLOWED, 2)));
    assert_eq!(refused.problem, "Topic shop/orders: why");
}

/// Goal: a Topic that its namespace's quota kept from its broker is a problem in the view; one that is there and may not grow
/// is used as it was.
#[test]
fn a_quota_cuts_nobody_off() {
    let mut status = ready("False", topic_reasons::REASON_QUOTA_EXCEEDED, 2);
    assert_eq!(translate_topic(&topic(&status)).problem, "Topic shop/orders: why");
    status["topicId"] = json!("x");
    assert_eq!(translate_topic(&topic(&status)).problem, "");
}

/// Goal: what passes by itself, or was said of an older spec, cuts nobody off.
#[test]
fn passing_reasons_do_not() {
    for status in [
        json!({}),
        ready("True", topic_reasons::REASON_IN_SYNC, 2),
        ready("False", topic_reasons::REASON_BROKER_NOT_READY, 2),
        ready("False", topic_reasons::REASON_CONFLICT, 1),
    ] {
        assert_eq!(translate_topic(&topic(&status)).problem, "", "{status}");
    }
}

/// Goal: a Broker is found under the name that its certificate carries.
#[test]
fn brokers_have_their_service_address() {
    let object = json!({
        "apiVersion": "pinnace.dev/v1alpha1", "kind": "Broker",
        "metadata": {"name": "default", "namespace": "shop"}, "spec": {"engine": "Embedded"},
    });
    let broker = translate_broker(&api::decode::decode(&object).expect("a Broker"));
    assert_eq!(broker.bootstrap, ["default-broker.shop.svc:9093"]);
    assert_eq!(broker.server_names, ["default-broker.shop.svc"]);
    assert_eq!(broker.problem, "");
}

/// Goal: a change that the control plane cares for is seen, a mere write of the status is not.
#[test]
fn prints_follow_what_matters() {
    let print = |status: &Value| print_topic(&Guarded(Ok(std::sync::Arc::new(topic(status)))));
    let quiet = print(&json!({}));
    assert_eq!(quiet, print(&ready("False", topic_reasons::REASON_PENDING, 2)));
    assert_ne!(quiet, print(&ready("False", topic_reasons::REASON_CONFLICT, 2)));
}
