//! The promises of local mode, with `pinnace` as a process on the example that the guide shows.

mod audit;
mod kv_events;
mod program;
mod python;
mod spill;
mod versions;

use std::path::Path;

use program::{Example, LIMIT};
use serde_json::Value;
use tests::wait::until;

fn summary(said: &str) -> Value {
    let last = said.lines().last().unwrap_or_default();
    let read = serde_json::from_str(last);
    assert!(read.is_ok(), "the last line is no JSON:\n{said}");
    read.expect("checked above")
}

fn count(summary: &Value, kind: &str, name: &str, what: &str) -> u64 {
    let found = summary[kind][name][what].as_u64();
    assert!(found.is_some(), "no {kind} {name} {what} in {summary}");
    found.expect("checked above")
}

/// Goal: the example runs for a time, ends by itself with 0, and the last line counts everything and
/// nothing lost, with the memory of each part.
#[test]
fn up_ends_by_itself_with_a_summary() {
    let example = Example::new();
    let mut up = example.up(&["--for", "20s", "--json"]);
    assert!(up.wait().success(), "{}", up.said());
    let summary = summary(&up.said());
    for (kind, name) in [("topics", "orders/orders"), ("channels", "orders/prices")] {
        assert!(count(&summary, kind, name, "published") > 0, "{summary}");
        assert!(count(&summary, kind, name, "delivered") > 0, "{summary}");
        assert_eq!(count(&summary, kind, name, "lost"), 0, "{}", up.said());
    }
    let parts = summary["parts"].as_object().unwrap();
    assert_eq!(parts.len(), 12, "up, a broker, five sidecars, five apps: {summary}");
    for (name, part) in parts {
        assert!(part["resident_bytes"].as_u64().unwrap() > 0, "{name}: {part}");
    }
}

/// Goal: a bad manifest names file, line and field, and nothing else stops, neither at the start nor
/// by an edit.
#[test]
fn a_bad_manifest_names_file_line_and_field() {
    let example = Example::new();
    let head = "apiVersion: pinnace.dev/v1alpha1\nkind: Topic\nmetadata: {name: extra, namespace: orders}\n";
    example.write("extra.yaml", &format!("{head}spec:\n  replicas: none\n"));
    let mut up = example.up(&[]);
    let place =
        |line: u32| format!("{}:{line}: Topic orders/extra: ", example.path().join("extra.yaml").display());
    up.wait_for("the wrong type", |said| said.contains(&format!("{}spec.replicas", place(5))));
    up.wait_for_messages();
    example.write("extra.yaml", &format!("{head}\nspec:\n  partitions: 2\n  retension: {{}}\n"));
    up.wait_for("the unknown field", |said| {
        said.lines().any(|line| line.contains(&place(7)) && line.contains("retension"))
    });
    let before = up.said().matches("topics/orders -> kafka").count();
    up.wait_for("more messages", |said| said.matches("topics/orders -> kafka").count() > before + 5);
    up.signal("TERM");
    assert!(up.wait().success(), "{}", up.said());
}

/// Goal: edits are followed: partitions grow, replicas come and go, and a shrinking is refused with the reason.
#[test]
fn edits_are_followed() {
    let example = Example::new();
    let mut up = example.up(&[]);
    up.wait_for_messages();
    example.edit("2-messaging.yaml", "partitions: 3", "partitions: 30");
    example.edit("3-apps.yaml", "replicas: 2", "replicas: 3");
    up.wait_for("the third replica", |said| said.contains("app orders/shop-2 is up"));
    // A client that is new learns of the new partitions; with so many keys it meets them.
    let grown = until(LIMIT, || {
        let publish =
            ["publish", "topics/orders", "more", "--key", "k{n}", "--via", "kafka", "--every", "5ms"];
        let (done, said) = example.run_as("orders/checkout", &[&publish[..], &["--count", "200"]].concat());
        assert!(done, "{said}");
        let partition = |line: &str| line.rsplit_once("at ")?.1.split_once(':')?.0.parse::<u32>().ok();
        said.lines().filter_map(partition).any(|partition| partition >= 3).then_some(())
    });
    assert!(grown.is_some(), "the new partitions are not used:\n{}", up.said());
    example.edit("2-messaging.yaml", "partitions: 30", "partitions: 2");
    up.wait_for("the refusal", |said| {
        said.contains("Topic orders/orders: spec.partitions: cannot shrink from 30 to 2")
    });
    up.signal("INT");
    assert!(up.wait().success(), "{}", up.said());
}

/// Goal: data is kept over a restart: a group goes on where it ended, and what came before is there.
#[test]
fn a_restart_keeps_the_data() {
    let example = Example::new();
    let read = |account: &str, group: &str| {
        let tool = ["subscribe", "topics/orders", "--via", "kafka", "--from-start", "--count", "1"];
        example.run_as(account, &[&tool[..], &["--group", group, "--json"]].concat())
    };
    let mut up = example.up(&[]);
    up.wait_for_messages();
    up.signal("TERM");
    assert!(up.wait().success(), "{}", up.said());
    // Nobody publishes any more: whatever is read now was written by the first run.
    example.edit("3-apps.yaml", "topics/orders\", \"{\\\"order\\\"", "topics/nothing\", \"{\\\"order\\\"");
    let mut up = example.up(&[]);
    up.wait_for("the broker", |said| said.contains("broker orders/default is up"));
    let (done, said) = read("orders/billing", "another");
    assert!(done && said.contains("\\\"order\\\": "), "{said}\n{}", up.said());
    up.signal("TERM");
    assert!(up.wait().success(), "{}", up.said());
    let first = up.said();
    assert!(!first.contains("topics/orders -> kafka"), "the group billing read something twice:\n{first}");
}

/// Goal: Ctrl-C ends everything in order, and a second `up` on the same data is refused meanwhile.
#[test]
fn ctrl_c_stops_everything() {
    let example = Example::new();
    let mut up = example.up(&[]);
    up.wait_for_messages();
    let data = example.path().join(".pinnace");
    assert!(up.processes(&data).len() >= 11, "{:?}", up.processes(&data));
    let mut second = example.up(&[]);
    assert!(!second.wait().success());
    assert!(second.said().contains("in use by another `pinnace up`"), "{}", second.said());
    up.signal("INT");
    assert!(up.wait().success(), "{}", up.said());
    assert_eq!(up.processes(&data), Vec::<String>::new());
}

/// Goal: nothing is left behind even when `up` itself is killed.
#[test]
fn a_killed_up_leaves_nothing_behind() {
    let example = Example::new();
    let mut up = example.up(&[]);
    up.wait_for_messages();
    let data = example.path().join(".pinnace");
    assert!(up.processes(&data).len() >= 11, "{:?}", up.processes(&data));
    let run = std::fs::read_to_string(data.join("attach")).unwrap();
    up.signal("KILL");
    assert!(!up.wait().success());
    let gone = until(LIMIT, || up.processes(&data).is_empty().then_some(()));
    assert!(gone.is_some(), "{:?}", up.processes(&data));
    let removed = until(LIMIT, || (!Path::new(&run).exists()).then_some(()));
    assert!(removed.is_some(), "{run} is still there");
}

/// Goal: who may not publish is told the object and the field, over each door.
#[test]
fn a_publish_without_permission_says_what_to_change() {
    let example = Example::new();
    let mut up = example.up(&[]);
    up.wait_for_messages();
    for (name, via) in [
        ("topics/orders", "grpc"),
        ("topics/orders", "http"),
        ("topics/orders", "kafka"),
        ("channels/prices", "grpc"),
        ("channels/prices", "http"),
    ] {
        let (done, said) = example.run_as("orders/shop", &["publish", name, "hello", "--via", via]);
        let short = name.split_once('/').unwrap().1;
        assert!(!done && said.contains("spec.access") && said.contains(short), "{name} over {via}: {said}");
    }
    let (done, said) = example.run_as("orders/shop", &["request", "channels/prices", "hello"]);
    assert!(!done && said.contains("not supported yet"), "{said}");
    up.signal("TERM");
    assert!(up.wait().success(), "{}", up.said());
}
