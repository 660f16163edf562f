//! The commands for a cluster that README.md shows, as they stand there.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tests::readme::{checkout, readme_blocks};

use crate::install::{NAMESPACE, RELEASE, install, installed};
use crate::kube::{self, kubectl, run, said, until};

/// What the commands leave in the cluster, beside the release: kinds and names in `default`.
const LEFT: &[&str] =
    &["topics.pinnace.dev/greetings", "channels.pinnace.dev/prices", "brokers.pinnace.dev/default"];
const DISK: &str = "persistentvolumeclaim/data-default-broker-0";

/// Runs a block as a person would who pastes it into a shell, and gives what it printed.
fn paste(commands: &str) -> Result<String> {
    let output = Command::new("bash")
        .args(["-e", "-u", "-o", "pipefail", "-c", commands])
        .current_dir(checkout())
        .output()
        .context("cannot start bash")?;
    ensure!(output.status.success(), "these commands failed:\n{commands}\n{}", said(&output));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Takes away what the commands made, so that they can be pasted once more.
fn clean() -> Result<()> {
    for object in LEFT {
        kubectl(&["--namespace", "default", "delete", object, "--ignore-not-found", "--timeout=120s"])?;
    }
    kubectl(&["--namespace", "default", "delete", DISK, "--ignore-not-found", "--timeout=120s"])?;
    kubectl(&["delete", "namespace", "orders", "--ignore-not-found", "--timeout=120s"])?;
    Ok(())
}

fn commands_work() -> Result<()> {
    let blocks = readme_blocks("cluster");
    ensure!(blocks.len() >= 4, "README.md shows {} blocks for a cluster", blocks.len());
    let (last, first) = blocks.split_last().context("README.md shows nothing for a cluster")?;
    for block in first {
        paste(&block.commands)?;
    }
    // The last one prints what the example received: at once, or when messages have begun to flow.
    until("the example to print prices", kube::LIMIT, || {
        Ok(paste(&last.commands)?.contains("{\"price\": ").then_some(()))
    })
}

/// Promise: whoever pastes the commands of README.md, from `helm install` to the example, gets
/// what it says.
#[test]
fn readme_commands_work_on_a_cluster() -> Result<()> {
    installed()?;
    clean()?;
    run("helm", &["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "120s"])?;
    let outcome = commands_work();
    // The other scenarios go on with the installation that they share.
    install()?;
    outcome?;
    clean()
}
