//! Names as apps write them.

use super::*;

/// Goal: both kinds, with and without a namespace, mean what the documentation says.
#[test]
fn names_are_read() {
    let own = Name::parse("channels/prices", "shop").unwrap();
    assert_eq!(own, Name::Channel(ChannelName { namespace: "shop".into(), name: "prices".into() }));
    let other = Name::parse("topics/orders.finance", "shop").unwrap();
    assert_eq!(other, Name::Topic(TopicName { namespace: "finance".into(), name: "orders".into() }));
}

/// Goal: what is not a name is refused with what to write instead.
#[test]
fn other_texts_are_refused() {
    for text in [
        "",
        "prices",
        "queues/a",
        "topics/",
        "topics/a.",
        "topics/A",
        "topics/a.b.c",
        "topics/-a",
        "topics/a/b",
    ] {
        let problem = Name::parse(text, "shop").unwrap_err();
        assert_eq!(problem.kind, ProblemKind::InvalidArgument, "{text}");
        assert!(problem.message.contains("use topics/NAME or channels/NAME"), "{}", problem.message);
    }
}
