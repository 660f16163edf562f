//! What a measurement needs: `pinnace` of this checkout as a release build, and the load generator, built with the
//! libzmq that pyzmq's wheel on PyPI brings: the version that most people run.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::cache::{Cache, key};
use crate::python::PYZMQ_VERSION;
use crate::tools;

/// Where the load generator's sources are, and how they are compiled.
const SOURCES: &str = "benches/channel";
const COMPILER_FLAGS: [&str; 5] = ["-O2", "-std=gnu11", "-Wall", "-Wextra", "-Wl,-rpath,$ORIGIN/pyzmq.libs"];

/// Programs to measure instead of those that are built from the checkout.
#[derive(Args)]
pub(crate) struct GivenPrograms {
    /// A pinnace, built as it is shipped, to measure instead of one built from the checkout.
    #[arg(long, value_name = "FILE")]
    pinnace: Option<PathBuf>,
    /// The same of pinnace-sidecar. Without it, with --pinnace, the sidecar that is part of that.
    #[arg(long, value_name = "FILE")]
    sidecar: Option<PathBuf>,
}

impl GivenPrograms {
    /// `pinnace` and the sidecar, built from the checkout unless they are given; see [`Programs::sidecar`].
    pub(crate) fn or_built(&self, root: &Path) -> Result<(PathBuf, Option<PathBuf>)> {
        let pinnace = given_or_built(root, "pinnace", self.pinnace.as_deref())?;
        let sidecar = match (&self.pinnace, &self.sidecar) {
            (Some(_), None) => None,
            (_, sidecar) => Some(given_or_built(root, "pinnace-sidecar", sidecar.as_deref())?),
        };
        Ok((pinnace, sidecar))
    }
}

pub(crate) struct Programs {
    pub(crate) pinnace: PathBuf,
    /// The program of the image; `None`: the sidecar that is part of `pinnace`.
    pub(crate) sidecar: Option<PathBuf>,
    pub(crate) load: PathBuf,
    pub(crate) libzmq_version: String,
}

impl Programs {
    /// Builds what is not there yet: `pinnace` and the sidecar unless they are given. With a given `pinnace` alone, the
    /// sidecar is the one that is part of it.
    pub(crate) fn prepare(root: &Path, cache: &Cache, given: &GivenPrograms) -> Result<Self> {
        let load = load(root, cache)?;
        let version = tools::output(&mut tools::command(&load, ["version"]))?;
        let libzmq_version = format!("{} of pyzmq {PYZMQ_VERSION}", version.trim());
        let (pinnace, sidecar) = given.or_built(root)?;
        Ok(Self { pinnace, sidecar, load, libzmq_version })
    }
}

/// A program of the checkout, built as it is shipped unless one is given. Always with the other one: alone it would have
/// some dependencies with fewer features, and all would be built again.
pub(super) fn given_or_built(root: &Path, program: &str, given: Option<&Path>) -> Result<PathBuf> {
    match given {
        Some(program) => std::path::absolute(program).context("the program has no absolute path"),
        None => tools::build(
            root,
            program,
            &["--profile", "dist", "--package", "pinnace", "--package", "benches", "--package", "sidecar"],
        ),
    }
}

/// The load generator beside its libzmq, made once.
fn load(root: &Path, cache: &Cache) -> Result<PathBuf> {
    let sources = sources(&root.join(SOURCES))?;
    let mut pieces = Vec::new();
    for source in &sources {
        let text = std::fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
        pieces.push((source.display().to_string(), text));
    }
    let flags = COMPILER_FLAGS.join(" ");
    let fixed = [("pyzmq", PYZMQ_VERSION.as_bytes()), ("flags", flags.as_bytes())];
    let of_sources = pieces.iter().map(|(name, text)| (file_name(name), text.as_slice()));
    let key = key(of_sources.chain(fixed));
    let place = cache.folder("channel-load", &key, |folder| {
        println!("building {SOURCES} with the libzmq of pyzmq {PYZMQ_VERSION}");
        let run = |program: &str, arguments: &[&str]| {
            tools::output(tools::command(program, arguments).current_dir(folder)).map(drop)
        };
        let release = format!("pyzmq=={PYZMQ_VERSION}");
        let download =
            ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", ".", &release];
        run("python3", &[&["-m", "pip", "--disable-pip-version-check"], download.as_slice()].concat())
            .context("cannot get pyzmq; install the Debian package python3-pip")?;
        let wheel = only(folder, "pyzmq-")?;
        run("python3", &["-m", "zipfile", "--extract", &wheel, "."])?;
        let library = format!("pyzmq.libs/{}", only(&folder.join("pyzmq.libs"), "libzmq")?);
        let files = pieces.iter().map(|(name, _)| name.as_str()).filter(|name| name.ends_with(".c"));
        let files: Vec<&str> = files.chain([library.as_str()]).collect();
        run("cc", &[COMPILER_FLAGS.as_slice(), &["-o", "load"], &files].concat())
            .context("cannot compile the load generator; install the Debian package gcc")
    })?;
    Ok(place.join("load"))
}

/// The C files of a folder and their header, in the order of their names.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_source = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "c" || ending == "h");
    let mut found: Vec<PathBuf> = paths.filter(is_source).collect();
    found.sort();
    Ok(found)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The one file of a folder whose name begins so.
fn only(folder: &Path, beginning: &str) -> Result<String> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let found: Vec<String> = names.filter(|name| name.starts_with(beginning)).collect();
    ensure!(found.len() == 1, "{} has {} files {beginning}…, not one", folder.display(), found.len());
    found.into_iter().next().context("no file")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: one file is found, none or two are an error.
    #[test]
    fn the_only_file_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| std::fs::write(folder.path().join(name), "").unwrap();
        make("other");
        assert!(only(folder.path(), "libzmq").is_err());
        make("libzmq-1.so");
        assert_eq!(only(folder.path(), "libzmq").unwrap(), "libzmq-1.so");
        make("libzmq-2.so");
        assert!(only(folder.path(), "libzmq").is_err());
    }
}
