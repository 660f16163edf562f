//! The data folder (kept over restarts: the authority's roots, the brokers' data), its lock, and the
//! run folder (short path for Unix sockets, gone at the end).

use control_plane::{Authority, AuthorityError, StoredRoot};
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Of all identities in local mode.
pub(crate) const TRUST_DOMAIN: &str = "cluster.local";
/// Where the run folder is made: a Unix socket's path must be shorter than 108 bytes.
const RUN_PARENT: &str = "/tmp";

/// Why there is no data folder to work with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    #[error("failed to write {path}: choose another folder with --data, or make room in this one")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{path} is in use by another `pinnace up`: stop that one, or choose another folder with --data")]
    InUse { path: PathBuf },
    #[error("failed to read the certificate authority in {path}: remove that folder to make a new one")]
    Authority { path: PathBuf, source: AuthorityError },
}

/// The folder that is kept, locked for this process.
#[derive(Debug)]
pub(crate) struct DataFolder {
    pub(crate) path: PathBuf,
    _lock: File,
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> FolderError {
    |source| FolderError::Write { path: path.to_owned(), source }
}

/// Makes a folder that only this user can enter.
pub(crate) fn make(path: &Path) -> Result<(), FolderError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path))
}

/// Writes a file that only this user can read, whole or not at all.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<(), FolderError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.and_then(|()| std::fs::rename(&new, path)).map_err(failed(path))
}

impl DataFolder {
    /// Makes and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, FolderError> {
        make(path)?;
        let path = path.canonicalize().map_err(failed(path))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed(&lock_path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| FolderError::InUse { path: path.clone() })?;
        Ok(Self { path, _lock: lock })
    }

    /// The authority that is kept here, made on first use, and one step further where one is due.
    pub(crate) fn authority(&self, now: i64) -> Result<Authority, FolderError> {
        let folder = self.path.join("authority");
        make(&folder)?;
        let wrong = |source| FolderError::Authority { path: folder.clone(), source };
        let stored = read_roots(&folder).map_err(failed(&folder))?;
        let (authority, is_new) = if stored.is_empty() {
            (Authority::create(TRUST_DOMAIN, now).map_err(wrong)?, true)
        } else {
            (Authority::load(TRUST_DOMAIN, stored).map_err(wrong)?, false)
        };
        let (authority, is_new) = match authority.advanced(now).map_err(wrong)? {
            Some(next) => (next, true),
            None => (authority, is_new),
        };
        if is_new {
            write_roots(&folder, &authority.stored())?;
        }
        Ok(authority)
    }

    /// Where a broker keeps its data.
    pub(crate) fn broker(&self, namespace: &str, name: &str) -> PathBuf {
        self.path.join("brokers").join(namespace).join(name)
    }
}

fn read_roots(folder: &Path) -> std::io::Result<Vec<StoredRoot>> {
    let mut roots = Vec::new();
    for number in 0.. {
        let (certificate, key) = root_paths(folder, number);
        if !certificate.exists() || !key.exists() {
            break;
        }
        roots.push(StoredRoot {
            certificate_pem: std::fs::read_to_string(certificate)?,
            key_pem: std::fs::read_to_string(key)?,
        });
    }
    Ok(roots)
}

fn root_paths(folder: &Path, number: usize) -> (PathBuf, PathBuf) {
    (folder.join(format!("root-{number}.crt")), folder.join(format!("root-{number}.key")))
}

fn write_roots(folder: &Path, roots: &[StoredRoot]) -> Result<(), FolderError> {
    for (number, root) in roots.iter().enumerate() {
        let (certificate, key) = root_paths(folder, number);
        write_secret(&key, &root.key_pem)?;
        write_secret(&certificate, &root.certificate_pem)?;
    }
    let (certificate, _) = root_paths(folder, roots.len());
    match std::fs::remove_file(&certificate) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(FolderError::Write { path: certificate, source })
        }
        _ => Ok(()),
    }
}

/// A folder for sockets and tokens that is removed at the end.
#[derive(Debug)]
pub(crate) struct RunFolder {
    folder: tempfile::TempDir,
}

impl RunFolder {
    pub(crate) fn make() -> Result<Self, FolderError> {
        let parent = Path::new(RUN_PARENT);
        let folder =
            tempfile::Builder::new().prefix("pinnace-").tempdir_in(parent).map_err(failed(parent))?;
        Ok(Self { folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A folder in it, made anew.
    pub(crate) fn child(&self, name: &str) -> Result<PathBuf, FolderError> {
        let path = self.folder.path().join(name);
        make(&path)?;
        Ok(path)
    }
}
