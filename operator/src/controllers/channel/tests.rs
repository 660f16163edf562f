//! Channels from YAML in, status out.

use super::*;

fn channel(spec: &str) -> Channel {
    serde_yaml::from_str(&format!("metadata: {{name: prices, namespace: shop, generation: 2}}\nspec: {spec}"))
        .unwrap()
}

fn time(second: i64) -> Time {
    Time(jiff::Timestamp::from_second(second).unwrap())
}

/// Goal: a Channel is ready at once, says who is there, and the same again changes nothing.
#[test]
fn status_is_steady() {
    let channel = channel("{}");
    let members = ChannelMembers {
        publishers: vec!["shop/a".into()],
        subscribers: vec!["shop/b".into(), "shop/c".into()],
    };
    let first = status(&ChannelStatus::default(), &channel, &members, &time(1));
    assert_eq!((first.publishers, first.subscribers), (Some(1), Some(2)));
    assert!(api::condition::is_ready(&first.conditions, Some(2)));
    assert_eq!(status(&first, &channel, &members, &time(2)), first);
}

/// Goal: a field whose machinery comes later makes the Channel not ready and is named.
#[test]
fn later_fields_are_answered() {
    let after = status(
        &ChannelStatus::default(),
        &channel("{delivery: {overflow: Spill, spill: {topic: over}}}"),
        &ChannelMembers::default(),
        &time(1),
    );
    let ready = api::condition::find(&after.conditions, "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "NotSupported"));
    assert!(ready.message.contains("spec.delivery.spill"), "{}", ready.message);
}
