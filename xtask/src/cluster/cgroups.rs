//! The cgroup that holds a cluster's pods, in every hierarchy of the machine, so that nothing of
//! them stays behind. Touches no other cgroup.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::wait;

/// Where the hierarchies are.
const HIERARCHIES: &str = "/sys/fs/cgroup";
/// How long the kernel may take to let go of the cgroups of dead processes.
const LIMIT: Duration = Duration::from_secs(30);

/// Makes the cgroup in every hierarchy (version 1) or in the only one (version 2).
pub(crate) fn create(name: &str) -> Result<()> {
    let roots = roots(Path::new(HIERARCHIES));
    for root in &roots {
        // Version 2 gives a child only the controllers that its parent hands down; one that this
        // kernel lacks is refused alone, so each is asked for by itself.
        if roots.len() == 1 {
            for controller in ["cpu", "cpuset", "memory", "pids", "io", "hugetlb"] {
                drop(fs::write(root.join("cgroup.subtree_control"), format!("+{controller}")));
            }
        }
        let folder = root.join(name);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the cgroup {}", folder.display()))?;
    }
    Ok(())
}

/// Deletes the cgroup in every hierarchy; the processes in it must be dead.
pub(crate) fn remove(name: &str) -> Result<()> {
    for root in roots(Path::new(HIERARCHIES)) {
        let folder = root.join(name);
        wait::until(&format!("the cgroup {} to go", folder.display()), LIMIT, || {
            remove_tree(&folder);
            Ok((!folder.exists()).then_some(()))
        })?;
    }
    Ok(())
}

/// The mounted hierarchies: one folder each (version 1), or the root itself (version 2).
fn roots(mount: &Path) -> Vec<PathBuf> {
    if mount.join("cgroup.controllers").exists() {
        return vec![mount.to_path_buf()];
    }
    let Ok(entries) = fs::read_dir(mount) else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            entry.file_type().ok()?.is_dir().then(|| entry.path())
        })
        .filter(|folder| folder.join("cgroup.procs").exists())
        .collect()
}

/// Deletes a cgroup and those below it, as far as the kernel lets go of them; its files go with
/// it, they must not be deleted one by one.
fn remove_tree(folder: &Path) {
    if let Ok(entries) = fs::read_dir(folder) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_tree(&entry.path());
            }
        }
    }
    drop(fs::remove_dir(folder));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: version 1 has a root for each hierarchy that is one, version 2 has a single root.
    #[test]
    fn both_versions_of_cgroups_are_told_apart() {
        let mount = tempfile::tempdir().unwrap();
        for hierarchy in ["cpu", "memory"] {
            fs::create_dir(mount.path().join(hierarchy)).unwrap();
            fs::write(mount.path().join(hierarchy).join("cgroup.procs"), "").unwrap();
        }
        fs::create_dir(mount.path().join("no-hierarchy")).unwrap();
        assert_eq!(roots(mount.path()).len(), 2);

        fs::write(mount.path().join("cgroup.controllers"), "cpu").unwrap();
        assert_eq!(roots(mount.path()), [mount.path()]);
    }
}
