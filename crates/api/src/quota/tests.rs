//! Topics and quotas from YAML in; what a Topic counts and what it is refused out.

use super::*;
use crate::field::join;
use proptest::prelude::*;

fn topic(meta: &str, spec: &str, status: &str) -> Topic {
    let yaml = format!(
        "apiVersion: pinnace.dev/v1alpha1\nkind: Topic\nmetadata: {{name: orders, namespace: shop{meta}}}\nspec: {spec}\nstatus: {status}\n"
    );
    serde_yaml::from_str(&yaml).unwrap()
}

fn quota(text: &str) -> NamespaceQuota {
    serde_yaml::from_str(text).unwrap()
}

fn embedded(quota: &NamespaceQuota) -> Limits<'_> {
    Limits { quota, copies: 1 }
}

/// Of a Topic that does not say how many copies.
fn share(partitions: u32, bytes: u64) -> Share {
    Share { partitions, bytes: 0, each_copy_bytes: bytes }
}

/// Of one that does, or is there.
fn exact(partitions: u32, bytes: u64) -> Share {
    Share { partitions, bytes, each_copy_bytes: 0 }
}

const HELD: &str = ", finalizers: [pinnace.dev/topic]";
const GOING: &str = ", finalizers: [pinnace.dev/topic], deletionTimestamp: '2026-01-01T00:00:00Z'";

/// Goal: what a Topic asks for, has and counts, by its spec, by what its status says, by who is in charge, and while it goes.
#[test]
fn what_a_topic_counts() {
    let there = "{topicId: x, partitions: 2, grantedRetentionSize: 1k}";
    for (meta, spec, status, wanted, has) in [
        ("", "{}", "{}", Some(share(1, 0)), None),
        ("", "{partitions: 3, retention: {size: 2k}}", "{}", Some(share(3, 6000)), None),
        ("", "{partitions: 3, replicas: 2, retention: {size: 2k}}", "{}", Some(exact(3, 12_000)), None),
        ("", "{managementPolicy: Observe}", "{}", None, None),
        ("", "{managementPolicy: Adopt}", "{}", Some(share(1, 0)), None),
        // It grows: what it has is what was let in.
        (HELD, "{partitions: 3, retention: {size: 2k}}", there, Some(share(3, 6000)), Some(share(2, 2000))),
        (HELD, "{partitions: 3}", there, Some(share(3, 0)), Some(share(2, 2000))),
        // It found more than it asked for.
        (
            HELD,
            "{retention: {size: 1k}}",
            "{topicId: x, partitions: 9}",
            Some(share(9, 9000)),
            Some(share(9, 9000)),
        ),
        // It only looked until now.
        ("", "{partitions: 3}", there, Some(share(3, 0)), None),
        // It was let in and is not there yet.
        (HELD, "{partitions: 3}", "{}", Some(share(3, 0)), None),
        (HELD, "{managementPolicy: Observe}", there, None, None),
        (GOING, "{}", there, None, None),
        (GOING, "{deletionPolicy: Delete}", there, None, Some(share(2, 2000))),
        (GOING, "{deletionPolicy: Delete}", "{}", None, None),
    ] {
        let topic = topic(meta, spec, status);
        assert_eq!((asked(&topic), held(&topic)), (wanted, has), "{meta} {spec} {status}");
        let most = wanted.into_iter().chain(has).reduce(Share::larger);
        assert_eq!(counted(&topic), most, "{meta} {spec} {status}");
    }
}

/// Goal: sizes past all numbers are refused, not wrapped.
#[test]
fn sizes_do_not_overflow() {
    let topic = topic("", "{partitions: 10000, replicas: 32, retention: {size: 8191Pi}}", "{}");
    assert_eq!(asked(&topic), Some(exact(10_000, u64::MAX)));
    let mut used = Used::default();
    (0..3).for_each(|_| used.add(exact(1, u64::MAX)));
    let message = join(&exceeded(embedded(&quota("{size: 8191Pi}")), &topic, None, &used));
    assert!(message.contains("used more than any disk, asked more than any disk, quota 8191Pi"), "{message}");
    (0..3).for_each(|_| used.remove(exact(1, u64::MAX)));
    assert_eq!(used, Used::default());
}

const OTHERS: Used = Used { topics: 1, partitions: 2, bytes: 3000, each_copy_bytes: 1000 };

/// Goal: a new Topic fits up to the last one, and one more is refused with the field, the numbers and whom to ask; a quota
/// of 0 is none.
#[test]
fn a_new_topic_fits_or_is_refused() {
    let spec = "{broker: {name: default, namespace: infra}, partitions: 2, retention: {size: 3k}}".to_owned();
    let topic = topic("", &spec, "{}");
    let ask = |limits: &str| join(&exceeded(embedded(&quota(limits)), &topic, None, &OTHERS));
    for enough in ["{}", "{topics: 2}", "{partitions: 4}", "{size: 10k}"] {
        assert_eq!(ask(enough), "", "{enough}");
    }
    for (limits, start, numbers) in [
        ("{topics: 1}", "spec.broker: more Topics", "used 1, asked 1, quota 1"),
        ("{topics: 0}", "spec.broker: more Topics", "used 1, asked 1, quota 0"),
        ("{partitions: 3}", "spec.partitions: more partitions", "used 2, asked 2, quota 3"),
        ("{size: 9999}", "spec.retention.size: more bytes", "used 4000, asked 6000, quota 9999"),
    ] {
        let told = ask(limits);
        assert_eq!(
            told,
            format!(
                "{start} than namespace shop may have on Broker infra/default: {numbers}; ask the owner of Broker infra/default, or delete a Topic"
            )
        );
    }
    assert_eq!(
        exceeded(embedded(&quota("{topics: 1, partitions: 1, size: 1}")), &topic, None, &OTHERS).len(),
        3
    );
}

/// Goal: only what grows is refused: a quota below what is there lets everything else be changed.
#[test]
fn only_growth_is_refused() {
    let low = quota("{topics: 0, partitions: 0, size: 1}");
    let had = Some(share(2, 2000));
    let fields = |spec: &str, before: Option<Share>| -> Vec<String> {
        exceeded(embedded(&low), &topic("", spec, "{}"), before, &OTHERS)
            .into_iter()
            .map(|error| error.field)
            .collect()
    };
    assert_eq!(fields("{partitions: 2, retention: {size: 1k}}", had), Vec::<String>::new());
    assert_eq!(fields("{partitions: 2, retention: {size: 999}}", had), Vec::<String>::new());
    assert_eq!(fields("{partitions: 2, retention: {size: 1001}}", had), ["spec.retention.size"]);
    // More partitions that keep no more together.
    assert_eq!(fields("{partitions: 4, retention: {size: 500}}", had), ["spec.partitions"]);
    let all = ["spec.broker", "spec.partitions", "spec.retention.size"];
    assert_eq!(fields("{partitions: 2, retention: {size: 1k}}", None), all, "it becomes bound");
    assert_eq!(fields("{managementPolicy: Observe}", None), Vec::<String>::new());
}

/// Goal: under a quota for size a Topic says what it keeps: a new one, one that grows, and one that said it before. What
/// kept without a bound before there was a quota stays, and becomes bounded only where there is room.
#[test]
fn under_a_quota_for_size_a_topic_says_what_it_keeps() {
    let ask = |spec: &str, before: Option<Share>| {
        join(&exceeded(embedded(&quota("{size: 10k}")), &topic("", spec, "{}"), before, &OTHERS))
    };
    let unbounded = Some(share(2, 0));
    for (spec, before) in
        [("{}", None), ("{partitions: 3}", unbounded), ("{partitions: 2}", Some(share(2, 2000)))]
    {
        let told = ask(spec, before);
        assert!(told.starts_with("spec.retention.size: Broker shop/default has a quota of 10k"), "{told}");
        assert!(told.contains("the 6000 that namespace shop has left there"), "{told}");
    }
    assert_eq!(ask("{partitions: 2}", unbounded), "");
    assert_eq!(ask("{partitions: 2, retention: {size: 3k}}", unbounded), "");
    assert!(ask("{partitions: 2, retention: {size: 4k}}", unbounded).contains("asked 8000"));
    let without = quota("{topics: 9, partitions: 9}");
    assert_eq!(exceeded(embedded(&without), &topic("", "{}", "{}"), None, &OTHERS), []);
}

/// Goal: a quota is lowered when anything in it is; above it is who has more of anything.
#[test]
fn lowered_and_above() {
    for (old, new, is_lower) in [
        ("{}", "{}", false),
        ("{}", "{topics: 1}", true),
        ("{topics: 1}", "{}", false),
        ("{topics: 2, partitions: 1}", "{topics: 3, partitions: 1}", false),
        ("{topics: 2, partitions: 2}", "{topics: 3, partitions: 1}", true),
        ("{size: 1Gi}", "{size: 1024Mi}", false),
        ("{size: 1Gi}", "{size: 1023Mi}", true),
    ] {
        assert_eq!(is_lowered(&quota(old), &quota(new)), is_lower, "{old} {new}");
    }
    for (limits, above) in [
        ("{}", false),
        ("{topics: 1, partitions: 2, size: 4000}", false),
        ("{topics: 0}", true),
        ("{partitions: 1}", true),
        ("{size: 3999}", true),
    ] {
        assert_eq!(is_above(embedded(&quota(limits)), &OTHERS), above, "{limits}");
    }
}

/// Goal: copies that only the Broker says count as many as it makes: one on Embedded, on Kafka what is configured or what
/// the nodes allow; what is there counts as it is.
#[test]
fn copies_count() {
    let topic = topic("", "{retention: {size: 2k}}", "{}");
    for (engine, copies) in [
        ("engine: Embedded", 1),
        ("engine: Kafka", 3),
        ("engine: Kafka, replicas: 1", 1),
        ("engine: Kafka, replicas: 5", 3),
        ("engine: Kafka, config: {default.replication.factor: '2'}", 2),
    ] {
        let spec = format!("{{{engine}, quota: {{perNamespace: {{size: '1'}}}}}}");
        let spec: BrokerSpec = serde_yaml::from_str(&spec).unwrap();
        let limits = Limits::of(&spec).unwrap();
        let told = join(&exceeded(limits, &topic, None, &OTHERS));
        let (used, asked) = (3000 + 1000 * copies, 2000 * copies);
        assert!(told.contains(&format!("used {used}, asked {asked}, quota 1")), "{engine}: {told}");
    }
    let there = "{topicId: x, partitions: 2, replicas: 3, grantedRetentionSize: 1k}";
    assert_eq!(held(&self::topic(HELD, "{partitions: 2}", there)), Some(exact(2, 6000)));
}

proptest! {
    /// Goal: whatever is let in, one after the other, is never above the quota together.
    #[test]
    fn what_is_let_in_fits(asks in prop::collection::vec((1..5_i32, 0..5_u32), 0..20), most in (0..6_i32, 0..12_i32, 0..20_u32)) {
        let limits = quota(&format!("{{topics: {}, partitions: {}, size: '{}'}}", most.0, most.1, most.2));
        let mut used = Used::default();
        for (partitions, size) in asks {
            let topic = topic("", &format!("{{partitions: {partitions}, retention: {{size: '{size}'}}}}"), "{}");
            if exceeded(embedded(&limits), &topic, None, &used).is_empty() {
                used.add(asked(&topic).unwrap());
            }
            prop_assert!(!is_above(embedded(&limits), &used), "{used:?}");
        }
    }
}
