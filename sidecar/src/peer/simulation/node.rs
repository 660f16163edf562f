//! One process of a node: the real core, pool and connections of a sidecar, and the apps beside it.

use super::apps;
use super::network::{Host, Network, Road};
use super::plan::Plan;
use super::records::{Ending, Life};
use super::world::World;
use crate::delivery::{Core, CoreParts, Presence};
use crate::durable::Topics;
use crate::messaging::Channels;
use crate::metrics::Metrics;
use crate::peer;
use crate::view::View;
use peer_wire::Locality;
use runtime::shutdown::Shutdown;
use runtime::tasks::{TaskGuard, Tasks};
use runtime::tls::Credentials;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long the connections may take to end in order, and the apps before them.
const DRAIN_MAX: Duration = Duration::from_secs(7);
const DOORS_MAX: Duration = Duration::from_secs(6);
/// How often is looked at what is held.
const WATCH: Duration = Duration::from_millis(37);

/// See the head of the file.
pub(super) struct Process {
    pub(super) number: u64,
    pub(super) node: usize,
    pub(super) world: Arc<World>,
    pub(super) plan: Arc<Plan>,
    network: Arc<Network>,
    pub(super) core: Arc<Core>,
    pub(super) channels: Channels,
    connections: Tasks,
    background: Tasks,
    apps: Tasks,
    guards: Mutex<Vec<TaskGuard>>,
    subscriptions: AtomicU32,
    /// Apps take nothing more on; those that publish are counted.
    closing: AtomicBool,
    publishing: AtomicUsize,
    _views: watch::Sender<Arc<View>>,
}

/// Each on a node of its own, every other one in the same zone.
fn locality(node: usize) -> Locality {
    Locality { node: format!("node-{node}"), zone: format!("zone-{}", node % 2) }
}

impl Process {
    /// Starts the sidecar of a node, and its apps.
    pub(super) fn start(network: &Arc<Network>, plan: &Arc<Plan>, (node, number): (usize, u64)) -> Arc<Self> {
        let world = Arc::clone(&network.world);
        // Set before anybody waits for it: many who wait for one view are woken in an order that no seed decides.
        let (views, view) = watch::channel(Arc::new(plan.view(node)));
        let connections = Tasks::new(Shutdown::new());
        let background = Tasks::new(Shutdown::new());
        let metrics = Metrics::new().expect("names do not clash");
        let core = Core::new(CoreParts {
            sidecar: Plan::sidecar(node),
            view: view.clone(),
            metrics: metrics.clone(),
            connections: connections.clone(),
            background: background.clone(),
            credentials: Credentials::empty(),
            topics: Topics::nowhere(view, metrics.clone(), background.clone()),
            presence: Presence { locality: locality(node), ..Presence::default() },
        });
        let accepted = Arc::new(peer::Accepted::default());
        let host = Host { process: number, core: Arc::clone(&core), accepted: Arc::clone(&accepted) };
        network.listen(node, host);
        let road = Road { network: Arc::clone(network), node, process: number };
        drop(background.spawn_until_shutdown("pool", peer::run_pool(Arc::clone(&core), accepted, road)));
        drop(background.spawn_until_shutdown("views", Arc::clone(&core).follow_views()));
        let life = Life { node, epoch: core.epoch(), metrics, ended: None };
        world.records().lives.insert(number, life);
        world.log(format_args!("process {number} of node {node} begins"));
        let process = Arc::new(Self {
            number,
            node,
            world,
            plan: Arc::clone(plan),
            network: Arc::clone(network),
            channels: Channels::new(Arc::clone(&core)),
            core,
            connections,
            background,
            apps: Tasks::new(Shutdown::new()),
            guards: Mutex::default(),
            subscriptions: AtomicU32::new(0),
            closing: AtomicBool::new(false),
            publishing: AtomicUsize::new(0),
            _views: views,
        });
        apps::start(&process);
        process.run("watch", Arc::clone(&process).watch());
        process
    }

    pub(super) fn run(&self, name: &'static str, app: impl Future<Output = ()> + Send + 'static) {
        let guard = self.apps.spawn_guarded(name, app);
        self.guards.lock().unwrap_or_else(PoisonError::into_inner).push(guard);
    }

    /// The number that the sidecar gives to the next subscription.
    pub(super) fn next_subscription(&self) -> u32 {
        self.subscriptions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Looks again and again at what is held for others and for the apps.
    async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(WATCH).await;
            for (name, amount) in self.core.guest_amounts() {
                let Some(scene) = self.plan.scenes.iter().find(|scene| scene.name == name) else { continue };
                if amount.messages > scene.waiting_max(self.plan.nodes) {
                    self.world.wrong(&format!(
                        "process {}: {amount:?} wait for a subscriber of {name}",
                        self.number
                    ));
                }
            }
            for subscriber in self.core.subscribers() {
                let scene = self.plan.scenes.iter().find(|scene| scene.name == subscriber.name);
                let most = scene.map_or(0, |scene| scene.held_max(self.plan.nodes));
                if subscriber.held_messages() > most {
                    let text = format!("{} messages wait for an app, of {most}", subscriber.held_messages());
                    self.world.wrong(&format!("process {}: {text}", self.number));
                }
            }
        }
    }

    /// Nothing more is to be published.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// One of its apps begins or ends to publish.
    pub(super) fn publishes(&self, begins: bool) {
        let one = usize::from(begins).wrapping_sub(usize::from(!begins));
        self.publishing.fetch_add(one, Ordering::Relaxed);
    }

    /// The run is over.
    pub(super) fn stop(&self) {
        self.guards.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.apps.shutdown().begin();
        self.background.shutdown().begin();
    }

    /// It dies: first for the others, so that nothing which its tasks still do reaches anybody.
    pub(super) fn crash(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.end(Ending::Crashed);
    }

    fn end(&self, ending: Ending) {
        let now = self.world.now();
        self.world.log(format_args!("process {} of node {} ends: {ending:?}", self.number, self.node));
        if let Some(life) = self.world.records().lives.get_mut(&self.number) {
            life.ended = Some((now, ending));
        }
        self.network.remove((self.node, self.number), ending == Ending::Crashed);
        self.core.begin_drain();
        self.stop();
    }

    /// It ends in order, as a rolling restart ends it.
    pub(super) async fn drain(&self) {
        self.world.log(format_args!("process {} of node {} drains", self.number, self.node));
        self.closing.store(true, Ordering::Relaxed);
        let idle = async {
            while self.publishing.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let stuck = tokio::time::timeout(DOORS_MAX, idle).await.is_err();
        self.world.log(format_args!("process {}: the doors are closed, in time: {}", self.number, !stuck));
        // The apps are gone before the core ends: what they had not taken goes to others.
        self.guards.lock().unwrap_or_else(PoisonError::into_inner).clear();
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.core.begin_drain();
        let begun = self.world.now();
        let left = self.connections.drain(DRAIN_MAX).await;
        // One that came at the last moment is no matter.
        if left > 0 && self.world.now() - begun >= DRAIN_MAX {
            self.world.wrong(&format!("process {}: {left} connections did not end in time", self.number));
        }
        self.end(Ending::Drained);
    }
}
