//! `pinnace run --as NAMESPACE/SERVICEACCOUNT -- CMD`: one command with a sidecar of its own that joins a running
//! `up`. Its exit status is the command's.

use super::attach;
use super::child::Nursery;
use super::folder::RunFolder;
use super::links;
use super::parts::PartState;
use super::reaper::Reaper;
use super::report::{Events, print};
use super::sidecars::{GRACE, SidecarPlan, wait_ready};
use crate::args::RunArgs;
use anyhow::Context as _;
use control_plane::Identity;
use runtime::shutdown::Shutdown;
use runtime::tasks::{OnError, Tasks};
use rustix::process::Signal;
use std::convert::Infallible;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::watch;

const READY_DEADLINE: Duration = Duration::from_secs(30);

/// Runs the command to its end, or to a signal.
///
/// # Errors
/// When no `up` runs, or the sidecar does not come up.
pub(crate) async fn run_as(args: RunArgs, shutdown: Shutdown) -> anyhow::Result<ExitCode> {
    let identity = Identity::parse(&args.identity)
        .with_context(|| format!("--as {:?} is not of the form NAMESPACE/SERVICEACCOUNT", args.identity))?;
    let pass = attach::ask(&args.data_folder(), &args.identity).await?;
    let program = std::env::current_exe().context("failed to find this very executable")?;
    let reaper = Reaper::start(&program)?;
    let run = RunFolder::make()?;
    reaper.add_folder(run.path());
    let name = format!("{}/run-{}", identity.namespace, std::process::id());
    let basics = (program.clone(), pass.control, pass.trust_bundle);
    let mut plan = SidecarPlan::prepare(&run, basics, &name, &pass.token)?;
    plan.separate_program.clone_from(&args.sidecar_program);
    plan.broker = args.broker.clone().unwrap_or_default();
    let search_path = links::search_path(&run.child("bin")?, &program, args.search_path.as_deref())?;
    let (events, mut receiver) = Events::channel();
    let tasks = Tasks::new(Shutdown::new());
    let nursery = Nursery { reaper: reaper.clone(), events };
    let (state, watched) = watch::channel(PartState::default());
    let (sidecar, stop) = (plan.clone(), tasks.shutdown().clone());
    drop(tasks.spawn("sidecar", OnError::Log, async move {
        nursery.keep(name.into(), Arc::new(state), stop, |last| sidecar.spec(last)).await;
        Ok::<_, Infallible>(())
    }));
    let printing = Tasks::new(Shutdown::new());
    drop(printing.spawn_until_shutdown("printer", async move {
        while let Some(event) = receiver.recv().await {
            print(&event.line(), true);
        }
    }));
    let ready = tokio::time::timeout(READY_DEADLINE, wait_ready(watched, |_| std::future::ready(())));
    let ready = shutdown.or(ready).await;
    let outcome = match ready {
        None => Ok(ExitCode::SUCCESS),
        Some(Ok(Some(ready))) => {
            let env = plan.app_environment(&ready, &search_path);
            run_command(&args, (&program, env), &shutdown).await
        }
        Some(_) => Err(anyhow::anyhow!("the sidecar was not ready within {} s", READY_DEADLINE.as_secs())),
    };
    tasks.shutdown().begin();
    tasks.drain(GRACE * 2).await;
    reaper.stop();
    outcome
}

async fn run_command(
    args: &RunArgs,
    (program, env): (&std::path::Path, Vec<(String, String)>),
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let (first, rest) = args.command.split_first().context("give a command after --")?;
    let first = if first == "pinnace" { program.as_os_str() } else { first.as_ref() };
    // In the group of this process: the terminal is the command's too.
    let mut child = Command::new(first)
        .args(rest)
        .envs(env)
        .spawn()
        .with_context(|| format!("failed to start {}", first.display()))?;
    let id = child.id().unwrap_or_default();
    let status = tokio::select! {
        status = child.wait() => status?,
        () = shutdown.begun() => {
            if let Some(pid) = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw)
                && let Err(error) = rustix::process::kill_process(pid, Signal::TERM)
            {
                tracing::debug!(%error, "the command is gone");
            }
            match tokio::time::timeout(GRACE, child.wait()).await {
                Ok(status) => status?,
                Err(_) => {
                    child.kill().await?;
                    ExitStatus::from_raw(0)
                }
            }
        }
    };
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
