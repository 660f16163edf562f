//! What survives a restart of the container: the identity and the last view, in files that only we can read.

use crate::identity::Certified;
use prost::Message as _;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const IDENTITY_FILE: &str = "identity.json";
const VIEW_FILE: &str = "view.pb";

/// The folder, if there is one.
#[derive(Debug, Clone)]
pub(crate) struct StateDir(Option<PathBuf>);

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} {path}: check --state-dir")]
pub struct StateError {
    action: &'static str,
    path: String,
    source: std::io::Error,
}

impl StateDir {
    /// Makes the folder when it is missing. Without a folder nothing is kept.
    pub(crate) fn open(path: Option<PathBuf>) -> Result<Self, StateError> {
        if let Some(path) = &path {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|source| StateError { action: "make", path: path.display().to_string(), source })?;
        }
        Ok(Self(path))
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.0.as_ref()?.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "failed to read saved state; going on without it");
                None
            }
        }
    }

    /// Replaces the file as a whole or not at all.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let Some(folder) = &self.0 else { return Ok(()) };
        let path = folder.join(name);
        write_private(&path, bytes).map_err(|source| StateError {
            action: "write",
            path: path.display().to_string(),
            source,
        })
    }

    /// The identity as it was saved; `None` when there is none that can be read.
    pub(crate) fn identity(&self) -> Option<Certified> {
        let bytes = self.read(IDENTITY_FILE)?;
        serde_json::from_slice(&bytes)
            .inspect_err(
                |error| tracing::warn!(%error, "the saved identity cannot be read; asking for a new one"),
            )
            .ok()
    }

    pub(crate) fn save_identity(&self, certified: &Certified) -> Result<(), StateError> {
        let bytes = serde_json::to_vec(certified).unwrap_or_default();
        self.write(IDENTITY_FILE, &bytes)
    }

    /// The last view as it was saved.
    pub(crate) fn view(&self) -> Option<proto::control::View> {
        let bytes = self.read(VIEW_FILE)?;
        proto::control::View::decode(bytes.as_slice())
            .inspect_err(
                |error| tracing::warn!(%error, "the saved view cannot be read; waiting for a new one"),
            )
            .ok()
    }

    pub(crate) fn save_view(&self, view: &proto::control::View) -> Result<(), StateError> {
        self.write(VIEW_FILE, &view.encode_to_vec())
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    // A leftover of a crash might have other permissions.
    match std::fs::remove_file(&name) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&name)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&name, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// Goal: what is saved comes back, only we can read it, and damage means starting anew instead of failing.
    #[test]
    fn saved_state_is_private_and_damage_is_survived() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(folder.path().join("state"))).unwrap();
        assert!(state.view().is_none());
        let view = proto::control::View { version: 7, ..Default::default() };
        state.save_view(&view).unwrap();
        state.save_view(&view).unwrap();
        assert_eq!(state.view(), Some(view));
        let path = folder.path().join("state").join(VIEW_FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, b"\xff\xff").unwrap();
        assert!(state.view().is_none());
    }
}
