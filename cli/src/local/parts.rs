//! The parts that `up` runs: what each is, where it stands and where its doors are. A list to look
//! into; who starts and stops them is `brokers.rs` and `replicas.rs`.

use super::totals::Counts;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Broker,
    Sidecar,
    App,
}

impl Kind {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Sidecar => "sidecar",
            Self::App => "app",
        }
    }
}

/// Where a part stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Starting,
    Running,
    /// It ended by itself and starts again soon.
    Waiting,
    Stopping,
    Stopped,
}

impl Phase {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Waiting => "failed",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// The addresses that a broker or a sidecar really got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Ready {
    #[serde(default)]
    pub(crate) app: Option<String>,
    #[serde(default)]
    pub(crate) kafka: Option<String>,
    #[serde(default)]
    pub(crate) peer: Option<String>,
    #[serde(default)]
    pub(crate) admin: Option<String>,
}

/// Where a part stands, in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartState {
    pub(crate) phase: Phase,
    pub(crate) pid: Option<u32>,
    pub(crate) ready: Option<Ready>,
    pub(crate) restarts: u32,
    /// Why it ended the last time; empty when it is well.
    pub(crate) problem: String,
}

pub(crate) type StateSender = Arc<watch::Sender<PartState>>;

/// The last counts of all objects, by `NAMESPACE/NAME`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ObjectCounts {
    pub(crate) topics: BTreeMap<String, Counts>,
    pub(crate) channels: BTreeMap<String, Counts>,
}

type List = BTreeMap<(Kind, Arc<str>), watch::Receiver<PartState>>;

/// All parts by kind and name; clones share the list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    list: Arc<Mutex<List>>,
    counts: Arc<Mutex<ObjectCounts>>,
}

impl Parts {
    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a part; the sender is for whoever runs it.
    pub(crate) fn add(&self, kind: Kind, name: &Arc<str>) -> StateSender {
        let (sender, state) = watch::channel(PartState::default());
        self.lock().insert((kind, Arc::clone(name)), state);
        Arc::new(sender)
    }

    pub(crate) fn remove(&self, kind: Kind, name: &Arc<str>) {
        self.lock().remove(&(kind, Arc::clone(name)));
    }

    /// All of them as they stand.
    pub(crate) fn list(&self) -> Vec<(Kind, Arc<str>, PartState)> {
        let list = self.lock();
        list.iter().map(|((kind, name), state)| (*kind, Arc::clone(name), state.borrow().clone())).collect()
    }

    /// The counts that the screen shows.
    pub(crate) fn set_counts(&self, counts: ObjectCounts) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    /// As they were set last.
    pub(crate) fn counts(&self) -> ObjectCounts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Waits until the part is up; `None` when it is gone.
pub(crate) async fn ready(mut state: watch::Receiver<PartState>) -> Option<Ready> {
    let found = state.wait_for(|state| state.ready.is_some()).await.ok()?;
    found.ready.clone()
}
