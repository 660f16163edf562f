//! Channels from YAML: defaults, validation, what is not supported.

use super::*;
use crate::field::join;

fn channel(spec: &str) -> Channel {
    let yaml = format!(
        "apiVersion: pinnace.dev/v1alpha1\nkind: Channel\nmetadata: {{name: prices, namespace: shop}}\nspec: {spec}"
    );
    serde_yaml::from_str(&yaml).unwrap()
}

/// Goal: an empty spec is a PubSub Channel that blocks, with the documented buffer.
#[test]
fn empty_spec_is_complete() {
    let channel = channel("{}");
    let delivery = &channel.spec.delivery;
    assert_eq!((channel.spec.pattern, delivery.overflow), (Pattern::PubSub, Overflow::Block));
    assert_eq!((delivery.buffer.messages, delivery.buffer.size.bytes()), (10_000, 16 << 20));
    assert_eq!((delivery.block_timeout_ms(), channel.spec.max_message_size.bytes()), (5_000, 1 << 20));
    assert_eq!((validate(&channel), not_supported(&channel.spec)), (vec![], vec![]));
}

/// Goal: a half-written buffer keeps the default of its other half, as the API server would fill it in.
#[test]
fn defaults_fill_each_field() {
    let channel = channel("{delivery: {buffer: {messages: 5}}}");
    assert_eq!(channel.spec.delivery.buffer.size.bytes(), 16 << 20);
}

/// Goal: what is not written has its documented value, where it means anything.
#[test]
fn omitted_fields_have_values_where_they_matter() {
    let plain = channel("{}").spec;
    assert_eq!((plain.request_timeout_ms(), plain.delivery.redelivery()), (0, None));
    let asking = channel("{pattern: RequestReply}").spec;
    assert_eq!(asking.request_timeout_ms(), 5_000);
    let patient = channel("{pattern: RequestReply, requestTimeout: 90s}").spec;
    assert_eq!(patient.request_timeout_ms(), 90_000);
    let redeliver = channel("{delivery: {acknowledge: Required}}").spec.delivery.redelivery().unwrap();
    assert_eq!((redeliver.after.milliseconds(), redeliver.attempts), (30_000, 5));
    let replay = channel("{delivery: {replay: {time: 1h}}}").spec.delivery.replay.unwrap();
    assert_eq!(replay.bytes(), 64 << 20, "time alone is no bound of memory");
}

/// Goal: each mistake is named with its field.
#[test]
fn mistakes_are_named() {
    for (spec, field) in [
        ("{maxMessageSize: '0'}", "spec.maxMessageSize"),
        ("{requestTimeout: 5s}", "spec.requestTimeout"),
        ("{ready: {subscribers: 0}}", "spec.ready.subscribers"),
        ("{delivery: {buffer: {messages: 0}}}", "spec.delivery.buffer.messages"),
        ("{delivery: {buffer: {size: 5Gi}}}", "spec.delivery.buffer.size"),
        ("{delivery: {buffer: {size: 1Ki}}}", "spec.delivery.buffer.size"),
        ("{delivery: {overflow: DropNewest, blockTimeout: 1s}}", "spec.delivery.blockTimeout"),
        ("{delivery: {overflow: Spill}}", "spec.delivery.spill"),
        ("{delivery: {spill: {topic: a}}}", "spec.delivery.spill"),
        ("{delivery: {redeliver: {}}}", "spec.delivery.redeliver"),
        ("{delivery: {acknowledge: Required, redeliver: {attempts: 0}}}", "spec.delivery.redeliver.attempts"),
        ("{delivery: {acknowledge: Required, redeliver: {after: 0s}}}", "spec.delivery.redeliver.after"),
        ("{pattern: RequestReply, requestTimeout: 0s}", "spec.requestTimeout"),
        ("{delivery: {deadLetter: {topic: a}}}", "spec.delivery.deadLetter"),
        ("{delivery: {replay: {}}}", "spec.delivery.replay"),
        ("{delivery: {replay: {messages: 0}}}", "spec.delivery.replay.messages"),
        ("{delivery: {replay: {size: 5Gi}}}", "spec.delivery.replay.size"),
        ("{delivery: {replay: {size: '0'}}}", "spec.delivery.replay.size"),
        ("{delivery: {replay: {time: 0s}}}", "spec.delivery.replay.time"),
        ("{access: {subscribe: [{}]}}", "spec.access.subscribe[0]"),
    ] {
        let errors = validate(&channel(spec));
        assert_eq!(errors.len(), 1, "{spec}: {}", join(&errors));
        assert_eq!(errors[0].field, field);
    }
}

/// Goal: what has no machinery yet, and what does not go together, is named.
#[test]
fn later_fields_are_named() {
    for (spec, field) in [
        ("{pattern: RequestReply, delivery: {acknowledge: Required}}", "spec.delivery.acknowledge"),
        ("{pattern: Pipeline, delivery: {overflow: DropOldest}}", "spec.delivery.overflow"),
        ("{delivery: {acknowledge: Required, overflow: KeepLatest}}", "spec.delivery.overflow"),
        ("{delivery: {acknowledge: Required, replay: {messages: 5}}}", "spec.delivery.replay"),
        ("{pattern: Pipeline, delivery: {replay: {messages: 5}}}", "spec.delivery.replay"),
        ("{pattern: RequestReply, record: {topic: a}}", "spec.record"),
        ("{pattern: RequestReply, delivery: {overflow: Spill, spill: {topic: a}}}", "spec.delivery.overflow"),
    ] {
        let channel = channel(spec);
        assert_eq!(validate(&channel), vec![], "{spec}");
        assert_eq!(
            not_supported(&channel.spec).iter().map(|error| error.field.as_str()).collect::<Vec<_>>(),
            [field]
        );
    }
}

/// Goal: what is built is not named.
#[test]
fn built_fields_are_not_named() {
    for spec in [
        "{delivery: {overflow: DropOldest}}",
        "{record: {topic: a}}",
        "{delivery: {overflow: Spill, spill: {topic: a}}}",
        "{pattern: Pipeline, delivery: {acknowledge: Required, overflow: Spill, spill: {topic: a}}}",
        "{pattern: Pipeline, record: {topic: a}}",
        "{delivery: {overflow: KeepLatest}}",
        "{pattern: Pipeline}",
        "{pattern: Pipeline, delivery: {acknowledge: Required, redeliver: {after: 5s, attempts: 3}}}",
        "{pattern: RequestReply, requestTimeout: 2s}",
        "{delivery: {overflow: DropNewest, acknowledge: Required}}",
    ] {
        let channel = channel(spec);
        assert_eq!((validate(&channel), not_supported(&channel.spec)), (vec![], vec![]), "{spec}");
    }
}

/// Goal: the pattern cannot change; delivery can.
#[test]
fn updates_are_checked() {
    let old = channel("{}");
    assert_eq!(validate_update(&old, &channel("{delivery: {overflow: DropNewest}}")), vec![]);
    assert_eq!(validate_update(&old, &channel("{pattern: Pipeline}"))[0].field, "spec.pattern");
}
