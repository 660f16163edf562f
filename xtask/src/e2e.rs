//! `cargo xtask e2e`: brings up the test cluster, loads the images, and runs the promises that
//! need a cluster inside its network, one after the other. Holds no promise itself.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::cluster::{self, Cluster, ClusterPlace};
use crate::{images, tools};

/// The test program of the promises; its folder below `tests/tests`.
const TESTS: &str = "cluster";
/// Looks into the traffic between two pods.
const CAPTURE: (&str, &str) = ("tcpdump", "tcpdump");

/// Which promises to prove.
#[derive(Args)]
pub(crate) struct E2eArgs {
    #[command(flatten)]
    place: ClusterPlace,
    /// Only promises whose name contains this.
    filter: Option<OsString>,
}

/// Proves the promises; the exit code is that of the test program.
pub(crate) fn run(args: &E2eArgs) -> Result<ExitCode> {
    cluster::check_machine()?;
    let cluster = args.place.open()?;
    cluster::up(&cluster)?;
    if tools::which(CAPTURE.0).is_none() {
        cluster::install_packages(&[CAPTURE.1])?;
    }
    images::make_all(&cluster.cache)?;
    cluster::load(&cluster, Vec::new())?;
    let mut words = vec![test_program()?.into_os_string(), "--test-threads=1".into()];
    words.extend(args.filter.clone());
    prove(&cluster, words)
}

fn prove(cluster: &Cluster, words: Vec<OsString>) -> Result<ExitCode> {
    // Scenarios about clusters themselves start and stop others with this very program.
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let mut all = vec![assign("PINNACE_XTASK", own)];
    all.extend(words);
    cluster::pass_on(cluster, all)
}

/// `NAME=value`, for `env`.
fn assign(name: &str, value: PathBuf) -> OsString {
    let mut word = OsString::from(name);
    word.push("=");
    word.push(value);
    word
}

/// Builds the test program and gives its place.
fn test_program() -> Result<PathBuf> {
    let mut build: Command = tools::command("cargo", ["test", "--locked", "--no-run"]);
    build
        .args(["--package", "tests", "--test", TESTS, "--message-format=json-render-diagnostics"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stderr(Stdio::inherit());
    let messages = tools::output(&mut build).context("the promises do not compile")?;
    match parse_executable(&messages) {
        Some(program) => Ok(program),
        None => bail!("cargo built no test program {TESTS}"),
    }
}

/// The test program among those that cargo's messages name: programs of the package are built for it too.
fn parse_executable(messages: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let executable = message["executable"].as_str().map(PathBuf::from);
        executable.filter(|_| message["target"]["name"] == TESTS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the test program is found among cargo's messages, and its lack is seen.
    #[test]
    fn the_test_program_is_named_by_cargo() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"cluster"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"cluster"},"executable":"/target/debug/deps/cluster-1"}
{"reason":"compiler-artifact","target":{"name":"load"},"executable":"/target/debug/load"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(parse_executable(messages), Some(PathBuf::from("/target/debug/deps/cluster-1")));
        assert_eq!(parse_executable("{\"reason\":\"build-finished\"}"), None);
    }
}
