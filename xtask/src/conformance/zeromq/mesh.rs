//! `pinnace up` with two sidecars, `left` and `right`: the two ends of the suite's Channels. The apps beside them
//! only hold them; the suite's own programs use their doors.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::{Process, free_endpoint};
use crate::wait;

const MANIFESTS: &str = include_str!("manifests.yaml");
/// How long it may take until a sidecar has its doors open.
const PATIENCE: Duration = Duration::from_secs(60);
const SIDES: [&str; 2] = ["left", "right"];
/// Channels for the pairs of pyzmq's own tests, of each pattern: more than a run has pairs.
pub(super) const CHANNELS_PER_PATTERN: usize = 60;
/// Patterns that carry pairs of sockets: the name of their Channels, the pattern, the pairs.
pub(super) const PATTERNS: [(&str, &str, &[&str]); 3] = [
    ("pairs-ps", "PubSub", &["pub-sub"]),
    ("pairs-pl", "Pipeline", &["push-pull"]),
    ("pairs-rr", "RequestReply", &["req-rep", "req-router", "dealer-rep", "dealer-router"]),
];

/// A running mesh.
pub(super) struct Mesh {
    up: Process,
    environment: Vec<(String, String)>,
}

impl Mesh {
    /// Starts it in `folder` and waits until both sidecars have their doors open.
    pub(super) fn start(program: &Path, folder: &Path) -> Result<Self> {
        let (manifests, data) = (folder.join("manifests"), folder.join("data"));
        std::fs::create_dir_all(&manifests).context("cannot make the folder of the manifests")?;
        let mut addresses = Vec::new();
        for name in ["LEFT_TCP", "RIGHT_TCP", "BOUND_PUB", "BOUND_SUB"] {
            addresses.push((name.to_owned(), free_endpoint()?));
        }
        let text = manifests_text(folder, &addresses);
        std::fs::write(manifests.join("zeromq.yaml"), text).context("cannot write the manifests")?;
        let mut command = Command::new(program);
        command.args(["up", "--plain", "--file"]).arg(&manifests).arg("--data").arg(&data);
        let mut up = Process::start("up", command, folder)?;
        let mut environment = addresses;
        for side in SIDES {
            let zmq = wait::until(&format!("the sidecar {side}"), PATIENCE, || {
                up.runs()?;
                let held = std::fs::read_to_string(held_file(folder, side)).unwrap_or_default();
                Ok(held.lines().find_map(|line| line.strip_prefix("PINNACE_ZMQ_DIR=")).map(str::to_owned))
            })?;
            environment.push((format!("{}_DIR", side.to_uppercase()), zmq));
        }
        Ok(Self { up, environment })
    }

    /// What the suite's programs find the doors by.
    pub(super) fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn doors(&self, side: &str) -> Result<&str> {
        let name = format!("{}_DIR", side.to_uppercase());
        let mut environment = self.environment();
        environment.find(|(its, _)| *its == name).map(|(_, value)| value).context("there is no such sidecar")
    }

    /// Kills a sidecar and waits until it has been started again.
    pub(super) fn restart(&self, side: &str) -> Result<()> {
        let folder = self.doors(side)?;
        let before = process_of(folder).with_context(|| format!("the sidecar {side} does not run"))?;
        kill_process(before, Signal::KILL).with_context(|| format!("cannot kill the sidecar {side}"))?;
        wait::until(&format!("the sidecar {side} to be back"), PATIENCE, || {
            let is_another = process_of(folder).is_some_and(|process| process != before);
            let is_open = UnixStream::connect(Path::new(folder).join("prices.sub")).is_ok();
            Ok((is_another && is_open).then_some(()))
        })
    }

    /// Ends it in order.
    pub(super) fn end(self) -> Result<()> {
        self.up.end()
    }
}

/// The sidecar whose sockets are in this folder.
fn process_of(folder: &str) -> Option<Pid> {
    let entries = std::fs::read_dir("/proc").ok()?;
    let mut numbers =
        entries.filter_map(|entry| entry.ok()?.file_name().to_string_lossy().parse::<i32>().ok());
    let number = numbers.find(|number| {
        let line = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == folder.as_bytes())
    })?;
    Pid::from_raw(number)
}

/// Where the app of a side writes its environment.
fn held_file(folder: &Path, side: &str) -> PathBuf {
    folder.join(format!("{side}.env"))
}

/// The fixed part, the Channels of pyzmq's tests, and the two Deployments.
fn manifests_text(folder: &Path, addresses: &[(String, String)]) -> String {
    let mut text = MANIFESTS.to_owned();
    for (prefix, pattern, _) in PATTERNS {
        for number in 0..CHANNELS_PER_PATTERN {
            text += &format!(
                "---\napiVersion: pinnace.dev/v1alpha1\nkind: Channel\nmetadata: {{name: {prefix}-{number}, namespace: zeromq}}\nspec: {{pattern: {pattern}}}\n"
            );
        }
    }
    let address = |wanted: &str| {
        let found = addresses.iter().find(|(name, _)| name == wanted);
        found.map(|(_, address)| address.as_str()).unwrap_or_default()
    };
    for (side, tcp, role) in [("left", "LEFT_TCP", "pub"), ("right", "RIGHT_TCP", "sub")] {
        let file = held_file(folder, side).display().to_string();
        let script = format!("env > {file}.new && mv {file}.new {file} && exec sleep 1000000");
        let command = serde_json::json!(["sh", "-c", script]);
        let bound = address(&format!("BOUND_{}", role.to_uppercase()));
        text += &format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {side}, namespace: zeromq}}\nspec:\n  template:\n    metadata:\n      labels: {{pinnace.dev/inject: \"true\"}}\n      annotations:\n        pinnace.dev/local-command: '{command}'\n        pinnace.dev/zmq-listen: prices.{role}={}\n        pinnace.dev/zmq-connect: bound.{role}={bound}\n    spec:\n      serviceAccountName: {side}\n",
            address(tcp)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the manifests are YAML, with all Channels and both sidecars.
    #[test]
    fn manifests_are_whole() {
        let addresses = [("LEFT_TCP", "tcp://127.0.0.1:1"), ("BOUND_PUB", "tcp://127.0.0.1:2")];
        let addresses = addresses.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let text = manifests_text(Path::new("/tmp/x"), &addresses);
        let kinds: Vec<String> = text
            .split("---\n")
            .map(|document| serde_yaml::from_str::<serde_yaml::Value>(document).unwrap())
            .map(|value| value["kind"].as_str().unwrap().to_owned())
            .collect();
        let count = |kind: &str| kinds.iter().filter(|its| *its == kind).count();
        assert_eq!(count("Deployment"), SIDES.len());
        assert!(count("Channel") > CHANNELS_PER_PATTERN * PATTERNS.len());
        assert!(text.contains("zmq-listen: prices.pub=tcp://127.0.0.1:1"));
        assert!(text.contains("zmq-connect: bound.pub=tcp://127.0.0.1:2"));
    }
}
