//! Reads a folder of manifests. Whatever is wrong names file, line and field and stops nothing else;
//! an object that turns bad by an edit stays as it was. Nothing here starts or stops anything.

mod documents;
mod locate;
mod quota;
mod read;
#[cfg(test)]
mod tests;
mod workload;

use control::ObjectName;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

pub(crate) use workload::Workload;

/// The most files in a folder.
const FILES_MAX: usize = 1_000;
/// The largest file, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Something that is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    pub(crate) file: String,
    pub(crate) line: usize,
    /// `Topic shop/orders: spec.partitions`, as far as it is known.
    pub(crate) field: String,
    pub(crate) text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, field, text } = self;
        write!(formatter, "{file}:{line}: ")?;
        if !field.is_empty() {
            write!(formatter, "{field}: ")?;
        }
        formatter.write_str(text)
    }
}

/// All that the files say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manifests {
    pub(crate) topics: BTreeMap<ObjectName, api::Topic>,
    pub(crate) channels: BTreeMap<ObjectName, api::Channel>,
    pub(crate) brokers: BTreeMap<ObjectName, api::Broker>,
    pub(crate) workloads: BTreeMap<ObjectName, Workload>,
    pub(crate) service_accounts: BTreeSet<ObjectName>,
    /// What local mode leaves out, in words.
    pub(crate) notices: BTreeSet<String>,
    pub(crate) problems: Vec<Problem>,
    /// Where each object is, for problems that show later.
    places: BTreeMap<(&'static str, ObjectName), (String, usize)>,
}

impl Manifests {
    /// A problem of an object that shows only beside other objects.
    pub(crate) fn problem_of(
        &self,
        kind: &'static str,
        name: &ObjectName,
        field: &str,
        text: String,
    ) -> Problem {
        let (file, line) = self.places.get(&(kind, name.clone())).cloned().unwrap_or_default();
        Problem { file, line, field: format!("{kind} {name}: {field}"), text }
    }
}

/// Why a folder cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("failed to read {path}: give -f a folder of YAML files, or one file")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("{path} holds more than {FILES_MAX} YAML files: give -f a smaller folder")]
    TooMany { path: PathBuf },
}

/// A file's name, as the user would write it, and its text or why there is none.
type File = (String, Result<String, String>);

/// Reads a folder again and again, and knows whether anything changed.
#[derive(Debug)]
pub(crate) struct Reader {
    path: PathBuf,
    digest: Option<[u8; 32]>,
    last: Manifests,
}

impl Reader {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), digest: None, last: Manifests::default() }
    }

    /// The manifests when they differ from the last time.
    pub(crate) fn poll(&mut self) -> Result<Option<Manifests>, ReadError> {
        let files = self.files()?;
        let mut hasher = Sha256::new();
        for (name, text) in &files {
            hasher.update(name.as_bytes());
            hasher.update([0]);
            match text {
                Ok(text) => hasher.update(text.as_bytes()),
                Err(error) => hasher.update(error.as_bytes()),
            }
            hasher.update([0]);
        }
        let digest: [u8; 32] = hasher.finalize().into();
        if self.digest == Some(digest) {
            return Ok(None);
        }
        self.digest = Some(digest);
        self.last = read::read(&files, &self.last);
        Ok(Some(self.last.clone()))
    }

    fn files(&self) -> Result<Vec<File>, ReadError> {
        let failed = |source| ReadError::Folder { path: self.path.clone(), source };
        let mut paths = Vec::new();
        if std::fs::metadata(&self.path).map_err(failed)?.is_file() {
            paths.push(self.path.clone());
        } else {
            for entry in std::fs::read_dir(&self.path).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                let extension = path.extension().and_then(|extension| extension.to_str());
                if matches!(extension, Some("yaml" | "yml")) && path.is_file() {
                    paths.push(path);
                }
                if paths.len() > FILES_MAX {
                    return Err(ReadError::TooMany { path: self.path.clone() });
                }
            }
        }
        paths.sort();
        Ok(paths.iter().map(|path| (path.display().to_string(), read_file(path))).collect())
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("the file has {size} bytes; the limit is {FILE_BYTES_MAX}"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}
