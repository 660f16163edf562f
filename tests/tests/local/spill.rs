//! `overflow: Spill` with the broker of local mode: the overflow goes to a real log and comes back.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::program::{Example, LIMIT, pinnace};
use tests::wait::until;

const COUNT: usize = 5_000;
const MANIFESTS: &str = "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: flood, namespace: orders}
---
apiVersion: pinnace.dev/v1alpha1
kind: Topic
metadata: {name: flood-overflow, namespace: orders}
spec: {partitions: 3}
---
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: flood, namespace: orders}
spec:
  ready: {subscribers: 1}
  delivery:
    overflow: Spill
    spill: {topic: flood-overflow}
    buffer: {messages: 100, size: 1Mi}
";

/// A tool of a person with a sidecar of its own; it ends in order with the test, or the tool would outlive it.
struct Tool(Child);

impl Drop for Tool {
    fn drop(&mut self) {
        // Where this fails the test has failed, or does by what is left.
        drop(Command::new("kill").args(["-s", "TERM", &self.0.id().to_string()]).status());
        if until(LIMIT, || self.0.try_wait().ok().flatten()).is_none() {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
}

fn start(example: &Example, tool: &[&str], (input, output): (Stdio, Stdio)) -> Tool {
    let child = Command::new(pinnace())
        .args(["run", "-f"])
        .arg(example.path())
        .args(["--as", "orders/flood", "--", "pinnace"])
        .args(tool)
        .stdin(input)
        .stdout(output)
        .spawn()
        .expect("pinnace starts");
    Tool(child)
}

/// Goal: a publisher gets through twenty megabytes while its one subscriber reads nothing, and then the subscriber gets
/// all of it, once and in order.
#[test]
fn a_subscriber_that_stops_is_filled_up_from_the_topic() {
    let example = Example::new();
    example.write("flood.yaml", MANIFESTS);
    let up = example.up(&["--plain"]);
    up.wait_for_messages();
    let mut subscriber = start(&example, &["subscribe", "channels/flood"], (Stdio::null(), Stdio::piped()));
    // It does not end after the last line: until all has come back the publisher's sidecar is needed.
    let source = format!("seq 0 {} | sed 's/$/ {}/'; touch done; cat", COUNT - 1, "x".repeat(4000));
    let mut input = Command::new("sh")
        .args(["-c", &source])
        .current_dir(example.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("there is a shell");
    let lines = Stdio::from(input.stdout.take().expect("it is piped"));
    let publisher = start(&example, &["publish", "channels/flood"], (lines, Stdio::null()));
    // The subscriber's own output fills up: it reads no more from its sidecar.
    let done = until(LIMIT, || example.path().join("done").exists().then_some(()));
    assert!(done.is_some(), "the publisher is held up: {}", up.said());
    let lines = BufReader::new(subscriber.0.stdout.take().expect("it is piped")).lines();
    // The first line says that it has subscribed; the others end with a number and the filling.
    for (number, line) in lines.skip(1).take(COUNT).enumerate() {
        let line = line.expect("the subscriber prints text");
        let found = line.split(" xx").next().and_then(|head| head.rsplit(' ').next());
        assert_eq!(found, Some(number.to_string().as_str()), "{}", up.said());
    }
    drop((subscriber, publisher));
    drop(input.kill());
    drop(input.wait());
    up.signal("TERM");
}
