//! Brings image archives into the cluster's containerd; skips those that are there already.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::Cluster;
use crate::{images, tools, wait};

/// How long containerd may take to listen.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits until containerd answers.
pub(crate) fn wait_for_containerd(cluster: &Cluster) -> Result<()> {
    wait::until("containerd to answer", LIMIT, || {
        Ok(tools::succeeds(ctr(cluster).arg("version")).then_some(()))
    })
}

/// Loads these archives, or all that `cargo xtask images` made.
pub(crate) fn load(cluster: &Cluster, archives: Vec<PathBuf>) -> Result<()> {
    let archives = if archives.is_empty() { images::made(&cluster.cache)? } else { archives };
    if archives.is_empty() {
        bail!("there are no image archives: run cargo xtask images");
    }
    archives.iter().try_for_each(|archive| load_one(cluster, archive))
}

/// Loads one archive, unless an image of that name and content is there.
pub(crate) fn load_one(cluster: &Cluster, archive: &Path) -> Result<()> {
    let image = images::read_archive(archive)?;
    let there = tools::output(ctr(cluster).args(["images", "list"]))?;
    let same =
        |line: &str| line.split_whitespace().next() == Some(&image.name) && line.contains(&image.digest);
    if there.lines().any(same) {
        return Ok(());
    }
    println!("loading {}", image.name);
    tools::output(ctr(cluster).args(["images", "import", "--local"]).arg(archive))
        .with_context(|| format!("cannot load {}", archive.display()))?;
    Ok(())
}

fn ctr(cluster: &Cluster) -> Command {
    let layout = &cluster.layout;
    let mut command = tools::command(layout.program("ctr"), ["--namespace=k8s.io", "--address"]);
    command.arg(layout.containerd_socket());
    command
}
