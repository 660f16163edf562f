//! The processes of a pod, as the machine sees them: for deaths that no program hears of before.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::kube;

/// The sidecar, as the kernel calls it.
pub(crate) const SIDECAR: &str = "pinnace-sidecar";

/// Processes of one pod.
#[derive(PartialEq)]
pub(crate) struct Processes(Vec<String>);

impl Processes {
    /// Those of a pod whose name is `wanted`.
    pub(crate) fn of(pod: &Value, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let uid = pod["metadata"]["uid"].as_str().filter(|uid| !uid.is_empty());
        let uid = uid.context("the pod has no uid")?;
        let group = format!("/pod{uid}/");
        let mut pids = Vec::new();
        for entry in fs::read_dir("/proc").context("cannot list processes")?.flatten() {
            let file = entry.file_name();
            let Some(pid) = file.to_str().filter(|name| name.parse::<u32>().is_ok()) else { continue };
            let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            if read("cgroup").contains(&group) && wanted(read("comm").trim()) {
                pids.push(pid.to_owned());
            }
        }
        ensure!(!pids.is_empty(), "no such process of pod {uid} was found");
        Ok(Self(pids))
    }

    /// The first of them.
    pub(crate) fn first(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// They stand still from now on.
    pub(crate) fn stop(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// The processes of the machine itself whose name is `wanted`.
    pub(crate) fn of_machine(wanted: &str) -> Result<Self> {
        let mut pids = Vec::new();
        for entry in fs::read_dir("/proc").context("cannot list processes")?.flatten() {
            let file = entry.file_name();
            let Some(pid) = file.to_str().filter(|name| name.parse::<u32>().is_ok()) else { continue };
            if fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim() == wanted {
                pids.push(pid.to_owned());
            }
        }
        ensure!(!pids.is_empty(), "there is no process {wanted}");
        Ok(Self(pids))
    }

    /// They stand still until the guard goes.
    pub(crate) fn stopped(&self) -> Result<Stopped<'_>> {
        self.stop()?;
        Ok(Stopped(self))
    }

    /// They go on after they stood still; so do those that started them, since nsenter stands still with its child.
    fn go_on(&self) -> Result<()> {
        let status = |pid: &String| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = |status: String| {
            Some(status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().to_owned())
        };
        let parents = self.0.iter().map(status).filter_map(parent);
        Self(self.0.iter().cloned().chain(parents).collect()).signal("-CONT")
    }

    /// They are asked to end.
    pub(crate) fn end(&self) -> Result<()> {
        self.signal("-TERM")
    }

    /// They end at once and without a word.
    pub(crate) fn kill(&self) -> Result<()> {
        self.signal("-KILL")
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let mut words = vec![signal];
        words.extend(self.0.iter().map(String::as_str));
        kube::run("kill", &words).map(drop)
    }
}

/// Processes that stand still. They go on when it is dropped, however the scenario ends.
pub(crate) struct Stopped<'a>(&'a Processes);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        drop(self.0.go_on());
    }
}
