//! How a sidecar is started, and what an app finds it by. Shared by the replicas of `up` and by
//! `pinnace run --as`.

use super::child::Spec;
use super::folder::{FolderError, RunFolder, make, write_secret};
use super::parts::{Kind, PartState, Ready, ready};
use super::scrape;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;

/// How long a sidecar or an app may take to end.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
const READY_POLL: Duration = Duration::from_millis(50);

/// All that one sidecar is told.
#[derive(Clone, Debug)]
pub(crate) struct SidecarPlan {
    /// This very executable, unless there is a `separate_program`.
    program: PathBuf,
    /// A program that is the sidecar and nothing else.
    pub(crate) separate_program: Option<PathBuf>,
    /// `NAMESPACE/POD`.
    pub(crate) name: String,
    /// HOST:PORT of the control plane.
    pub(crate) control: String,
    pub(crate) trust_bundle: PathBuf,
    /// The Broker of the Kafka door; empty = `default`.
    pub(crate) broker: String,
    pub(crate) zmq_listen: Vec<String>,
    pub(crate) zmq_connect: Vec<String>,
    pub(crate) push: Vec<String>,
    pub(crate) log_level: Option<String>,
    /// Its folder, for sockets, token and state.
    folder: PathBuf,
}

impl SidecarPlan {
    /// Makes its folder and puts the token there.
    pub(crate) fn prepare(
        run: &RunFolder,
        (program, control, trust_bundle): (PathBuf, String, PathBuf),
        name: &str,
        token: &str,
    ) -> Result<Self, FolderError> {
        let folder = run.child(&format!("s-{}", name.replace('/', "-")))?;
        make(&folder.join("zmq"))?;
        make(&folder.join("state"))?;
        write_secret(&folder.join("token"), token)?;
        Ok(Self {
            program,
            separate_program: None,
            name: name.to_owned(),
            control,
            trust_bundle,
            broker: String::new(),
            zmq_listen: Vec::new(),
            zmq_connect: Vec::new(),
            push: Vec::new(),
            log_level: None,
            folder,
        })
    }

    /// How to start it; on the addresses that it had before, if it had any.
    pub(crate) fn spec(&self, last: Option<&Ready>) -> Spec {
        let any = || "127.0.0.1:0".to_owned();
        let address = |get: fn(&Ready) -> &Option<String>| last.and_then(|last| get(last).clone());
        let path = |name: &str| self.folder.join(name).display().to_string();
        let namespace = self.name.split('/').next().unwrap_or_default();
        let mut pairs = vec![
            ("--name", self.name.clone()),
            ("--namespace", namespace.to_owned()),
            ("--app-listen", address(|last| &last.app).unwrap_or_else(any)),
            ("--app-socket", path("api.sock")),
            ("--kafka-listen", address(|last| &last.kafka).unwrap_or_else(any)),
            ("--zmq-dir", path("zmq")),
            ("--peer-listen", address(|last| &last.peer).unwrap_or_else(any)),
            ("--admin-listen", address(|last| &last.admin).unwrap_or_else(any)),
            ("--control", self.control.clone()),
            ("--control-server-name", "localhost".to_owned()),
            ("--trust-bundle-file", self.trust_bundle.display().to_string()),
            ("--token-file", path("token")),
            ("--state-dir", path("state")),
            ("--ready-file", path("ready.json")),
            ("--log-level", self.log_level.clone().unwrap_or_else(|| "warn".to_owned())),
        ];
        pairs.extend(self.zmq_listen.iter().map(|listen| ("--zmq-listen", listen.clone())));
        pairs.extend(self.zmq_connect.iter().map(|socket| ("--zmq-connect", socket.clone())));
        pairs.extend(self.push.iter().map(|target| ("--push", target.clone())));
        if !self.broker.is_empty() {
            pairs.push(("--broker-ref", self.broker.clone()));
        }
        let arguments = pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        let (program, subcommand) = match &self.separate_program {
            Some(program) => (program, None),
            None => (&self.program, Some("sidecar".to_owned())),
        };
        Spec {
            kind: Kind::Sidecar,
            program: program.clone(),
            arguments: subcommand.into_iter().chain(arguments).collect(),
            env: Vec::new(),
            ready_file: Some(self.folder.join("ready.json")),
            grace: GRACE,
        }
    }

    /// What an app finds its sidecar by, as in a cluster, and the search path.
    pub(crate) fn app_environment(&self, ready: &Ready, search_path: &str) -> Vec<(String, String)> {
        let pairs = [
            ("PINNACE_ADDRESS", ready.app.clone().unwrap_or_default()),
            ("PINNACE_SOCKET", self.folder.join("api.sock").display().to_string()),
            ("KAFKA_BOOTSTRAP_SERVERS", ready.kafka.clone().unwrap_or_default()),
            ("PINNACE_ZMQ_DIR", self.folder.join("zmq").display().to_string()),
            ("PATH", search_path.to_owned()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }
}

/// Waits until a sidecar has a view and open doors; `None` when it is gone. `waits` is called with the reason
/// each time it is asked and is not ready.
pub(crate) async fn wait_ready<F: Future<Output = ()>>(
    state: watch::Receiver<PartState>,
    mut waits: impl FnMut(String) -> F,
) -> Option<Ready> {
    loop {
        let found = ready(state.clone()).await?;
        let answer = match &found.admin {
            Some(admin) => scrape::get(admin, "/ready").await,
            None => Ok(String::new()),
        };
        match answer {
            Ok(_) => return Some(found),
            Err(why) => waits(why.trim().to_owned()).await,
        }
        tokio::time::sleep(READY_POLL).await;
    }
}
