//! How many files and connections the process may have open. Raises its own limit as far as it may; what that is, is
//! shared out once, at the start.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::settings::Settings;

/// Descriptors for everything but logs and connections: listeners, the lock, folders that are synced, a scrape.
const OTHERS: usize = 48;
/// Files are closed and opened again when there are more, which costs: connections do not get all.
const FILES_WANTED: usize = 4_096;
/// With less the broker does not start.
const SHARE_MIN: usize = 16;

/// What the limit is shared out to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shares {
    /// Files of logs.
    files: usize,
    connections: usize,
}

/// Takes all descriptors that there are for this process. Says how many are for the files of logs, or what the
/// limit is when it is too small to work with.
pub(crate) fn take(settings: &mut Settings) -> Result<usize, usize> {
    let limit = raise();
    let shares = share(limit, settings.connections_max).ok_or(limit)?;
    if shares.connections < settings.connections_max {
        let (connections, wanted) = (shares.connections, settings.connections_max);
        tracing::warn!(
            limit,
            connections,
            wanted,
            "fewer connections are taken than max.connections says: raise the limit of open files"
        );
        settings.connections_max = shares.connections;
    }
    Ok(shares.files)
}

/// Raises the limit of open files to what an administrator allows, and says what it is.
fn raise() -> usize {
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: now.maximum, maximum: now.maximum };
    if now.current != now.maximum
        && let Err(error) = setrlimit(Resource::Nofile, wanted)
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |current| usize::try_from(current).unwrap_or(usize::MAX))
}

/// Shares a limit out; `None` when it is too small to work with.
fn share(limit: usize, connections_max: usize) -> Option<Shares> {
    let usable = limit.checked_sub(OTHERS)?;
    let connections = connections_max.min(usable - (usable / 2).min(FILES_WANTED));
    let shares = Shares { files: usable - connections, connections };
    (shares.files.min(shares.connections) >= SHARE_MIN.min(connections_max)).then_some(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: both get a fair share of a small limit, connections all that they may have of a large one, and a limit
    /// that is of no use is refused.
    #[test]
    fn shares_are_fair() {
        assert_eq!(share(256, 10_000), Some(Shares { files: 104, connections: 104 }));
        assert_eq!(share(1_024, 100), Some(Shares { files: 876, connections: 100 }));
        assert_eq!(share(20_000, 10_000), Some(Shares { files: 9_952, connections: 10_000 }));
        assert_eq!(share(usize::MAX, 10_000).map(|shares| shares.connections), Some(10_000));
        assert_eq!(share(64, 10_000), None);
        assert_eq!(share(20, 10_000), None);
    }
}
