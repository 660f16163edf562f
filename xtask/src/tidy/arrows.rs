//! Which of our packages may use which. The table is the architecture; `cargo metadata` is what
//! the code does.

use std::path::Path;

use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, MetadataCommand, Package};

use super::Finding;

/// Package, and the packages of ours that it may use in its own code.
const ALLOWED: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("kafka-wire", &[]),
    ("peer-wire", &[]),
    ("zmtp", &[]),
    ("control", &["api"]),
    ("record-log", &["kafka-wire"]),
    ("proto", &[]),
    ("runtime", &[]),
    ("testkit", &["kafka-wire"]),
    ("kafka-admin", &["kafka-wire", "runtime"]),
    ("control-plane", &["api", "control", "proto", "runtime"]),
    ("operator", &["api", "control", "control-plane", "kafka-admin", "proto", "runtime"]),
    ("sidecar", &["kafka-wire", "peer-wire", "proto", "runtime", "zmtp"]),
    ("broker", &["kafka-wire", "record-log", "runtime"]),
    ("benches", &["proto", "runtime"]),
    ("fleet", &["api", "proto", "runtime"]),
    (
        "pinnace",
        &["api", "broker", "control", "control-plane", "kafka-admin", "proto", "runtime", "sidecar", "zmtp"],
    ),
];

/// Packages that may use everything, because nothing uses them.
const FREE: &[&str] = &["tests", "xtask"];

/// Packages that decide and never act.
const PURE: &[&str] = &["api", "control", "kafka-wire", "peer-wire", "record-log", "zmtp"];

/// What no pure package may use.
const IMPURE: &[&str] = &["tokio", "tokio-util", "hyper", "rand", "socket2", "rustix", "tracing-subscriber"];

/// Every package of the workspace against the table.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let metadata = MetadataCommand::new()
        .current_dir(root)
        .no_deps()
        .exec()
        .context("failed to read the workspace with cargo metadata")?;
    let ours: Vec<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    Ok(metadata.packages.iter().flat_map(|package| check_package(package, &ours)).collect())
}

fn check_package(package: &Package, ours: &[&str]) -> Vec<Finding> {
    let name = package.name.as_str();
    let path = package.manifest_path.as_std_path();
    if FREE.contains(&name) {
        return Vec::new();
    }
    let Some((_, allowed)) = ALLOWED.iter().find(|(package, _)| *package == name) else {
        return vec![Finding::new(path, "no row in the table of arrows (xtask/src/tidy/arrows.rs)")];
    };
    package
        .dependencies
        .iter()
        .filter_map(|dependency| {
            let used = dependency.name.as_str();
            let in_tests = dependency.kind == DependencyKind::Development;
            judge(name, used, ours.contains(&used), in_tests, allowed).map(|rule| Finding::new(path, rule))
        })
        .collect()
}

fn judge(package: &str, used: &str, is_ours: bool, in_tests: bool, allowed: &[&str]) -> Option<String> {
    if in_tests {
        return None;
    }
    if used == "testkit" {
        return Some("testkit is for tests only: make it a dev-dependency".to_owned());
    }
    if is_ours && !allowed.contains(&used) {
        return Some(format!("{package} must not use {used}: no such arrow"));
    }
    if PURE.contains(&package) && IMPURE.contains(&used) {
        return Some(format!("{package} is pure: it must not use {used}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an arrow that is not in the table is found, in code but not in tests.
    #[test]
    fn finds_arrows_that_are_not_drawn() {
        assert!(judge("sidecar", "broker", true, false, &["proto"]).is_some());
        assert!(judge("sidecar", "broker", true, true, &["proto"]).is_none());
        assert!(judge("sidecar", "proto", true, false, &["proto"]).is_none());
        assert!(judge("zmtp", "tokio", false, false, &[]).is_some());
        assert!(judge("runtime", "tokio", false, false, &[]).is_none());
        assert!(judge("broker", "testkit", true, false, &["testkit"]).is_some());
    }
}
