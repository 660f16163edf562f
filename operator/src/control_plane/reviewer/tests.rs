//! Answers of the Kubernetes API in, identities or reasons out.

use serde_json::{Value, json};

use super::*;

fn status(change: impl FnOnce(&mut Value)) -> TokenReviewStatus {
    let mut status = json!({
        "authenticated": true,
        "audiences": ["pinnace"],
        "user": {
            "username": "system:serviceaccount:shop:checkout",
            "extra": {"authentication.kubernetes.io/pod-name": ["checkout-1"]},
        },
    });
    change(&mut status);
    serde_json::from_value(status).expect("a status of a TokenReview")
}

/// Goal: a Pod's token for our audience proves its service account.
#[test]
fn a_pods_token_proves_its_service_account() {
    let identity = read(&status(|_| {})).expect("it proves one");
    assert_eq!(identity, Identity::new("shop", "checkout"));
}

/// Goal: anything less proves nothing, and the reason says what is missing.
#[test]
fn anything_less_is_refused_with_the_reason() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 6] = [
        (|status| status["authenticated"] = json!(false), "does not know it"),
        (|status| *status = json!({"error": "token has expired"}), "token has expired"),
        (|status| status["audiences"] = json!(["https://kubernetes.default.svc"]), "audience pinnace"),
        (|status| status["audiences"] = Value::Null, "audience pinnace"),
        (|status| status["user"]["username"] = json!("admin"), "no service account"),
        (|status| status["user"]["extra"] = Value::Null, "bound to no Pod"),
    ];
    for (change, part) in cases {
        let reason = read(&status(change)).expect_err("it is refused");
        assert!(reason.contains(part), "{part} not in {reason}");
    }
}
