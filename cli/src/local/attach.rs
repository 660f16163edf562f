//! How `pinnace run --as` joins a running `up`: over a Unix socket that only this user can open, it asks
//! for a token of the service account it wants to be. One line of JSON each way.

use super::context::Context;
use super::folder::{FolderError, write_secret};
use control_plane::Identity;
use runtime::tasks::Tasks;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

const LINE_BYTES_MAX: u64 = 64 * 1024;
const DEADLINE: Duration = Duration::from_secs(5);
/// The file of the data folder that says where the socket is.
const PLACE: &str = "attach";

/// What is asked for.
#[derive(Debug, Serialize, Deserialize)]
struct Ask {
    identity: String,
}

/// What a sidecar needs to join.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pass {
    pub(crate) control: String,
    pub(crate) token: String,
    pub(crate) trust_bundle: PathBuf,
}

/// Why there is no pass.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    #[error(
        "no `pinnace up` runs with the data folder {0}: start `pinnace up -f DIR` first, with the same -f or --data"
    )]
    NotRunning(PathBuf),
    #[error("failed to speak to the running `pinnace up`")]
    Socket(#[from] std::io::Error),
    #[error("the running `pinnace up` answered something else: is it of the same version?")]
    Answer(#[from] serde_json::Error),
}

/// Serves in a task for as long as `up` runs.
pub(crate) fn listen(context: &Context, tasks: &Tasks) -> Result<(), FolderError> {
    let path = context.run.path().join("attach.sock");
    let listener =
        UnixListener::bind(&path).map_err(|source| FolderError::Write { path: path.clone(), source })?;
    write_secret(&context.data.path.join(PLACE), &path.display().to_string())?;
    let context = context.clone();
    drop(tasks.spawn_until_shutdown("attach", async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            // One at a time: each takes a moment, and only this user can open the socket.
            match tokio::time::timeout(DEADLINE, answer(&context, stream)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a request to join failed"),
                Err(_) => tracing::debug!("a request to join did not come in time"),
            }
        }
    }));
    Ok(())
}

async fn answer(context: &Context, stream: UnixStream) -> std::io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reading.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
    let ask: Ask = serde_json::from_str(&line)?;
    let identity = Identity::parse(&ask.identity)
        .ok_or_else(|| std::io::Error::other("the identity is not NAMESPACE/SERVICEACCOUNT"))?;
    let pass = Pass {
        control: context.control.to_string(),
        token: context.tokens.hand_out(identity),
        trust_bundle: context.trust_bundle.clone(),
    };
    let mut text = serde_json::to_string(&pass)?;
    text.push('\n');
    writing.write_all(text.as_bytes()).await
}

/// Asks the `up` that runs with this data folder.
pub(crate) async fn ask(data: &Path, identity: &str) -> Result<Pass, AttachError> {
    let not_running = || AttachError::NotRunning(data.to_owned());
    let path = std::fs::read_to_string(data.join(PLACE)).map_err(|_| not_running())?;
    let stream = UnixStream::connect(path).await.map_err(|_| not_running())?;
    let (reading, mut writing) = stream.into_split();
    let mut text = serde_json::to_string(&Ask { identity: identity.to_owned() })?;
    text.push('\n');
    writing.write_all(text.as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(reading.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
    Ok(serde_json::from_str(&line)?)
}
