//! Images made of Debian packages, with what other people's clients need: downloaded with all
//! they depend on and unpacked into a folder; nothing is installed on the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::oci::Start;
use super::rootfs;
use crate::cache::{self, Cache};
use crate::cluster::{apt, install_packages};
use crate::tools;

/// What changes when this file makes the images differently.
const RECIPE: &str = "1";
/// The clients that our promises name, and tools to look at sockets.
/// The C++ library is for pyzmq; libfaketime gives other containers another clock.
const APPTOOLS: &[&str] = &["kcat", "python3", "libstdc++6", "curl", "iproute2", "libfaketime"];
/// Python packages from PyPI; the wheels must fit Debian 12's Python.
const PYTHON_PACKAGES: &[&str] =
    &["grpcio==1.85.1", "kafka-python==3.0.12", "pyzmq==27.3.0", "typing_extensions==4.16.0"];
const PYTHON_VERSION: &str = "3.11";
const PYTHON_PLATFORMS: &[&str] =
    &["manylinux_2_28_x86_64", "manylinux_2_26_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"];
/// Prometheus and the C library: its other dependencies are for a machine with services.
const PROMETHEUS: &[&str] = &["prometheus", "libc6"];

/// What brings promtool; it runs with any C library.
const PROMTOOL: &[&str] = &["prometheus"];

/// A hash of what the tools image is made from.
pub(crate) fn apptools_key() -> Result<String> {
    Ok(key(&[APPTOOLS, PYTHON_PACKAGES]))
}

/// A hash of what the Prometheus image is made from.
pub(crate) fn prometheus_key() -> Result<String> {
    Ok(key(&[PROMETHEUS]))
}

fn key(lists: &[&[&str]]) -> String {
    let text = lists.iter().map(|list| list.join(" ")).collect::<Vec<_>>().join("\n");
    cache::key([("recipe", RECIPE.as_bytes()), ("packages", text.as_bytes())])
}

/// kcat, Python with Kafka and ZeroMQ clients, curl, ss, a shell.
pub(crate) fn apptools(files: &Path) -> Result<Start> {
    let packages = files.with_extension("packages");
    download_with_dependencies(&packages, APPTOOLS)?;
    unpack(&packages, files)?;
    install_python(files)?;
    rootfs::add_shell(files)?;
    rootfs::base(files).context("cannot write the image's users")?;
    cache::remove_folder(&packages)?;
    Ok(Start::program(["/bin/sh"]))
}

/// Prometheus as Debian packages it.
pub(crate) fn prometheus(files: &Path) -> Result<Start> {
    unpack_named(PROMETHEUS, files)?;
    rootfs::base(files).context("cannot write the image's users")?;
    Ok(Start::program(["/usr/bin/prometheus"]))
}

/// Prometheus' tool that checks rules, from the same package, for this machine; the cache keeps it.
pub(crate) fn promtool(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.folder("promtool", &key(&[PROMTOOL]), |folder| unpack_named(PROMTOOL, folder))?;
    Ok(folder.join("usr/bin/promtool"))
}

/// Packages alone, without what they depend on.
fn unpack_named(names: &[&str], files: &Path) -> Result<()> {
    let packages = files.with_extension("packages");
    fs::create_dir_all(&packages).context("cannot make the folder of packages")?;
    refresh()?;
    tools::output(apt(["download"]).args(names).current_dir(&packages))
        .with_context(|| format!("cannot download the Debian packages {}", names.join(" ")))?;
    unpack(&packages, files)?;
    cache::remove_folder(&packages)
}

fn refresh() -> Result<()> {
    if tools::which("apt-get").is_none() {
        bail!("images for tests are made of Debian packages, and there is no apt-get here");
    }
    tools::output(&mut apt(["update"])).context("cannot bring the package lists up to date")?;
    Ok(())
}

/// Downloads packages and all they depend on, as for a machine on which nothing is installed.
fn download_with_dependencies(folder: &Path, names: &[&str]) -> Result<()> {
    refresh()?;
    fs::create_dir_all(folder.join("partial")).context("cannot make the folder of packages")?;
    let nothing_installed = folder.join("status");
    fs::write(&nothing_installed, "").context("cannot write an empty package status")?;
    let option = |name: &str, value: &Path| format!("{name}={}", value.display());
    tools::output(
        apt(["install", "--download-only", "--yes", "--no-install-recommends"])
            .args(["-o", &option("Dir::State::status", &nothing_installed)])
            .args(["-o", &option("Dir::Cache::archives", folder)])
            .args(["-o", "Debug::NoLocking=true", "-o", "APT::Sandbox::User=root"])
            .args(names),
    )
    .with_context(|| format!("cannot download the Debian packages {}", names.join(" ")))?;
    Ok(())
}

fn unpack(packages: &Path, files: &Path) -> Result<()> {
    let mut found: Vec<PathBuf> = fs::read_dir(packages)
        .context("cannot list the downloaded packages")?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    found.retain(|path| path.extension().is_some_and(|extension| extension == "deb"));
    found.sort();
    for package in found {
        tools::output(tools::command("dpkg-deb", ["--extract"]).arg(&package).arg(files))?;
    }
    for unneeded in ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"] {
        cache::remove_folder(&files.join(unneeded))?;
    }
    Ok(())
}

fn install_python(files: &Path) -> Result<()> {
    let pip = || -> Command { tools::command("python3", ["-m", "pip"]) };
    if !tools::succeeds(pip().arg("--version")) {
        install_packages(&["python3-pip"])?;
    }
    let mut command = pip();
    command.args(["install", "--quiet", "--no-deps", "--no-compile", "--only-binary=:all:"]).args([
        "--implementation",
        "cp",
        "--python-version",
        PYTHON_VERSION,
    ]);
    for platform in PYTHON_PLATFORMS {
        command.args(["--platform", platform]);
    }
    command.arg("--target").arg(files.join("usr/lib/python3/dist-packages")).args(PYTHON_PACKAGES);
    tools::output(&mut command).context("cannot get the Python clients from PyPI")?;
    Ok(())
}
