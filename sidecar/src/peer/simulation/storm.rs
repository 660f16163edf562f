//! What goes wrong, and when: as the plan says and chance decides, until the network heals.

use super::network::Network;
use super::node::Process;
use super::plan::Plan;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// All nodes and who runs on them now.
pub(super) struct Mesh {
    pub(super) network: Arc<Network>,
    pub(super) plan: Arc<Plan>,
    processes: Mutex<Vec<Arc<Process>>>,
    started: Mutex<u64>,
}

impl Mesh {
    pub(super) fn start(network: Arc<Network>, plan: Arc<Plan>) -> Self {
        let mesh = Self { network, plan, processes: Mutex::default(), started: Mutex::new(0) };
        for node in 0..mesh.plan.nodes {
            let process = mesh.begin(node);
            mesh.lock().push(process);
        }
        mesh
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Process>>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, node: usize) -> Arc<Process> {
        let number = {
            let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
            *started += 1;
            *started
        };
        Process::start(&self.network, &self.plan, (node, number))
    }

    fn of(&self, node: usize) -> Arc<Process> {
        Arc::clone(&self.lock()[node])
    }

    fn node(&self) -> usize {
        self.network.world.pick(self.plan.nodes)
    }

    /// Everything that goes wrong in this run.
    pub(super) async fn storm(&self) {
        let faults = self.plan.faults;
        tokio::join!(
            self.repeat(faults.lines, 700, || self.break_lines()),
            self.repeat(faults.partitions, 3_000, || self.part()),
            self.repeat(faults.crashes, 4_000, || self.crash()),
            self.repeat(faults.drains, 4_000, || self.drain()),
        );
        self.network.heal();
        self.network.world.log(format_args!("the network is well"));
    }

    async fn repeat<F: Future<Output = ()>>(&self, wanted: bool, pause_ms: u64, fault: impl Fn() -> F) {
        let world = &self.network.world;
        while wanted && world.now() < self.plan.busy {
            tokio::time::sleep(world.moment(pause_ms) + Duration::from_millis(20)).await;
            if world.now() < self.plan.busy {
                fault().await;
            }
        }
    }

    async fn break_lines(&self) {
        let world = &self.network.world;
        let lines = self.network.lines();
        let Some(line) = lines.get(world.pick(lines.len())) else {
            return;
        };
        let silent = world.one_in(3);
        world.log(format_args!("a line between {:?} breaks, silently: {silent}", line.ends));
        if silent {
            line.silence([[true; 2], [true, false], [false, true]][world.pick(3)]);
            tokio::time::sleep(world.moment(5_000)).await;
            if world.one_in(2) {
                return line.silence([false; 2]);
            }
        }
        line.cut();
    }

    async fn part(&self) {
        let world = &self.network.world;
        let (one, other) = (self.node(), self.node());
        world.log(format_args!("nodes {one} and {other} are apart"));
        self.network.part(one, other);
        let most = if world.one_in(4) { 40_000 } else { 4_000 };
        tokio::time::sleep(world.moment(most)).await;
        self.network.join(one, other);
        world.log(format_args!("nodes {one} and {other} are together"));
    }

    async fn crash(&self) {
        let node = self.node();
        let process = self.of(node);
        if !process.is_closing() {
            process.crash();
            self.again(node).await;
        }
    }

    async fn drain(&self) {
        let node = self.node();
        let process = self.of(node);
        if !process.is_closing() {
            process.drain().await;
            self.again(node).await;
        }
    }

    /// The node comes back after a while.
    async fn again(&self, node: usize) {
        tokio::time::sleep(self.network.world.moment(3_000)).await;
        let process = self.begin(node);
        self.lock()[node] = process;
    }

    /// Ends all that is left.
    pub(super) fn end(&self) {
        for process in self.lock().iter() {
            process.stop();
        }
    }
}
