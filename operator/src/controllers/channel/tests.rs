//! Channels from YAML in, status out.

use super::*;
use api::condition::State;

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
    let parts = [accepted(&channel)];
    let first = status(&ChannelStatus::default(), &channel, (&members, &parts), &time(1));
    assert_eq!((first.publishers, first.subscribers), (Some(1), Some(2)));
    assert!(api::condition::is_ready(&first.conditions, Some(2)));
    assert_eq!(status(&first, &channel, (&members, &parts), &time(2)), first);
}

/// Goal: fields that do not go together make the Channel not ready and are named.
#[test]
fn fields_that_do_not_fit_are_answered() {
    let channel = channel("{pattern: RequestReply, delivery: {overflow: Spill, spill: {topic: over}}}");
    let parts = [accepted(&channel)];
    let after = status(&ChannelStatus::default(), &channel, (&ChannelMembers::default(), &parts), &time(1));
    let ready = api::condition::find(&after.conditions, "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "NotSupported"));
    assert!(ready.message.contains("spec.delivery.overflow"), "{}", ready.message);
}

/// Goal: a Topic that a Channel names and that is not there, or not ready, makes it not ready and says which field names
/// it; a Channel that names none says nothing of Topics.
#[test]
fn topics_that_are_named_are_looked_for() {
    let both =
        channel("{record: {topic: log}, delivery: {acknowledge: Required, deadLetter: {topic: dead}}}");
    let answer = |log: Option<bool>, dead: Option<bool>| {
        move |name: &ObjectName| if *name == ObjectName::new("shop", "log") { log } else { dead }
    };
    for (find, state, reason, words) in [
        (answer(Some(true), Some(true)), State::True, REASON_TOPICS_READY, vec!["are ready"]),
        (answer(None, Some(false)), State::False, REASON_TOPIC_NOT_FOUND, vec!["spec.record", "shop/log"]),
        (answer(Some(true), None), State::False, REASON_TOPIC_NOT_FOUND, vec!["deadLetter", "shop/dead"]),
        (
            answer(Some(false), Some(false)),
            State::False,
            REASON_TOPIC_NOT_READY,
            vec!["spec.record", "spec.delivery.deadLetter"],
        ),
    ] {
        let part = topics(&both, find).unwrap();
        assert_eq!((part.kind, part.state, part.reason), (TOPICS_READY, state, reason));
        assert!(words.iter().all(|word| part.message.contains(word)), "{}", part.message);
    }
    assert_eq!(topics(&channel("{}"), |_| None), None);
}
