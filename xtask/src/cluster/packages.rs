//! The Debian packages that a cluster needs on the machine; installs those that are missing.

use anyhow::{Context as _, Result, bail};

use crate::tools;

/// Programs that a cluster starts by name, each with the package that brings it.
const NEEDED: &[(&str, &str)] = &[
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("setsid", "util-linux"),
    ("mount", "mount"),
    ("busybox", "busybox-static"),
];
/// Files that a cluster needs and that are not in a folder of programs.
const NEEDED_FILES: &[(&str, &str)] = &[("/usr/lib/cni/ptp", "containernetworking-plugins")];

/// Installs what is missing of the cluster's packages.
pub(crate) fn ensure() -> Result<()> {
    let programs = NEEDED.iter().filter(|(program, _)| tools::which(program).is_none());
    let files = NEEDED_FILES.iter().filter(|(file, _)| !std::path::Path::new(file).is_file());
    let mut missing: Vec<&str> = programs.chain(files).map(|(_, package)| *package).collect();
    missing.dedup();
    install(&missing)
}

/// Installs Debian packages; does nothing for none.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    if tools::which("apt-get").is_none() {
        bail!("these Debian packages are missing and there is no apt-get to install them: {names}");
    }
    println!("installing the Debian packages {names}");
    tools::output(&mut apt(["update"])).context("cannot bring the package lists up to date")?;
    tools::output(apt(["install", "--yes", "--no-install-recommends"]).args(packages))
        .with_context(|| format!("cannot install the Debian packages {names}"))?;
    Ok(())
}

/// apt-get that asks nothing.
pub(crate) fn apt<const N: usize>(arguments: [&str; N]) -> std::process::Command {
    let mut command = tools::command("apt-get", ["-qq"]);
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    command
}
