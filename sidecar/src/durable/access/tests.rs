//! Verdicts over small views.

use bytes::Bytes;

use super::*;
use crate::durable::Start;
use crate::view::BrokerView;

fn name() -> TopicName {
    TopicName { namespace: "shop".into(), name: "orders".into() }
}

fn view(change: impl FnOnce(&mut TopicView)) -> View {
    let mut topic = TopicView {
        topic_name: "orders".into(),
        partitions: 1,
        max_message_bytes: 10,
        may_publish: true,
        may_subscribe: true,
        broker: "shop/default".into(),
        problem: String::new(),
    };
    change(&mut topic);
    View {
        version: 1,
        topics: [(name(), topic)].into(),
        broker: Some(BrokerView {
            namespace: "shop".into(),
            name: "default".into(),
            bootstrap: vec![],
            server_names: vec![],
        }),
        ..View::default()
    }
}

/// Goal: each way a Topic cannot be used gives its own kind and names what to change.
#[test]
fn refusals_name_object_and_field() {
    let cases = [
        (View::default(), ProblemKind::Unavailable, "no view"),
        (View { version: 1, ..View::default() }, ProblemKind::NotFound, "spec.access"),
        (view(|topic| topic.may_publish = false), ProblemKind::PermissionDenied, "spec.access.publish"),
        (view(|topic| topic.problem = "no disk".into()), ProblemKind::Unavailable, "no disk"),
        (view(|topic| topic.broker = "infra/big".into()), ProblemKind::NotSupported, "pinnace.dev/broker"),
    ];
    for (view, kind, text) in cases {
        let problem = publish(&view, &name()).unwrap_err();
        assert_eq!(problem.kind, kind, "{problem}");
        assert!(problem.message.contains(text) && problem.message.contains("shop/orders"), "{problem}");
    }
    let problem = subscribe(&view(|topic| topic.may_subscribe = false), &name()).unwrap_err();
    assert!(problem.message.contains("spec.access.subscribe"), "{problem}");
    assert!(publish(&view(|_| ()), &name()).is_ok() && subscribe(&view(|_| ()), &name()).is_ok());
}

/// Goal: one part, within the limit; the text names the limit's field.
#[test]
fn messages_are_checked_before_the_broker() {
    let view = view(|_| ());
    let topic = publish(&view, &name()).unwrap();
    let message = |parts: Vec<Bytes>| Message { parts, ..Message::default() };
    assert!(check_message(&name(), &topic, &message(vec![Bytes::from_static(b"0123456789")])).is_ok());
    for (parts, text) in [
        (vec![], "exactly one part"),
        (vec![Bytes::new(), Bytes::new()], "exactly one part"),
        (vec![Bytes::from_static(b"0123456789a")], "spec.maxMessageSize"),
    ] {
        let problem = check_message(&name(), &topic, &message(parts)).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::InvalidArgument);
        assert!(problem.message.contains(text), "{problem}");
    }
}

/// Goal: options that make no sense are refused, not guessed.
#[test]
fn options_are_checked() {
    let options =
        TopicOptions { group: "billing".into(), start: Start::Latest, credit: 1, acknowledge: true };
    assert!(check_options(&name(), &options).is_ok());
    for bad in [
        TopicOptions { credit: 0, ..options.clone() },
        TopicOptions { credit: CREDIT_MAX + 1, ..options.clone() },
        TopicOptions { group: String::new(), ..options.clone() },
        TopicOptions { group: "g".repeat(250), ..options },
    ] {
        assert_eq!(check_options(&name(), &bad).unwrap_err().kind, ProblemKind::InvalidArgument);
    }
}
