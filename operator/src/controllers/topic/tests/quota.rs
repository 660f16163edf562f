//! A Broker's quota for each namespace, where no webhook was in the way.

use super::*;
use proptest::prelude::*;

fn bounded(limits: &str) -> String {
    BROKER.replace("spec: {}", &format!("spec: {{quota: {{perNamespace: {limits}}}}}"))
}

fn set_quota(api: &FakeApi, limits: Value) {
    api.edit("Broker", "default", |broker| broker["spec"]["quota"] = json!({ "perNamespace": limits }));
}

/// Topics in the order of their age, beside a Broker with a quota.
fn some(limits: &str, topics: &[(&str, &str)]) -> (FakeApi, FakeBrokers) {
    let mut yaml = bounded(limits);
    for (day, (name, spec)) in topics.iter().enumerate() {
        yaml += &topic_yaml(name, &format!("2026-01-0{}T00:00:00Z", day + 1), spec);
    }
    (FakeApi::with_yaml(&yaml), FakeBrokers::default())
}

fn is_over(api: &FakeApi, name: &str) -> String {
    let (status, reason, message) = condition_of(api, name, "Accepted");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "QuotaExceeded"), "{name}: {message}");
    assert_eq!(ready(api, name).1, "QuotaExceeded");
    message
}

/// Goal: what has no room is told with field, numbers and whom to ask, the broker is left alone, and it is tried again:
/// once a Topic is deleted there is room.
#[tokio::test]
async fn what_has_no_room_waits_until_there_is_some() {
    let (api, brokers) = some("{topics: 1}", &[("orders", "{}"), ("more", "{}")]);
    run(&api, &brokers, "orders").await.unwrap();
    brokers.take_changes();
    let action = run(&api, &brokers, "more").await.unwrap();
    assert!(action.pause().is_some(), "nobody tells us of room");
    assert_eq!(
        is_over(&api, "more"),
        "spec.broker: more Topics than namespace shop may have on Broker shop/default: used 1, asked 1, quota 1; ask the owner of Broker shop/default, or delete a Topic"
    );
    assert_eq!(brokers.take_changes(), []);
    api.take_writes();
    run(&api, &brokers, "more").await.unwrap();
    assert_eq!(api.take_writes(), Vec::<String>::new(), "it waits and writes nothing");
    leave(&api);
    run(&api, &brokers, "more").await.unwrap();
    assert_eq!(ready(&api, "more").0, "True", "one that goes and leaves its messages no longer counts");
}

/// Goal: of two that ask at once the older one gets it, whoever is looked at first; one that is there already comes first.
#[tokio::test]
async fn the_older_one_gets_the_room() {
    for order in [["older", "younger"], ["younger", "older"]] {
        let (api, brokers) =
            some("{partitions: 3}", &[("older", "{partitions: 2}"), ("younger", "{partitions: 2}")]);
        for name in order {
            run(&api, &brokers, name).await.unwrap();
        }
        assert_eq!(ready(&api, "older").0, "True", "{order:?}");
        assert!(is_over(&api, "younger").contains("used 2, asked 2, quota 3"), "{order:?}");
    }
    let (api, brokers) = some("{partitions: 3}", &[("older", "{}"), ("younger", "{partitions: 2}")]);
    run(&api, &brokers, "younger").await.unwrap();
    change_topic(&api, "older", |topic| topic["spec"] = json!({"partitions": 2}));
    run(&api, &brokers, "older").await.unwrap();
    assert!(is_over(&api, "older").contains("used 2, asked 2, quota 3"));
}

/// Goal: a lower quota takes nothing away and makes nothing not Ready; it only stops growth, and when it is raised that
/// goes on.
#[tokio::test]
async fn a_lower_quota_takes_nothing_away() {
    let spec = |partitions: i32, size: &str| json!({"partitions": partitions, "retention": {"size": size}});
    let (api, brokers) = some("{size: 100k}", &[("orders", &spec(2, "3k").to_string())]);
    run(&api, &brokers, "orders").await.unwrap();
    set_quota(&api, json!({"topics": 0, "partitions": 1, "size": "1k"}));
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!(ready(&api, "orders").0, "True");
    change_topic(&api, "orders", |topic| topic["spec"]["access"] = json!({"publish": []}));
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!(ready(&api, "orders").0, "True", "what does not grow is changed");
    for (wanted, words) in [
        (spec(3, "3k"), "spec.partitions: more partitions"),
        (spec(2, "4k"), "used 0, asked 8000, quota 1k"),
        (json!({"partitions": 2}), "so say how much a partition keeps"),
    ] {
        change_topic(&api, "orders", |topic| topic["spec"] = wanted.clone());
        run(&api, &brokers, "orders").await.unwrap();
        let told = is_over(&api, "orders");
        assert!(told.contains(words), "{wanted}: {told}");
        let there = brokers.topic("orders").unwrap();
        assert_eq!((there.partitions, there.config["retention.bytes"].as_str()), (2, "3000"), "{wanted}");
    }
    change_topic(&api, "orders", |topic| topic["spec"] = spec(3, "4k"));
    set_quota(&api, json!({"size": "12k"}));
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!(ready(&api, "orders").0, "True");
    assert_eq!(brokers.topic("orders").unwrap().config["retention.bytes"], "4000");
}

/// Goal: the status says what was let in while there is a quota for size, and nothing without; then nothing is written.
#[tokio::test]
async fn what_was_let_in_is_in_the_status() {
    let (api, brokers) = (one("{retention: {size: 3k}}"), FakeBrokers::default());
    let granted = || api.find("Topic", "orders").unwrap()["status"]["grantedRetentionSize"].clone();
    let limits = [json!({}), json!({"size": "3k"}), json!({"topics": 1})];
    for (limits, wanted) in limits.into_iter().zip([Value::Null, json!("3k"), Value::Null]) {
        set_quota(&api, limits.clone());
        run(&api, &brokers, "orders").await.unwrap();
        assert_eq!((ready(&api, "orders").0.as_str(), granted()), ("True", wanted), "{limits}");
        api.take_writes();
        run(&api, &brokers, "orders").await.unwrap();
        assert_eq!(api.take_writes(), Vec::<String>::new(), "{limits}");
    }
    // What kept without a bound is bounded only where there is room.
    change_topic(&api, "orders", |topic| topic["spec"] = json!({}));
    run(&api, &brokers, "orders").await.unwrap();
    set_quota(&api, json!({"size": "3k"}));
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!((ready(&api, "orders").0.as_str(), granted()), ("True", json!("0")));
    change_topic(&api, "orders", |topic| topic["spec"] = json!({"retention": {"size": "4k"}}));
    run(&api, &brokers, "orders").await.unwrap();
    assert!(is_over(&api, "orders").contains("used 0, asked 4000, quota 3k"), "{}", is_over(&api, "orders"));
}

/// Goal: a Topic that only looks is not bound, and becomes bound when it is to do more.
#[tokio::test]
async fn who_only_looks_is_not_bound() {
    let (api, brokers) = some("{topics: 0}", &[("orders", "{managementPolicy: Observe}")]);
    let address = crate::controllers::broker::address(&ObjectName::new("shop", "default"));
    let there = control::topics::Observed { id: "theirs".into(), partitions: 9, ..Default::default() };
    brokers.edit(&address, |node| drop(node.topics.insert("orders".into(), there)));
    run(&api, &brokers, "orders").await.unwrap();
    assert_eq!(api.find("Topic", "orders").unwrap()["status"]["topicId"], "theirs");
    change_topic(&api, "orders", |topic| topic["spec"] = json!({}));
    run(&api, &brokers, "orders").await.unwrap();
    assert!(is_over(&api, "orders").contains("used 0, asked 1, quota 0"));
}

/// One thing that happens to a Topic.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// It is made, or grows by so many partitions and has so large a retention.
    Ask {
        partitions: i64,
        size: u8,
    },
    Delete,
    Reconcile,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let ask = (0..3_i64, 0..4_u8).prop_map(|(partitions, size)| Step::Ask { partitions, size });
    (0..3_usize, prop_oneof![9 => ask, 1 => Just(Step::Delete), 20 => Just(Step::Reconcile)])
}

fn ask(api: &FakeApi, name: &str, second: usize, (partitions, size): (i64, u8)) {
    let Some(topic) = api.find("Topic", name) else {
        // Several are made within a second.
        let created = format!("2026-01-01T00:00:{:02}Z", second / 4);
        let spec = format!(
            "{{partitions: {}, retention: {{size: '{size}'}}, deletionPolicy: Delete}}",
            partitions.max(1)
        );
        let made = crate::testing::Objects::from_yaml(&topic_yaml(name, &created, &spec));
        return made.into_values().into_iter().for_each(|object| api.put(object));
    };
    if topic["metadata"]["deletionTimestamp"].is_null() {
        change_topic(api, name, |topic| {
            topic["spec"]["partitions"] = json!(topic["spec"]["partitions"].as_i64().unwrap() + partitions);
            topic["spec"]["retention"]["size"] = json!(size.to_string());
        });
    }
}

/// Topics, partitions and bytes that are on the broker.
fn there(brokers: &FakeBrokers) -> (usize, i64, i64) {
    let address = crate::controllers::broker::address(&ObjectName::new("shop", "default"));
    let topics = brokers.node(&address).topics;
    let bytes = |topic: &control::topics::Observed| {
        i64::from(topic.partitions) * topic.config["retention.bytes"].parse::<i64>().unwrap()
    };
    let partitions = topics.values().map(|topic| i64::from(topic.partitions)).sum();
    (topics.len(), partitions, topics.values().map(bytes).sum())
}

const TOPICS: usize = 2;
const PARTITIONS: i64 = 5;
const BYTES: i64 = 8;

async fn course(steps: &[(usize, Step)]) -> Result<(), TestCaseError> {
    let limits = format!("{{topics: {TOPICS}, partitions: {PARTITIONS}, size: '{BYTES}'}}");
    let (api, brokers) = some(&limits, &[]);
    for (second, (number, step)) in steps.iter().enumerate() {
        let name = ["b", "c", "a"][*number];
        match step {
            Step::Ask { partitions, size } => ask(&api, name, second, (*partitions, *size)),
            Step::Delete => api.delete("Topic", name),
            Step::Reconcile if api.find("Topic", name).is_some() => {
                run(&api, &brokers, name).await.unwrap();
            }
            Step::Reconcile => {}
        }
        let (topics, partitions, bytes) = there(&brokers);
        prop_assert!(
            topics <= TOPICS && partitions <= PARTITIONS && bytes <= BYTES,
            "{topics} Topics, {partitions} partitions, {bytes} bytes after {:?}",
            &steps[..=second]
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Goal: whatever Topics are made, grow, shrink and go in whatever order, and whichever of them is looked at when, all that
    /// a namespace has on a broker is never above a quota that stays.
    #[test]
    fn a_namespace_never_has_more_than_its_quota(steps in prop::collection::vec(step(), 20..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(course(&steps))?;
    }
}
