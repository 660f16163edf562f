//! The network between nodes: who can reach whom, and the lines that stand.

use super::pipe::{self, Line, Stream};
use super::plan::Plan;
use super::world::World;
use crate::delivery::Core;
use crate::peer::accepted::Accepted;
use crate::peer::connect::{Connect, DialError};
use crate::peer::drive::DriveError;
use crate::peer::link::LinkError;
use crate::peer::listen;
use crate::view::PeerView;
use peer_wire::ProtocolError;
use runtime::tasks::OnError;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A process that accepts connections.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) process: u64,
    pub(super) core: Arc<Core>,
    pub(super) accepted: Arc<Accepted>,
}

#[derive(Default)]
struct State {
    hosts: BTreeMap<usize, Host>,
    dead: BTreeSet<u64>,
    lines: Vec<Arc<Line>>,
    /// Nodes that cannot reach each other, the smaller first.
    apart: BTreeSet<(usize, usize)>,
    /// Some dials are refused.
    refusing: bool,
}

/// See the head of the file.
pub(super) struct Network {
    pub(super) world: Arc<World>,
    plan: Arc<Plan>,
    state: Mutex<State>,
}

fn pair(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}

impl Network {
    pub(super) fn new(world: Arc<World>, plan: Arc<Plan>) -> Self {
        let state = State { refusing: plan.faults.lines, ..State::default() };
        Self { world, plan, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn listen(&self, node: usize, host: Host) {
        self.lock().hosts.insert(node, host);
    }

    /// The process is gone. When it died, so are its connections with all that is on them; after an end in order what it
    /// has written still arrives.
    pub(super) fn remove(&self, (node, process): (usize, u64), died: bool) {
        let mut state = self.lock();
        state.dead.insert(process);
        if state.hosts.get(&node).is_some_and(|host| host.process == process) {
            state.hosts.remove(&node);
        }
        for line in state.lines.iter().filter(|line| died && line.ends.contains(&process)) {
            line.cut();
        }
    }

    /// The lines that stand.
    pub(super) fn lines(&self) -> Vec<Arc<Line>> {
        let mut state = self.lock();
        state.lines.retain(|line| !line.is_over());
        state.lines.clone()
    }

    pub(super) fn part(&self, one: usize, other: usize) {
        self.lock().apart.insert(pair(one, other));
        for line in self.lines_between(one, other) {
            line.silence([true; 2]);
        }
    }

    pub(super) fn join(&self, one: usize, other: usize) {
        self.lock().apart.remove(&pair(one, other));
        for line in self.lines_between(one, other) {
            line.silence([false; 2]);
        }
    }

    fn lines_between(&self, one: usize, other: usize) -> Vec<Arc<Line>> {
        let mut lines = self.lines();
        lines.retain(|line| pair(line.nodes[0], line.nodes[1]) == pair(one, other));
        lines
    }

    /// All is well from now on.
    pub(super) fn heal(&self) {
        let mut state = self.lock();
        state.apart.clear();
        state.refusing = false;
        drop(state);
        for line in self.lines() {
            line.silence([false; 2]);
        }
    }

    async fn dial(self: Arc<Self>, from: (usize, u64), peer: PeerView) -> Result<Stream, DialError> {
        let (node, process) = from;
        let to: usize = peer.address.parse().unwrap_or(usize::MAX);
        if self.lock().dead.contains(&process) {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(self.world.moment(self.plan.delay_ms_max + 1)).await;
        if self.lock().apart.contains(&pair(node, to)) {
            // Nobody answers.
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        let refused = self.lock().refusing && self.world.one_in(5);
        let host = self.lock().hosts.get(&to).filter(|_| !refused).cloned();
        let Some(host) = host.filter(|_| !self.lock().dead.contains(&process)) else {
            return Err(std::io::Error::from(ErrorKind::ConnectionRefused).into());
        };
        let (line, [near, far]) = Line::new(pipe::Parts {
            world: Arc::clone(&self.world),
            ends: [process, host.process],
            nodes: [node, to],
            delay_max: Duration::from_millis(self.plan.delay_ms_max),
            bytes_max: self.plan.line_bytes_max,
        });
        self.world.log(format_args!("process {process} has dialled {}", host.process));
        self.lock().lines.push(line);
        self.accept(&host, far, node);
        Ok(near)
    }

    fn accept(&self, host: &Host, stream: Stream, from: usize) {
        let carried =
            listen::carry(stream, Plan::identity(from), Arc::clone(&host.core), Arc::clone(&host.accepted));
        let (world, process) = (Arc::clone(&self.world), host.process);
        drop(host.core.connections().spawn("peer accepted", OnError::Log, async move {
            let outcome = carried.await;
            world.log(format_args!("process {process} has ended a connection: {outcome:?}"));
            if let Err(DriveError::Link(LinkError::Protocol(error))) = outcome
                && !matches!(error, ProtocolError::Silent(_))
            {
                world.wrong(&format!("process {process}: {error}"));
            }
            Ok::<_, Infallible>(())
        }));
    }
}

/// How the sidecar of one process dials.
#[derive(Clone)]
pub(super) struct Road {
    pub(super) network: Arc<Network>,
    pub(super) node: usize,
    pub(super) process: u64,
}

impl Connect for Road {
    type Stream = Stream;

    async fn connect(&self, _: &Core, peer: &PeerView) -> Result<Stream, DialError> {
        Arc::clone(&self.network).dial((self.node, self.process), peer.clone()).await
    }
}
