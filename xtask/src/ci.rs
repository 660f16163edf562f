//! `cargo xtask check` and `cargo xtask ci`: what they do, in order, cheap things first.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::cache::CacheArgs;
use crate::cluster::install_packages;
use crate::steps::{self, Step};
use crate::{deny, images, tidy, tools};

/// The same build for everybody: the lock file as it stands, warnings are errors.
const CLIPPY: &[&str] =
    &["clippy", "--locked", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"];

/// How CI runs.
#[derive(Args)]
pub(crate) struct CiArgs {
    /// Nothing may be skipped; set on CI machines.
    #[arg(long, env = "CI", num_args = 0..=1, default_value_t = false, default_missing_value = "true")]
    strict: bool,
    #[command(flatten)]
    cache: CacheArgs,
}

/// The quick loop: no cluster, no release build.
pub(crate) fn check(root: &Path) -> Result<()> {
    steps::run(quick(root), false)
}

/// Everything.
pub(crate) fn ci(root: &Path, args: &CiArgs) -> Result<()> {
    let mut all = vec![Step::own("programs that tests use", install_missing)];
    all.extend(quick(root));
    all.extend(documents());
    all.push(deny_step(root, args));
    all.extend(release());
    all.extend(scenarios()?);
    steps::run(all, args.strict)
}

/// Programs that tests start by name, each with the Debian package that brings it.
const PROGRAMS: &[(&str, &str)] =
    &[("kcat", "kcat"), ("curl", "curl"), ("python3", "python3"), ("make", "make")];

fn install_missing() -> Result<()> {
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| tools::which(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    install_packages(&missing)
}

fn quick(root: &Path) -> Vec<Step> {
    let place = root.to_owned();
    vec![
        Step::program("format", "cargo", &["fmt", "--all", "--check"]),
        Step::own("tidy", move || tidy::run(&place)),
        Step::program("lints", "cargo", CLIPPY),
        Step::program("unit and property tests, generated files", "cargo", &tests()),
    ]
}

/// Tests that mount file systems are marked to be ignored, and run where that is allowed; elsewhere they count as
/// skipped.
fn tests() -> Vec<&'static str> {
    use std::os::unix::fs::MetadataExt as _;
    let mut arguments = vec!["test", "--locked", "--workspace", "--exclude", "tests", "--quiet"];
    if std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
        arguments.extend(["--", "--include-ignored"]);
    }
    arguments
}

fn documents() -> Vec<Step> {
    let mut doc = tools::command("cargo", ["doc", "--locked", "--workspace", "--no-deps", "--quiet"]);
    doc.env("RUSTDOCFLAGS", "--deny warnings");
    vec![Step::command("documentation", doc)]
}

fn deny_step(root: &Path, args: &CiArgs) -> Step {
    let (root, cache) = (root.to_owned(), args.cache.clone());
    Step::own("licences, sources and versions of dependencies", move || deny::run(&root, &cache.open()?))
}

/// The programs in the very selection from which images are made: with another one, dependencies get other features,
/// and nearly all of them would be built again for the images.
fn release() -> Vec<Step> {
    let programs = images::PROGRAMS.iter().flat_map(|name| ["--package", *name]);
    let arguments: Vec<&str> = ["build", "--locked", "--release"].into_iter().chain(programs).collect();
    vec![Step::program("release build", "cargo", &arguments)]
}

/// The part of librdkafka's suite that CI runs: tests of a few seconds that hold on a busy machine, of every kind
/// of promise.
const LIBRDKAFKA: &str = "0001,0003,0005,0008,0011,0012,0013,0017,0022,0029,0031,0034,0036,0041,0044,0048,0054,0057,\
                          0063,0067,0070,0073,0085,0099,0129,0130,0140";

/// The promises: first those that need processes only, then those that need a cluster. Of other people's suites
/// those that take a minute or two; the others are run on demand and recorded in docs/protocol/kafka-conformance.md.
fn scenarios() -> Result<Vec<Step>> {
    let xtask = std::env::current_exe().context("failed to find this program's own file")?;
    // The one of the release step: the broker built by itself has other features, and all of it would be built again.
    let profiles = xtask.parent().and_then(Path::parent).context("this program is in no folder of builds")?;
    let released = profiles.join("release");
    let broker = released.join("pinnace-broker").into_os_string();
    let own = |name, arguments: &[&str]| Step::command(name, own_command(&xtask, arguments));
    let on_broker = |name, arguments: &[&str]| {
        let mut command = own_command(&xtask, arguments);
        command.arg("--broker").arg(&broker);
        Step::command(name, command)
    };
    Ok(vec![
        Step::program(
            "scenarios on this machine",
            "cargo",
            &["test", "--locked", "--package", "tests", "--", "--test-threads=2"],
        ),
        on_broker("conformance: kcat", &["conformance", "kcat"]),
        on_broker("conformance: kafka-python", &["conformance", "kafka-python"]),
        on_broker(
            "conformance: a part of librdkafka's suite",
            &["conformance", "librdkafka", "--setups", "plain", "--tests", LIBRDKAFKA],
        ),
        own(
            "conformance: zeromq",
            &["conformance", "zeromq", "--pinnace", &released.join("pinnace").to_string_lossy()],
        ),
        on_broker("the broker is killed and started again", &["crash", "--rounds", "30"]),
        own("hostile bytes", &["fuzz", "--seconds", "10"]),
        Step::optional("scenarios on a real cluster", own_command(&xtask, &["e2e"])),
        own("the cluster leaves nothing behind", &["cluster", "down"]),
    ])
}

fn own_command(xtask: &Path, arguments: &[&str]) -> Command {
    tools::command(xtask, arguments)
}
