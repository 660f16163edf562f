//! The folder outside the checkout that keeps what is costly to make and the same for every
//! checkout: the test cluster's programs and the test-only images. Everything in it is keyed by
//! what it was made from, so it may be deleted at any time and never goes stale.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use sha2::{Digest as _, Sha256};

/// How many hex digits of a hash make a key.
const KEY_DIGITS: usize = 16;

/// Where the cache is.
#[derive(Args, Clone)]
pub(crate) struct CacheArgs {
    /// Folder that keeps built programs and images [default: $XDG_CACHE_HOME/pinnace, else ~/.cache/pinnace]
    #[arg(long, env = "PINNACE_CACHE", value_name = "DIR", global = true)]
    cache: Option<PathBuf>,
    #[arg(long, env = "XDG_CACHE_HOME", hide = true, global = true)]
    xdg_cache_home: Option<PathBuf>,
    #[arg(long, env = "HOME", hide = true, default_value = "/root", global = true)]
    home: PathBuf,
}

impl CacheArgs {
    /// The cache folder; it is made when it is missing.
    pub(crate) fn open(&self) -> Result<Cache> {
        let folder = self
            .cache
            .clone()
            .or_else(|| self.xdg_cache_home.as_ref().map(|folder| folder.join("pinnace")))
            .unwrap_or_else(|| self.home.join(".cache/pinnace"));
        let folder = std::path::absolute(&folder)
            .with_context(|| format!("the cache folder {} has no absolute path", folder.display()))?;
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the cache folder {}", folder.display()))?;
        Ok(Cache { folder })
    }
}

/// An existing cache folder.
#[derive(Clone)]
pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Where something of this kind and key is kept; it need not exist.
    pub(crate) fn place(&self, kind: &str, key: &str) -> PathBuf {
        self.folder.join(kind).join(key)
    }

    /// Makes a folder under its final name only when all of it is there: `make` fills a folder
    /// with a temporary name, which is then renamed.
    pub(crate) fn folder(
        &self,
        kind: &str,
        key: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let place = self.place(kind, key);
        // It has its name only when all of it is there; who needs it does not wait for others to be made.
        if place.is_dir() {
            return Ok(place);
        }
        let _alone = self.lock(kind)?;
        if place.is_dir() {
            return Ok(place);
        }
        let partial = self.place(kind, &format!(".{key}.partial"));
        remove_folder(&partial)?;
        fs::create_dir_all(&partial)
            .with_context(|| format!("cannot make the folder {}", partial.display()))?;
        make(&partial)?;
        fs::rename(&partial, &place)
            .with_context(|| format!("cannot move {} into place", partial.display()))?;
        Ok(place)
    }

    /// Waits until no other xtask works on this kind of thing; ends when the file is dropped.
    pub(crate) fn lock(&self, kind: &str) -> Result<File> {
        let path = self.folder.join(format!("{kind}.lock"));
        let file =
            File::create(&path).with_context(|| format!("cannot open the lock file {}", path.display()))?;
        if file.try_lock().is_err() {
            println!("waiting for another xtask to let go of {}", path.display());
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(file)
    }
}

/// A short hash over named pieces of content: the same pieces in the same order give the same key.
pub(crate) fn key<'a>(pieces: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hash = Sha256::new();
    for (name, content) in pieces {
        hash.update(format!("{}:{name}:{}:", name.len(), content.len()));
        hash.update(content);
    }
    let mut digits = hex(&hash.finalize());
    digits.truncate(KEY_DIGITS);
    digits
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Deletes a folder with all that is in it; a missing one is fine.
pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot delete the folder {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a key changes with every name, content and border between two pieces.
    #[test]
    fn a_key_tells_inputs_apart() {
        let one = key([("a", b"12".as_slice()), ("b", b"3")]);
        assert_eq!(one, key([("a", b"12".as_slice()), ("b", b"3")]));
        assert_ne!(one, key([("a", b"1".as_slice()), ("b", b"23")]));
        assert_ne!(one, key([("a", b"12".as_slice()), ("c", b"3")]));
        assert_ne!(one, key([("b", b"3".as_slice()), ("a", b"12")]));
        assert_eq!(one.len(), KEY_DIGITS);
    }

    /// Goal: a folder whose making failed is not there the next time; a finished one is made once, and waits for nobody.
    #[test]
    fn a_half_made_folder_is_never_found() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache { folder: home.path().to_path_buf() };

        let failed = cache.folder("parts", "one", |folder| {
            fs::write(folder.join("half"), "x")?;
            anyhow::bail!("the build failed")
        });
        assert!(failed.is_err());
        assert!(!cache.place("parts", "one").exists());

        let made = cache.folder("parts", "one", |folder| Ok(fs::write(folder.join("whole"), "x")?));
        assert!(made.unwrap().join("whole").is_file());
        assert!(!cache.place("parts", "one").join("half").exists());
        cache.folder("parts", "one", |_| anyhow::bail!("made twice")).unwrap();
        let _another = cache.lock("parts").unwrap();
        cache.folder("parts", "one", |_| anyhow::bail!("made twice")).unwrap();
    }
}
