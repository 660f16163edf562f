//! What the runners of parts share: folders, the control plane's handle, tokens, layers of tasks.

use super::child::Nursery;
use super::folder::{DataFolder, RunFolder};
use super::parts::Parts;
use super::report::Events;
use control_plane::{Identity, Objects, TokenTable};
use runtime::shutdown::Shutdown;
use runtime::tasks::Tasks;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Who administers brokers in local mode; the same name as the operator's.
pub(crate) fn administrator() -> Identity {
    Identity::new("pinnace-system", "pinnace-operator")
}

/// Tasks by the order in which they end: apps, then sidecars, then brokers.
#[derive(Clone, Debug)]
pub(crate) struct Layers {
    pub(crate) apps: Tasks,
    pub(crate) sidecars: Tasks,
    pub(crate) brokers: Tasks,
}

impl Layers {
    pub(crate) fn new() -> Self {
        let layer = || Tasks::new(Shutdown::new());
        Self { apps: layer(), sidecars: layer(), brokers: layer() }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// This very executable.
    pub(crate) program: PathBuf,
    pub(crate) data: Arc<DataFolder>,
    pub(crate) run: Arc<RunFolder>,
    pub(crate) nursery: Nursery,
    pub(crate) parts: Parts,
    pub(crate) events: Events,
    pub(crate) objects: Objects,
    pub(crate) tokens: Arc<TokenTable>,
    /// Where the control plane listens.
    pub(crate) control: SocketAddr,
    /// The roots, as a file.
    pub(crate) trust_bundle: PathBuf,
    /// `PATH` for apps: `pinnace` is this executable there.
    pub(crate) search_path: String,
    pub(crate) layers: Layers,
}
