//! Names, addresses and paths of a cluster. Pure: touches no file.

use std::path::{Path, PathBuf};

/// Where the state of all clusters is; short, since socket paths end at 108 bytes.
const STATE: &str = "/var/lib/pinnace-cluster";

/// The longest name of a cluster.
const NAME_LENGTH_MAX: usize = 20;

/// The address of the node, of the API server and of the name server.
pub(crate) const NODE_ADDRESS: &str = "172.30.0.1";
/// The addresses of Services.
pub(crate) const SERVICE_RANGE: &str = "10.96.0.0/16";
/// The Service `kubernetes`, first of that range.
pub(crate) const SERVICE_FIRST: &str = "10.96.0.1";
/// The addresses of pods.
pub(crate) const POD_RANGE: &str = "10.244.0.0/16";
/// The port of the API server.
pub(crate) const API_PORT: u16 = 6443;
/// The image under every pod; made by `cargo xtask images`.
pub(crate) const PAUSE_IMAGE: &str = "pinnace.dev/test/pause:0.0.0";

/// Accepts what is safe as a part of file names and of host names.
pub(crate) fn parse_name(name: &str) -> Result<String, String> {
    let fine = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    if name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.chars().all(fine) {
        return Err(format!("must be 1 to {NAME_LENGTH_MAX} lower-case letters and digits"));
    }
    Ok(name.to_owned())
}

/// The files of one cluster.
#[derive(Clone)]
pub(crate) struct Layout {
    name: String,
    root: PathBuf,
}

impl Layout {
    /// The layout of the cluster with this name.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), root: Path::new(STATE).join(name) }
    }

    /// The same with another root, for tests.
    #[cfg(test)]
    pub(crate) fn under(root: &Path) -> Self {
        Self { name: "test".to_owned(), root: root.to_path_buf() }
    }

    /// The name of the cluster and of its node.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The folder that holds all of the cluster's files.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder with the cluster's programs.
    pub(crate) fn programs(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// One of the cluster's programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs().join(name)
    }

    /// The folder of keys and certificates.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.root.join("certificates")
    }

    /// The folder of rendered settings.
    pub(crate) fn settings(&self) -> PathBuf {
        self.root.join("settings")
    }

    /// How a user of the API server finds it and proves who it is.
    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.settings().join(format!("{user}.kubeconfig"))
    }

    /// The folder with one log file for each program.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The log file of a program.
    pub(crate) fn log(&self, program: &str) -> PathBuf {
        self.logs().join(format!("{program}.log"))
    }

    /// The folder with the process record of each program.
    pub(crate) fn records(&self) -> PathBuf {
        self.root.join("processes")
    }

    /// The folder of the persistent volumes.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// Where containerd listens.
    pub(crate) fn containerd_socket(&self) -> PathBuf {
        self.root.join("containerd/containerd.sock")
    }

    /// The cgroup, below each hierarchy's root, that holds all pods.
    pub(crate) fn cgroup(&self) -> String {
        format!("pinnace-{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: no name reaches a path or a host name that could mean something else there.
    #[test]
    fn a_name_is_letters_and_digits() {
        assert_eq!(parse_name("pinnace2").unwrap(), "pinnace2");
        for bad in ["", "../etc", "a b", "Pinnace", "a-b", "aaaaaaaaaaaaaaaaaaaaa"] {
            assert!(parse_name(bad).is_err(), "{bad}");
        }
    }

    /// Goal: the longest name still gives a socket path that the kernel takes.
    #[test]
    fn socket_paths_fit() {
        let longest = Layout::new(&"a".repeat(NAME_LENGTH_MAX));
        let socket = longest.containerd_socket();
        assert!(socket.as_os_str().len() + ".ttrpc".len() < 108);
    }
}
