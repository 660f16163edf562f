//! Every refusal names the object and what to change; nobody is dialled who may not be.

use super::*;
use crate::messaging::TopicName;
use crate::view::Listed;
use std::sync::Arc;
use std::time::Duration;

fn name() -> ChannelName {
    ChannelName { namespace: "shop".into(), name: "prices".into() }
}

fn patterns(of: &[&str]) -> Vec<IdentityPattern> {
    of.iter().map(|text| IdentityPattern(Arc::from(*text))).collect()
}

fn peer(pod: &str, account: &str) -> PeerView {
    PeerView {
        sidecar: format!("shop/{pod}").into(),
        address: "10.0.0.1:7401".into(),
        identity: account.into(),
    }
}

fn channel() -> ChannelView {
    ChannelView {
        pattern: Pattern::PubSub,
        overflow: Overflow::Block,
        block_timeout: Duration::from_secs(5),
        buffer_messages: 10,
        buffer_bytes: 1000,
        max_message_bytes: 100,
        may_publish: true,
        may_subscribe: true,
        publishers: vec![peer("a", "shop/pricing"), peer("b", "shop/other"), peer("own", "shop/pricing")],
        subscriber_identities: patterns(&["finance/*"]),
        publisher_identities: patterns(&["shop/pricing"]),
        ..ChannelView::default()
    }
}

fn view(channel: ChannelView) -> View {
    View { version: 1, channels: [(name(), channel)].into(), ..View::default() }
}

/// Goal: what this version cannot carry is refused with the field, whoever asks.
#[test]
fn what_is_not_built_is_refused() {
    let spill = Some(TopicName { namespace: "shop".into(), name: "log".into() });
    let cases = [
        (ChannelView { pattern: Pattern::Unknown, ..channel() }, "spec.pattern"),
        (ChannelView { overflow: Overflow::Unknown, ..channel() }, "spec.delivery.overflow"),
        (ChannelView { overflow: Overflow::Spill, ..channel() }, "spec.delivery.spill"),
        (ChannelView { acknowledge: Acknowledge::Unknown, ..channel() }, "spec.delivery.acknowledge"),
        (ChannelView { spill, ..channel() }, "spec.delivery.spill"),
    ];
    for (channel, word) in cases {
        let view = view(channel);
        for outcome in
            [publish(&view, &name(), "x"), subscribe(&view, &name(), "x"), serve(&view, &name(), "finance/a")]
        {
            let problem = outcome.unwrap_err();
            assert_eq!(problem.kind, ProblemKind::NotSupported);
            assert!(problem.message.contains(word) && problem.message.contains("shop/prices"), "{problem}");
        }
        assert_eq!(sources(&view, &name(), "shop/own").count(), 0);
    }
}

/// Goal: fields that do not go together are refused with both of them.
#[test]
fn what_does_not_go_together_is_refused() {
    let work = |pattern| ChannelView { pattern, ..channel() };
    let acknowledged = ChannelView { acknowledge: Acknowledge::Required, ..channel() };
    let record = Some(TopicName { namespace: "shop".into(), name: "log".into() });
    let spills = ChannelView { overflow: Overflow::Spill, spill: record.clone(), ..channel() };
    for (channel, word) in [
        (ChannelView { pattern: Pattern::RequestReply, ..spills.clone() }, "RequestReply"),
        (ChannelView { record, ..work(Pattern::RequestReply) }, "RequestReply"),
        (ChannelView { overflow: Overflow::DropOldest, ..work(Pattern::Pipeline) }, "PubSub"),
        (
            ChannelView { overflow: Overflow::KeepLatest, ..acknowledged.clone() },
            "Block, DropNewest or Spill",
        ),
        (ChannelView { pattern: Pattern::RequestReply, ..acknowledged.clone() }, "spec.pattern RequestReply"),
    ] {
        let text = does_not_fit(&channel).unwrap();
        assert!(text.contains(word), "{text}");
    }
    let both = ChannelView { acknowledge: Acknowledge::Required, ..spills.clone() };
    for channel in [work(Pattern::Pipeline), work(Pattern::RequestReply), acknowledged, spills, both] {
        assert_eq!((not_built(&channel), does_not_fit(&channel)), (None, None));
    }
}

/// Goal: each way of using a Channel is for its pattern, and the refusal names the other one.
#[test]
fn calls_are_for_their_pattern() {
    let asking = view(ChannelView { pattern: Pattern::RequestReply, ..channel() });
    let (plain, name) = (view(channel()), name());
    for (refused, word) in [
        (publish(&asking, &name, "x"), "use Request"),
        (subscribe(&asking, &name, "x"), "use Serve"),
        (request(&plain, &name, "x"), "use Publish"),
        (answer(&plain, &name, "x"), "use Subscribe"),
    ] {
        let problem = refused.unwrap_err();
        assert_eq!(problem.kind, ProblemKind::InvalidArgument);
        assert!(problem.message.contains(word), "{problem}");
    }
    assert!(request(&asking, &name, "x").is_ok() && answer(&asking, &name, "x").is_ok());
    assert!(receive(&asking, &name, "x").is_ok() && receive(&plain, &name, "x").is_ok());
}

/// Goal: no view, no object, an object with a problem, and no permission are four different answers.
#[test]
fn refusals_differ() {
    let kind = |view: &View| publish(view, &name(), "shop/a").map(drop).map_err(|problem| problem.kind);
    assert_eq!(kind(&View::default()), Err(ProblemKind::Unavailable));
    assert_eq!(kind(&View { version: 1, ..View::default() }), Err(ProblemKind::NotFound));
    let broken = ChannelView { problem: "spec.pattern cannot change".to_owned(), ..channel() };
    assert_eq!(kind(&view(broken)), Err(ProblemKind::Unavailable));
    assert_eq!(
        kind(&view(ChannelView { may_publish: false, ..channel() })),
        Err(ProblemKind::PermissionDenied)
    );
    assert_eq!(kind(&view(channel())), Ok(()));
}

/// Goal: a peer is served when its identity may subscribe and our app may publish.
#[test]
fn peers_are_served_by_their_identity() {
    let view_of = |channel| view(channel);
    assert!(serve(&view_of(channel()), &name(), "finance/billing").is_ok());
    let problem = serve(&view_of(channel()), &name(), "shop/billing").unwrap_err();
    assert_eq!(problem.kind, ProblemKind::PermissionDenied);
    assert!(problem.message.contains("shop/billing") && problem.message.contains("spec.access.subscribe"));
    let view = view_of(ChannelView { may_publish: false, ..channel() });
    assert_eq!(serve(&view, &name(), "finance/billing").unwrap_err().kind, ProblemKind::NotFound);
}

/// Goal: lists that are only tried refuse nobody, and say exactly of those whom they leave out that they are tried.
#[test]
fn audit_refuses_nobody_and_tells_who_is_left_out() {
    let audit = Some(Listed { publish: true, subscribe: false });
    let tried = ChannelView { audit, ..channel() };
    let (view, name) = (view(tried.clone()), name());
    assert!(serve(&view, &name, "lab/stranger").is_ok());
    let sources = sources(&view, &name, "shop/own").map(|peer| peer.sidecar.to_string());
    assert_eq!(sources.collect::<Vec<_>>(), ["shop/a", "shop/b"]);
    assert!(may_hear(&view, &name, &peer("c", "lab/stranger")));
    let is = |operation, who| is_tried(&tried, operation, who);
    assert!(!is(Operation::Publish, None) && is(Operation::Subscribe, None));
    assert!(!is(Operation::Publish, Some("shop/pricing")) && is(Operation::Publish, Some("shop/other")));
    assert!(!is(Operation::Subscribe, Some("finance/a")) && is(Operation::Subscribe, Some("shop/a")));
    for operation in [Operation::Publish, Operation::Subscribe] {
        assert!(!is_tried(&channel(), operation, None) && !is_tried(&channel(), operation, Some("lab/x")));
    }
}

/// Goal: dialled are the publishers that may publish, never this sidecar itself, and nobody without permission.
#[test]
fn sources_are_publishers_that_may() {
    let names = |view: &View| {
        sources(view, &name(), "shop/own").map(|peer| peer.sidecar.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&view(channel())), ["shop/a"]);
    assert!(names(&view(ChannelView { may_subscribe: false, ..channel() })).is_empty());
}
