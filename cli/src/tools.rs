//! The tools of a person: publish, subscribe, request, through any door of a sidecar, on a laptop or
//! in a pod. They are clients like any other and use nothing that an app could not.

mod doors;
mod publish;
mod subscribe;
mod target;
#[cfg(test)]
mod tests;

pub(crate) use publish::publish;
pub(crate) use subscribe::subscribe;

use crate::args::RequestArgs;
use runtime::shutdown::Shutdown;
use std::io::Write as _;
use std::time::Duration;

/// Pauses between tries while nobody answers.
pub(crate) const RETRY_FIRST: Duration = Duration::from_millis(100);
/// The longest such pause.
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(3);

/// The tool has no request of its own yet; the doors have.
///
/// # Errors
/// Always.
pub(crate) fn request(args: &RequestArgs) -> anyhow::Result<()> {
    let _ = &args.message;
    anyhow::bail!(
        "request to {} is not supported yet by this tool: use `curl --data-binary MESSAGE \"$PINNACE_ADDRESS/v1/{}/request\"`, or Request over gRPC",
        args.name,
        args.name
    )
}

/// Why a door did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Another try will not help.
    #[error("{0}")]
    Refused(String),
    /// Nobody answered, or not now.
    #[error("{0}")]
    Unavailable(String),
}

/// One line on standard output. When nobody reads it any more, there is no reason to go on.
pub(crate) fn say(line: &str, shutdown: &Shutdown) {
    if writeln!(std::io::stdout().lock(), "{line}").is_err() {
        shutdown.begin();
    }
}

/// A whole answer on standard output. A reader who goes before the end has seen what it wanted.
///
/// # Errors
/// When it cannot be written for another reason.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// One line on standard error.
pub(crate) fn warn(line: &str) {
    // Without standard error there is nobody to tell.
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}
