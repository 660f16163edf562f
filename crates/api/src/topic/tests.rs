//! Topics from YAML: defaults, names, validation, what is not supported.

use super::*;
use crate::field::join;

fn topic(spec: &str) -> Topic {
    let yaml = format!(
        "apiVersion: pinnace.dev/v1alpha1\nkind: Topic\nmetadata: {{name: orders, namespace: shop}}\nspec: {spec}"
    );
    serde_yaml::from_str(&yaml).unwrap()
}

/// Goal: an empty spec is a Topic of one partition with everything by default.
#[test]
fn empty_spec_is_complete() {
    let topic = topic("{}");
    assert_eq!((topic.spec.partitions, topic.spec.cleanup.as_slice()), (1, [Cleanup::Delete].as_slice()));
    assert_eq!(topic.spec.broker_of("shop"), ("shop", "default"));
    assert_eq!(topic.spec.log_name("shop", "orders"), "orders");
    assert_eq!(topic.spec.deletion_policy, DeletionPolicy::Retain);
    assert_eq!((validate(&topic), not_supported(&topic.spec)), (vec![], vec![]));
    assert_eq!(
        config::wanted(&topic.spec).into_iter().collect::<Vec<_>>(),
        [("cleanup.policy".into(), "delete".into())]
    );
}

/// Goal: a Topic on another namespace's Broker carries its namespace in its name, unless it says otherwise.
#[test]
fn names_on_a_foreign_broker() {
    let foreign = topic("{broker: {namespace: infra}}");
    assert_eq!(foreign.spec.broker_of("shop"), ("infra", "default"));
    assert_eq!(foreign.spec.log_name("shop", "orders"), "shop.orders");
    assert_eq!(
        topic("{broker: {namespace: infra}, topicName: Orders_1}").spec.log_name("shop", "orders"),
        "Orders_1"
    );
}

/// Goal: typed fields win over the free-form map.
#[test]
fn typed_fields_win() {
    let topic = topic(
        "{retention: {time: 7d, size: 10Gi}, maxMessageSize: 2Mi, config: {retention.ms: '1', segment.ms: '3600000'}}",
    );
    let wanted = config::wanted(&topic.spec);
    assert_eq!(wanted["retention.ms"], "604800000");
    assert_eq!(wanted["retention.bytes"], (10_u64 << 30).to_string());
    assert_eq!(wanted["max.message.bytes"], (2 << 20).to_string());
    assert_eq!(wanted["segment.ms"], "3600000");
}

/// Goal: each mistake is named with its field.
#[test]
fn mistakes_are_named() {
    for (spec, field) in [
        ("{partitions: 0}", "spec.partitions"),
        ("{replicas: 33}", "spec.replicas"),
        ("{cleanup: []}", "spec.cleanup"),
        ("{cleanup: [Delete, Delete]}", "spec.cleanup"),
        ("{maxMessageSize: 1Gi}", "spec.maxMessageSize"),
        ("{config: {retention.hours: '1'}}", "spec.config[retention.hours]"),
        ("{config: {segment.ms: soon}}", "spec.config[segment.ms]"),
        ("{config: {min.cleanable.dirty.ratio: '2'}}", "spec.config[min.cleanable.dirty.ratio]"),
        ("{config: {cleanup.policy: delete}}", "spec.config[cleanup.policy]"),
        ("{access: {publish: [{}]}}", "spec.access.publish[0]"),
        ("{access: {mode: Audit}}", "spec.access.mode"),
    ] {
        let errors = validate(&topic(spec));
        assert_eq!(errors.len(), 1, "{spec}: {}", join(&errors));
        assert_eq!(errors[0].field, field);
    }
    let mut dotted = topic("{}");
    dotted.metadata.name = Some("orders.v1".into());
    assert_eq!(validate(&dotted)[0].field, "metadata.name");
}

/// Goal: both policies are there, with what tunes them, and come out by Kafka's names.
#[test]
fn compaction_is_supported() {
    for (cleanup, policy) in
        [("[Compact]", "compact"), ("[Delete, Compact]", "compact,delete"), ("[Delete]", "delete")]
    {
        let spec = format!("{{cleanup: {cleanup}, config: {{min.cleanable.dirty.ratio: '0.1'}}}}");
        let topic = topic(&spec);
        assert_eq!((validate(&topic), not_supported(&topic.spec)), (vec![], vec![]), "{cleanup}");
        let wanted = config::wanted(&topic.spec);
        assert_eq!(wanted.get("cleanup.policy").map(String::as_str), Some(policy));
        assert_eq!(wanted.get("min.cleanable.dirty.ratio").map(String::as_str), Some("0.1"));
    }
}

/// Goal: what has no machinery yet is named.
#[test]
fn later_fields_are_named() {
    for (spec, field) in [
        ("{managementPolicy: Adopt}", "spec.managementPolicy"),
        ("{config: {segment.jitter.ms: '1'}}", "spec.config[segment.jitter.ms]"),
    ] {
        let topic = topic(spec);
        assert_eq!(validate(&topic), vec![]);
        assert_eq!(
            not_supported(&topic.spec).iter().map(|error| error.field.as_str()).collect::<Vec<_>>(),
            [field]
        );
    }
}

/// Goal: what cannot change is refused, what can is not.
#[test]
fn updates_are_checked() {
    let old = topic("{partitions: 3}");
    let fields = |spec: &str| {
        validate_update(&old, &topic(spec)).into_iter().map(|error| error.field).collect::<Vec<_>>()
    };
    assert_eq!(fields("{partitions: 4, retention: {time: 1d}}"), Vec::<String>::new());
    assert_eq!(fields("{partitions: 2}"), ["spec.partitions"]);
    assert_eq!(fields("{partitions: 3, topicName: other}"), ["spec.topicName"]);
    assert_eq!(fields("{partitions: 3, broker: {namespace: infra}}"), ["spec.broker"]);
}
