//! The example of ZeroMQ apps that know nothing of Pinnace.

use super::program::Example;
use super::python::search_path;

/// Starts the example with ports of its own and a Python that has what its apps import.
fn example() -> Example {
    let example = Example::of("kv-events", Some(search_path()));
    let folder = example.path().display().to_string();
    example.edit("3-apps.yaml", "\"examples/kv-events/", &format!("\"{folder}/"));
    example
}

/// How many batches the router has said it got.
fn batches(said: &str) -> u64 {
    let numbers = said.lines().filter_map(|line| line.split_once(" batches, last ")?.0.rsplit(' ').next());
    numbers.filter_map(|number| number.parse::<u64>().ok()).max().unwrap_or(0)
}

/// Goal: a publisher that binds and a subscriber that connects, both written to vLLM's convention, work through a
/// Channel unchanged: frames are kept, no sequence number is missing; a publisher that starts again is found again.
#[test]
fn kv_events_go_through_a_channel() {
    let example = example();
    let mut up = example.up(&["--plain"]);
    up.wait_for("batches", |said| batches(said) >= 40);
    assert!(!up.said().contains("missed"), "{}", up.said());
    up.signal_app("publisher.py", "KILL");
    up.wait_for("the publisher again", |said| said.contains("the publisher has started again"));
    let before = batches(&up.said());
    up.wait_for("more batches", |said| batches(said) >= before + 40);
    assert!(!up.said().contains("missed"), "{}", up.said());
    up.signal("TERM");
    assert!(up.wait().success(), "{}", up.said());
}
