//! `cargo xtask fuzz`: hostile bytes for every decoder. First the inputs that are kept go through their targets in a
//! plain test; then libFuzzer looks for new ones, where a nightly compiler and cargo-fuzz can be had.
//!
//! The targets are in `fuzz/src`; what they once stumbled over is in `fuzz/seeds/TARGET`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;

use crate::cache::{Cache, CacheArgs};
use crate::tools;
use crate::wait::Stopwatch;

/// The version that is installed into the cache.
const CARGO_FUZZ: &str = "0.13.2";
const TOOLCHAIN: &str = "nightly";
/// Bytes of memory that an input may cost, in MiB: decoders are bounded.
const MEMORY_MEBIBYTES: &str = "-rss_limit_mb=1024";

/// What to fuzz.
#[derive(Args)]
pub(crate) struct FuzzArgs {
    /// One target; all of them one after the other without it.
    target: Option<String>,
    /// How long each target runs.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only the inputs that are kept; needs no nightly compiler.
    #[arg(long)]
    replay: bool,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Replays, then fuzzes.
pub(crate) fn run(root: &Path, args: &FuzzArgs) -> Result<()> {
    let corpus = root.join("fuzz/corpus");
    replay(root, &corpus)?;
    if args.replay {
        return Ok(());
    }
    if !tools::succeeds(&mut tools::command("rustup", ["run", TOOLCHAIN, "rustc", "--version"])) {
        println!("no {TOOLCHAIN} compiler here: the inputs that are kept were replayed, nothing was fuzzed");
        return Ok(());
    }
    let program = install(&args.cache.open()?)?;
    let targets = targets(root)?;
    let wanted: Vec<&String> =
        targets.iter().filter(|target| args.target.as_ref().is_none_or(|wanted| wanted == *target)).collect();
    if wanted.is_empty() {
        bail!("there is no such target; there are {}", targets.join(", "));
    }
    let mut lines = Vec::new();
    for target in wanted {
        let clock = Stopwatch::start();
        let outcome = fuzz(root, &program, target, args.seconds);
        let line = json!({"fuzz": target, "clean": outcome.is_ok(), "seconds": clock.elapsed().as_secs()});
        println!("{line}");
        lines.push((target, outcome));
    }
    match lines.into_iter().find_map(|(target, outcome)| outcome.err().map(|error| (target, error))) {
        None => Ok(()),
        Some((target, error)) => {
            bail!("{target}: {error}; keep the input under fuzz/seeds/{target} once it is mended")
        }
    }
}

/// The kept inputs through their targets, on the compiler of the checkout; the ones to begin with become files.
fn replay(root: &Path, corpus: &Path) -> Result<()> {
    let manifest = root.join("fuzz/Cargo.toml");
    let mut cargo = tools::command("cargo", ["test", "--quiet", "--no-default-features", "--manifest-path"]);
    cargo.arg(manifest).env("CARGO_TARGET_DIR", root.join("target"));
    cargo.env("PINNACE_FUZZ_CORPUS", corpus);
    tools::visible(&mut cargo)
}

/// The targets are the files.
fn targets(root: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(root.join("fuzz/fuzz_targets")).context("there are no fuzz targets")?;
    let names = entries.filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(ToOwned::to_owned));
    let mut targets: Vec<String> = names.collect();
    targets.sort();
    Ok(targets)
}

fn install(cache: &Cache) -> Result<PathBuf> {
    let place = cache.folder("cargo-fuzz", CARGO_FUZZ, |folder| {
        println!("building cargo-fuzz {CARGO_FUZZ}");
        let wanted = ["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ, "--root"];
        tools::visible(tools::command("cargo", wanted).arg(folder))
    })?;
    Ok(place.join("bin/cargo-fuzz"))
}

fn nightly(root: &Path, program: &Path, arguments: &[&str]) -> Command {
    let mut command = tools::command(program, arguments);
    command.current_dir(root).env("RUSTUP_TOOLCHAIN", TOOLCHAIN);
    command
}

fn fuzz(root: &Path, program: &Path, target: &str, seconds: u64) -> Result<()> {
    let (corpus, kept) = (format!("fuzz/corpus/{target}"), format!("fuzz/seeds/{target}"));
    std::fs::create_dir_all(root.join(&corpus)).context("cannot make the corpus")?;
    let mut arguments = vec!["run", target, corpus.as_str()];
    if root.join(&kept).is_dir() {
        arguments.push(kept.as_str());
    }
    let time = format!("-max_total_time={seconds}");
    arguments.extend(["--", &time, MEMORY_MEBIBYTES, "-timeout=10", "-print_final_stats=1"]);
    tools::visible(&mut nightly(root, program, &arguments))
}
