//! An Embedded engine as a process, on a free port and a folder of its own; gone when dropped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cache::remove_folder;
use crate::tools;
use crate::wait;

/// How long a broker may take to open its doors, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker that runs.
pub(crate) struct EmbeddedBroker {
    child: Child,
    folder: PathBuf,
    address: String,
}

impl EmbeddedBroker {
    /// Starts it in `folder`, which must be ours to delete, and waits until it serves.
    pub(crate) fn start(program: &Path, folder: PathBuf, flags: &[&str]) -> Result<Self> {
        let flags = [["--listen", "127.0.0.1:0"].as_slice(), flags].concat();
        Self::launch(Command::new(program), folder, &flags)
    }

    /// Starts it with lines `key=value` of settings.
    pub(crate) fn with_settings(program: &Path, folder: PathBuf, settings: &[&str]) -> Result<Self> {
        let file = settings_file(&folder, settings)?;
        Self::start(program, folder, &["--config", &file])
    }

    /// Starts it on a port of a network of its own, for clients that cannot be told another one; what is to
    /// reach it is started with [`Self::beside`].
    pub(crate) fn on_own_network(
        program: &Path,
        folder: PathBuf,
        (address, settings): (&str, &[&str]),
    ) -> Result<Self> {
        let file = settings_file(&folder, settings)?;
        let script = "ip link set lo up && exec \"$0\" \"$@\"";
        let mut command = tools::command("unshare", ["--net", "sh", "-c", script]);
        command.arg(program);
        Self::launch(command, folder, &["--listen", address, "--config", &file])
    }

    /// A program in the network of a broker that was started with [`Self::on_own_network`].
    pub(crate) fn beside(&self, program: &Path) -> Command {
        // `unshare` and the shell have become the broker: its process id is theirs.
        let target = self.child.id().to_string();
        let mut command = tools::command("nsenter", ["--net", "--target", &target]);
        command.arg(program);
        command
    }

    fn launch(mut command: Command, folder: PathBuf, flags: &[&str]) -> Result<Self> {
        remove_folder(&folder)?;
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let ready = folder.join("ready.json");
        let log = File::create(folder.join("broker.log")).context("cannot make the broker's log")?;
        command.args(["--admin-listen", "127.0.0.1:0"]).arg("--data").arg(folder.join("data"));
        command.arg("--ready-file").arg(&ready).args(flags);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", tools::line(&command)))?;
        let mut broker = Self { child, folder, address: String::new() };
        broker.address = wait::until("the broker to be ready", PATIENCE, || broker.look(&ready))?;
        Ok(broker)
    }

    fn look(&mut self, ready: &Path) -> Result<Option<String>> {
        if let Some(status) = self.child.try_wait()? {
            let log = std::fs::read_to_string(self.folder.join("broker.log")).unwrap_or_default();
            bail!("the broker ended, {status}:\n{}", tools::tail(&log, 20));
        }
        let Ok(text) = std::fs::read_to_string(ready) else { return Ok(None) };
        let value: serde_json::Value = serde_json::from_str(&text).context("cannot read the ready file")?;
        Ok(value.get("kafka").and_then(|address| address.as_str()).map(ToOwned::to_owned))
    }

    /// Where it listens, `HOST:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Ends it. Its folder is kept, and named, when there is something to look into.
    pub(crate) fn end(self, keep: bool) -> Result<()> {
        let folder = self.folder.clone();
        drop(self);
        if keep {
            println!("the broker's log and data are in {}", folder.display());
            return Ok(());
        }
        remove_folder(&folder)
    }

    /// The folder with its data and log.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Writes the settings beside the broker's folder, which is made anew.
fn settings_file(folder: &Path, settings: &[&str]) -> Result<String> {
    let file = folder.with_extension("properties");
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot make the folder {}", parent.display()))?;
    }
    std::fs::write(&file, settings.join("\n"))
        .with_context(|| format!("cannot write the broker's settings {}", file.display()))?;
    Ok(file.display().to_string())
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        // It may have ended by itself, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
