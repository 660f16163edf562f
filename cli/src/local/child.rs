//! One part as a process: started, watched, started again with growing pauses, and stopped with a
//! deadline, always as a process group.

use super::parts::{Kind, PartState, Phase, Ready, StateSender};
use super::reaper::{Reaper, signal_group};
use super::report::{Event, Events};
use runtime::backoff::Backoff;
use runtime::shutdown::Shutdown;
use rustix::process::Signal;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The longest output line that is shown, in bytes; longer ones are cut into several.
const LINE_BYTES_MAX: u64 = 4_096;
/// A child that ran this long is taken for healthy: its next pause is the first one again.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);
const PAUSE_FIRST: Duration = Duration::from_millis(300);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long the last lines of an ended child may take.
const LAST_LINES: Duration = Duration::from_millis(500);
const READY_POLL: Duration = Duration::from_millis(20);

/// How to start a child.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) kind: Kind,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// Written by the child once it is up, with its addresses.
    pub(crate) ready_file: Option<PathBuf>,
    /// How long it may take from SIGTERM to its end.
    pub(crate) grace: Duration,
}

/// What all children share.
#[derive(Clone, Debug)]
pub(crate) struct Nursery {
    pub(crate) reaper: Reaper,
    pub(crate) events: Events,
}

/// Why a child ran no longer.
enum Ended {
    Stopped,
    Failed(String),
}

impl Nursery {
    /// Keeps a child running until `stop` begins. `spec` is asked before each start and told the
    /// addresses of the last one, so that a new start can take the same.
    pub(crate) async fn keep(
        &self,
        name: Arc<str>,
        state: StateSender,
        stop: Shutdown,
        mut spec: impl FnMut(Option<&Ready>) -> Spec,
    ) {
        let mut pauses = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
        let mut last_ready: Option<Ready> = None;
        while !stop.has_begun() {
            let started = runtime::clock::now();
            let ended = self.run_once(&name, &state, &stop, spec(last_ready.as_ref())).await;
            last_ready = state.borrow().ready.clone().or(last_ready);
            let Ended::Failed(problem) = ended else { break };
            if runtime::clock::now().saturating_duration_since(started) >= HEALTHY_AFTER {
                pauses.reset();
            }
            let pause = pauses.next_pause();
            let again = format!("{problem}; it starts again in {:.1} s", pause.as_secs_f64());
            self.events.send(Event::Problem { part: Arc::clone(&name), text: again }).await;
            state.send_modify(|state| {
                *state =
                    PartState { phase: Phase::Waiting, problem, pid: None, ready: None, ..state.clone() };
                state.restarts = state.restarts.saturating_add(1);
            });
            stop.or(tokio::time::sleep(pause)).await;
        }
        state.send_modify(|state| {
            *state = PartState { phase: Phase::Stopped, pid: None, ready: None, ..state.clone() };
        });
    }

    async fn run_once(&self, name: &Arc<str>, state: &StateSender, stop: &Shutdown, spec: Spec) -> Ended {
        if let Some(file) = &spec.ready_file {
            // A file of the last run must not be taken for this one's.
            drop(std::fs::remove_file(file));
        }
        let mut child = match spawn(&spec) {
            Ok(child) => child,
            Err(error) => {
                return Ended::Failed(format!("failed to start {}: {error}", spec.program.display()));
            }
        };
        let Some(group) = child.id() else { return Ended::Failed("it ended at once".to_owned()) };
        self.reaper.add(group);
        state.send_modify(|state| {
            *state = PartState { phase: Phase::Starting, pid: Some(group), ready: None, ..state.clone() };
        });
        let (out, errors) = (child.stdout.take(), child.stderr.take());
        let mut forwarding = pin!(async {
            tokio::join!(self.forward(name, out), self.forward(name, errors));
        });
        let mut living = pin!(self.live((name, state), stop, &spec, (&mut child, group)));
        let mut silent = false;
        let ended = loop {
            tokio::select! {
                ended = &mut living => break ended,
                () = &mut forwarding, if !silent => silent = true,
            }
        };
        // What the child left behind in its group ends with it, and with that its last lines.
        signal_group(group, Signal::KILL);
        self.reaper.remove(group);
        if !silent && tokio::time::timeout(LAST_LINES, forwarding).await.is_err() {
            tracing::debug!(part = &**name, "somebody still holds the output of a child that ended");
        }
        ended
    }

    /// From the start of the process to its end.
    async fn live(
        &self,
        (name, state): (&Arc<str>, &StateSender),
        stop: &Shutdown,
        spec: &Spec,
        (child, group): (&mut Child, u32),
    ) -> Ended {
        let watching = async {
            wait_ready(spec, state).await;
            self.announce(name, spec, state).await;
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            status = child.wait() => match status {
                Ok(status) => Ended::Failed(format!("it ended by itself ({status})")),
                Err(error) => Ended::Failed(format!("failed to wait for it: {error}")),
            },
            () = stop.begun() => Ended::Stopped,
            () = watching => Ended::Stopped,
        };
        if matches!(ended, Ended::Stopped) {
            state.send_modify(|state| state.phase = Phase::Stopping);
            self.stop_child(name, child, group, spec.grace).await;
        }
        ended
    }

    /// Says that a part is up and where its doors are.
    async fn announce(&self, name: &Arc<str>, spec: &Spec, state: &StateSender) {
        let ready = state.borrow().ready.clone().unwrap_or_default();
        let doors = [("gRPC and HTTP", ready.app), ("Kafka", ready.kafka), ("metrics", ready.admin)];
        let doors = doors.into_iter().filter_map(|(door, address)| Some(format!("{door} {}", address?)));
        let doors: Vec<String> = doors.collect();
        let place = if doors.is_empty() { String::new() } else { format!(": {}", doors.join(", ")) };
        let text = format!("{} {name} is up{place}", spec.kind.word());
        self.events.send(Event::Notice { text }).await;
    }

    async fn stop_child(&self, name: &Arc<str>, child: &mut Child, group: u32, grace: Duration) {
        signal_group(group, Signal::TERM);
        if tokio::time::timeout(grace, child.wait()).await.is_ok() {
            return;
        }
        let text = format!("it did not end within {} s and was killed", grace.as_secs());
        self.events.send(Event::Problem { part: Arc::clone(name), text }).await;
        signal_group(group, Signal::KILL);
        if let Err(error) = child.wait().await {
            tracing::warn!(part = &**name, %error, "failed to wait for a killed child");
        }
    }

    /// Passes lines on until the end of the stream.
    async fn forward(&self, part: &Arc<str>, stream: Option<impl AsyncRead + Unpin>) {
        let Some(stream) = stream else { return };
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
            if !matches!(read, Ok(1..)) {
                return;
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            self.events.send(Event::Line { part: Arc::clone(part), text }).await;
        }
    }
}

fn spawn(spec: &Spec) -> std::io::Result<Child> {
    Command::new(&spec.program)
        .args(&spec.arguments)
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

async fn wait_ready(spec: &Spec, state: &StateSender) {
    let Some(file) = &spec.ready_file else {
        state.send_modify(|state| state.phase = Phase::Running);
        return;
    };
    loop {
        if let Some(ready) =
            std::fs::read(file).ok().and_then(|text| serde_json::from_slice::<Ready>(&text).ok())
        {
            state.send_modify(|state| {
                state.ready = Some(ready);
                state.phase = Phase::Running;
                state.problem = String::new();
            });
            return;
        }
        tokio::time::sleep(READY_POLL).await;
    }
}
