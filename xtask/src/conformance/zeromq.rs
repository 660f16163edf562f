//! Unmodified ZeroMQ clients in front of two sidecars: C programs with Debian's libzmq, pyzmq with the libzmq of its
//! wheel, raw bytes, and the cases of pyzmq's own tests that send something to another socket.
//!
//! The sidecars are those of local mode, with mTLS between them. What pyzmq's tests do with sockets that bind and
//! connect to each other, they do here with sockets that both connect to a Channel's doors; see `conftest.py`.

mod mesh;
mod pyzmq;
mod scenes;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::outcome::Outcome;
use crate::cache::{Cache, remove_folder};
use crate::cluster::install_packages;
use crate::tools;
use mesh::Mesh;
use scenes::Player;

/// What the C programs are compiled against, and what brings it.
const LIBZMQ_HEADER: (&str, &str) = ("/usr/include/zmq.h", "libzmq3-dev");
const COMPILER_FLAGS: [&str; 4] = ["-O2", "-std=gnu11", "-Wall", "-Wextra"];

pub(super) fn run(program: &Path, cache: &Cache) -> Result<Outcome> {
    let folder = std::env::temp_dir().join(format!("pinnace-zeromq-{}", std::process::id()));
    remove_folder(&folder)?;
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let libzmq = compile(&folder)?;
    let environment = pyzmq::install(cache)?;
    let mut outcome = Outcome::default();
    let mesh = Mesh::start(program, &folder)?;
    let player = Player { mesh: &mesh, folder: &folder };
    player.all(scenes::libzmq(&libzmq), &mut outcome);
    player.all(scenes::pyzmq(&environment.python(), &folder)?, &mut outcome);
    pyzmq::own_tests(&environment, &mesh, &folder, &mut outcome)?;
    outcome.count("the sidecars end in order", mesh.end());
    if outcome.number("failed") > 0 {
        println!("what the programs printed is in {}", folder.display());
    } else {
        remove_folder(&folder)?;
    }
    Ok(outcome)
}

/// The C programs, with the libzmq of the Debian release.
fn compile(folder: &Path) -> Result<PathBuf> {
    let (header, package) = LIBZMQ_HEADER;
    if !Path::new(header).is_file() {
        install_packages(&[package])?;
    }
    let source = folder.join("cases.c");
    std::fs::write(&source, scenes::C_SOURCE).context("cannot write the C programs")?;
    let program = folder.join("cases");
    let mut compiler = tools::command("cc", COMPILER_FLAGS);
    compiler.arg("-o").arg(&program).arg(&source).arg("-lzmq");
    tools::output(&mut compiler)
        .context("cannot compile the C programs; install the Debian packages gcc and libzmq3-dev")?;
    let version = tools::output(&mut tools::command(&program, ["version"]))?;
    println!("libzmq {} of the Debian package {package}", version.trim());
    Ok(program)
}
