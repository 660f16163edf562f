//! Virtual environments of Python that are kept in the cache, and the source distributions beside them. Knows no suite.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cache::Cache;
use crate::tools;

/// The pyzmq whose libzmq and tests are used: the version that most people run.
pub(crate) const PYZMQ_VERSION: &str = "27.3.0";

/// A folder of the cache with a virtual environment in it.
pub(crate) struct Environment {
    place: PathBuf,
}

impl Environment {
    /// The one of that name and key; `fill` installs into it the first time.
    pub(crate) fn open(
        cache: &Cache,
        (name, key): (&str, &str),
        fill: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<Self> {
        // Made in place: the programs of a virtual environment know the folder that they were made in.
        let place = cache.place(name, key);
        fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
        let _alone = cache.lock(name)?;
        let environment = Self { place };
        let done = environment.place.join("done");
        if !done.is_file() {
            println!("installing {name} and its tests into {}", environment.place.display());
            let mut venv = tools::command("python3", ["-m", "venv", "--clear", "venv"]);
            tools::output(venv.current_dir(&environment.place))
                .context("cannot make a virtual environment; install the Debian package python3-venv")?;
            fill(&environment)?;
            fs::write(&done, "").context("cannot finish the installation")?;
        }
        Ok(environment)
    }

    /// Where the source distributions are.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    pub(crate) fn python(&self) -> PathBuf {
        self.place.join("venv/bin/python")
    }

    pub(crate) fn pip(&self, arguments: &[&str]) -> Result<()> {
        let mut pip = tools::command(self.python(), ["-m", "pip", "--disable-pip-version-check", "--quiet"]);
        tools::output(pip.args(arguments).current_dir(&self.place)).map(drop)
    }

    /// Downloads the source distribution of `release`, `NAME==VERSION`, and unpacks it as `folder`.
    pub(crate) fn unpack_source(&self, release: &str, folder: &str, flags: &[&str]) -> Result<()> {
        // Only of this package: what it takes to build it comes as wheels.
        let name = release.split("==").next().unwrap_or(release);
        let download = ["download", "--no-deps", "--no-binary", name, "--dest", ".", release];
        self.pip(&[download.as_slice(), flags].concat())?;
        let archive = format!("{folder}.tar.gz");
        tools::output(tools::command("tar", ["xzf", &archive]).current_dir(&self.place)).map(drop)
    }
}
