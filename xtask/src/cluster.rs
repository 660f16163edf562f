//! `cargo xtask cluster`: a real Kubernetes on this machine, for the tests, from package
//! registries alone. Says what there is to do and who does it; holds no step of its own.
//!
//! The whole cluster is one tree of processes in namespaces of its own (network, mounts, process
//! ids): when the first process of it dies, the kernel ends all the others and their mounts and
//! network with them. So nothing can leave it, and nothing survives it.

mod certificates;
mod cgroups;
mod layout;
mod load;
mod namespace;
mod packages;
mod parts;
mod processes;
mod programs;
mod storage;
mod up;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::cache::{Cache, CacheArgs};
use layout::Layout;

pub(crate) use load::load;
pub(crate) use namespace::{beside, check_machine, pass_on};
pub(crate) use packages::{apt, install as install_packages};
pub(crate) use up::{down, restart, up};

/// The exit code that says "this machine cannot run a cluster", so that a caller can skip.
const CANNOT_RUN: u8 = 3;
/// No part of the cluster, but for tests that need no cluster.
const PROMTOOL: &str = "promtool";

/// Which cluster, and what to do with it.
#[derive(Args)]
pub(crate) struct ClusterArgs {
    #[command(flatten)]
    place: ClusterPlace,
    #[command(subcommand)]
    command: ClusterCommand,
}

/// Which cluster.
#[derive(Args)]
pub(crate) struct ClusterPlace {
    /// Name of the cluster; two names are two clusters.
    #[arg(long, env = "PINNACE_CLUSTER", default_value = "pinnace", global = true, value_parser = layout::parse_name)]
    name: String,
    #[command(flatten)]
    cache: CacheArgs,
    #[arg(long, env = "PATH", hide = true, default_value = "/usr/sbin:/usr/bin:/sbin:/bin", global = true)]
    path: String,
}

impl ClusterPlace {
    /// The cluster, whether it runs or not.
    pub(crate) fn open(&self) -> Result<Cluster> {
        Ok(Cluster { layout: Layout::new(&self.name), cache: self.cache.open()?, path: self.path.clone() })
    }
}

#[derive(Subcommand)]
enum ClusterCommand {
    /// Starts the cluster, building what is missing; does nothing when it runs and is well.
    Up,
    /// Stops the cluster and deletes all of it, also after a crash.
    Down,
    /// Kills one of its programs (for example kube-apiserver) and starts it again.
    Restart {
        /// The program.
        program: String,
    },
    /// Says whether the cluster runs and is well; exits with 1 when it does not.
    Status,
    /// Builds the cluster's programs into the cache and prints where they are.
    Build {
        /// Only the part that brings this program (for example helm), or promtool, which comes from Debian.
        program: Option<String>,
    },
    /// Runs kubectl against the cluster.
    Kubectl {
        /// What kubectl gets.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Runs a program in the cluster's network, with KUBECONFIG and the cluster's programs in PATH.
    Run {
        /// The program and what it gets.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Loads image archives into the cluster: those named, else all that `cargo xtask images` made.
    Load {
        /// OCI archives.
        archives: Vec<PathBuf>,
    },
}

/// This machine cannot run a cluster, and why.
#[derive(Debug)]
pub(crate) struct CannotRun(pub(crate) String);

impl std::fmt::Display for CannotRun {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "the test cluster cannot run here: {}", self.0)
    }
}

impl std::error::Error for CannotRun {}

/// What an error of any command means for the caller: 3 when a cluster cannot run here, else 1.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<CannotRun>() { ExitCode::from(CANNOT_RUN) } else { ExitCode::FAILURE }
}

/// Does what the command line says; a program run for the user passes its exit code on.
pub(crate) fn run(args: ClusterArgs) -> Result<ExitCode> {
    if matches!(args.command, ClusterCommand::Up) {
        check_machine()?;
    }
    let cluster = args.place.open()?;
    match args.command {
        ClusterCommand::Up => up(&cluster)?,
        ClusterCommand::Down => down(&cluster)?,
        ClusterCommand::Restart { program } => restart(&cluster, &program)?,
        ClusterCommand::Status => {
            let health = up::health(&cluster);
            println!("{health}");
            return Ok(if health.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        ClusterCommand::Build { program } => {
            let programs = match &program {
                Some(name) if name == PROMTOOL => {
                    vec![(PROMTOOL, crate::images::promtool(&cluster.cache)?)]
                }
                Some(name) => vec![(name.as_str(), parts::program(&cluster.cache, name)?)],
                None => parts::all(&cluster.cache)?,
            };
            programs.iter().for_each(|(name, place)| println!("{name} {}", place.display()));
        }
        ClusterCommand::Kubectl { arguments } => {
            let program = cluster.layout.program("kubectl").into();
            return pass_on(&cluster, std::iter::once(program).chain(arguments));
        }
        ClusterCommand::Run { command } => return pass_on(&cluster, command),
        ClusterCommand::Load { archives } => load(&cluster, archives)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A cluster by its place, whether it runs or not.
pub(crate) struct Cluster {
    layout: Layout,
    pub(crate) cache: Cache,
    /// The caller's PATH, for programs that run beside the cluster.
    path: String,
}

impl Cluster {
    /// The cluster of this name, which is one of those that [`ClusterPlace`] takes.
    pub(crate) fn named(name: &str, cache: Cache, path: &str) -> Self {
        Self { layout: Layout::new(name), cache, path: path.to_owned() }
    }
}
