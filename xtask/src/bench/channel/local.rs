//! Local mode with Channels and no apps of its own: each app of a round joins with a sidecar of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::programs::Programs;
use crate::process::Process;
use crate::wait;

const MANIFESTS: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: bench}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: publisher, namespace: bench}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: subscriber, namespace: bench}
---
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: ping, namespace: bench}
spec:
  pattern: PubSub
  delivery: {overflow: Block}
  access:
    publish: [{serviceAccount: publisher}]
    subscribe: [{serviceAccount: subscriber}]
---
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: pong, namespace: bench}
spec:
  pattern: PubSub
  delivery: {overflow: Block}
  access:
    publish: [{serviceAccount: subscriber}]
    subscribe: [{serviceAccount: publisher}]
---
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: work, namespace: bench}
spec:
  pattern: Pipeline
  delivery: {overflow: Block}
  access:
    publish: [{serviceAccount: publisher}]
    subscribe: [{serviceAccount: subscriber}]
---
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: ask, namespace: bench}
spec:
  pattern: RequestReply
  access:
    publish: [{serviceAccount: publisher}]
    subscribe: [{serviceAccount: subscriber}]
";
/// How long it may take until apps can join.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `pinnace up`.
pub(crate) struct Local {
    up: Process,
    program: PathBuf,
    sidecar: Option<PathBuf>,
    manifests: PathBuf,
    data: PathBuf,
}

impl Local {
    /// Starts it in `folder` and waits until apps can join.
    pub(crate) fn start(programs: &Programs, folder: &Path) -> Result<Self> {
        let (manifests, data) = (folder.join("manifests"), folder.join("data"));
        std::fs::create_dir_all(&manifests).context("cannot make the folder of the manifests")?;
        std::fs::write(manifests.join("bench.yaml"), MANIFESTS).context("cannot write the manifests")?;
        let mut command = Command::new(&programs.pinnace);
        command.args(["up", "--plain", "--json", "--file"]).arg(&manifests).arg("--data").arg(&data);
        let mut up = Process::start("up", command, folder)?;
        wait::until("pinnace up", PATIENCE, || {
            up.runs()?;
            Ok(data.join("attach").is_file().then_some(()))
        })?;
        let (program, sidecar) = (programs.pinnace.clone(), programs.sidecar.clone());
        Ok(Self { up, program, sidecar, manifests, data })
    }

    /// A command that runs `app` under this service account with a sidecar of its own.
    pub(crate) fn run(&self, service_account: &str, app: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["run", "--as", &format!("bench/{service_account}"), "--file"]).arg(&self.manifests);
        if let Some(sidecar) = &self.sidecar {
            command.arg("--sidecar-program").arg(sidecar);
        }
        command.arg("--data").arg(&self.data).arg("--").arg(app);
        command
    }

    /// Ends it in order.
    pub(crate) fn end(self) -> Result<()> {
        self.up.end()
    }
}
