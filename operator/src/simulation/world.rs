//! What is outside of the operator, and a record of all that happens.

use crate::{
    controllers::broker,
    kafka::{Address, KafkaError},
    testing::{FakeApi, FakeBrokers, Fault, Line},
};
use control::{ObjectName, topics::Change};
use runtime::{clock, random, shutdown::Shutdown, tasks::Tasks};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Codes with which the API server refuses.
const CODES: [u16; 4] = [409, 429, 500, 503];

/// The longest way from the API server's answer to a broker.
const UNDER_WAY: Duration = Duration::from_millis(900);

/// A number below `bound`.
pub(super) fn below(bound: u64) -> u64 {
    random::number() % bound.max(1)
}

/// A change on a broker, and the API server's version when it was made.
pub(super) type Made = (u64, Address, Change);

#[derive(Default)]
struct State {
    lines: Vec<String>,
    found: Option<String>,
    made: Vec<Made>,
    down: BTreeSet<String>,
    /// When somebody last changed what becomes of a Topic's topic, by namespace and name.
    reconsidered: BTreeMap<(String, String), Duration>,
}

/// See the module. Clones share it.
#[derive(Clone)]
pub(super) struct World {
    pub(super) api: FakeApi,
    pub(super) brokers: FakeBrokers,
    pub(super) line: Line,
    stormy: Arc<AtomicBool>,
    /// How long a watch is behind at most, in milliseconds.
    lag: Arc<AtomicU64>,
    state: Arc<Mutex<State>>,
    tasks: Tasks,
}

impl World {
    pub(super) fn new() -> Self {
        let world = Self {
            api: FakeApi::default(),
            brokers: FakeBrokers::default(),
            line: Line::default(),
            stormy: Arc::new(AtomicBool::new(true)),
            lag: Arc::default(),
            state: Arc::default(),
            tasks: Tasks::new(Shutdown::new()),
        };
        let kubelet = crate::testing::run_kubelet(world.api.clone());
        drop(world.tasks.spawn_until_shutdown("kubelet", kubelet));
        world.trouble();
        world
    }

    /// What may go wrong with requests, to the API server and to brokers.
    fn trouble(&self) {
        let world = self.clone();
        self.line.disturb(Some(Arc::new(move |request: &str| {
            let fault = match below(if world.is_stormy() { 25 } else { u64::MAX }) {
                0 => Some(Fault::AnswerLost),
                1 => Some(Fault::Refused(CODES[usize::try_from(below(4)).unwrap_or(0)])),
                _ => None,
            };
            if !request.starts_with("GET") || fault.is_some() {
                world.log(&format!("{request} {fault:?}"));
            }
            fault
        })));
        let world = self.clone();
        self.brokers.disturb(Some(Arc::new(move |address: &Address| world.problem(address))));
        let world = self.clone();
        self.brokers
            .slow(Arc::new(move || Duration::from_millis(below(if world.is_stormy() { 500 } else { 5 }))));
        let world = self.clone();
        self.brokers.witness(Arc::new(move |address: &Address, change: &Change| {
            world.log(&format!("{}: {change:?}", address.bootstrap));
            if let Change::Delete { name } = change {
                super::replay::may_be_deleted(&world, address, name);
            }
            let version = world.api.version();
            world.state.lock().unwrap().made.push((version, address.clone(), change.clone()));
        }));
    }

    fn problem(&self, address: &Address) -> Option<(KafkaError, bool)> {
        let bootstrap = address.bootstrap.clone();
        let unreachable =
            |reason: &str| KafkaError::Unreachable { bootstrap: bootstrap.clone(), reason: reason.into() };
        let is_down = self.state.lock().unwrap().down.contains(&bootstrap);
        if is_down || !self.runs(address) {
            return Some((unreachable("connection refused"), false));
        }
        let problem = match below(if self.is_stormy() { 30 } else { u64::MAX }) {
            0 => Some((unreachable("the answer was lost"), true)),
            1 => Some((unreachable("connection reset"), false)),
            2 if below(4) == 0 => {
                let (action, reason) = ("do it".into(), "POLICY_VIOLATION".into());
                Some((KafkaError::Refused { bootstrap, action, reason }, false))
            }
            _ => None,
        };
        if let Some((error, done)) = &problem {
            self.log(&format!("{error}, done: {done}"));
        }
        problem
    }

    /// Whether the node of a Broker runs.
    fn runs(&self, address: &Address) -> bool {
        self.api.objects().iter().any(|set| {
            let owner = set["metadata"]["labels"]["pinnace.dev/broker"].as_str().unwrap_or_default();
            let namespace = set["metadata"]["namespace"].as_str().unwrap_or_default();
            set["kind"] == "StatefulSet"
                && set["status"]["readyReplicas"] == 1
                && broker::address(&ObjectName::new(namespace, owner)) == *address
        })
    }

    pub(super) fn is_stormy(&self) -> bool {
        self.stormy.load(Ordering::Relaxed)
    }

    /// How long a watch is behind now.
    pub(super) fn lag(&self) -> Duration {
        Duration::from_millis(below(self.lag.load(Ordering::Relaxed).saturating_add(1)))
    }

    pub(super) fn set_lag(&self, millis: u64) {
        self.lag.store(millis, Ordering::Relaxed);
    }

    /// Takes a broker off the network, or puts it back.
    pub(super) fn set_down(&self, broker: &ObjectName, is_down: bool) {
        let bootstrap = broker::address(broker).bootstrap;
        let mut state = self.state.lock().unwrap();
        if is_down {
            state.down.insert(bootstrap);
        } else {
            state.down.remove(&bootstrap);
        }
        drop(state);
        self.brokers.stir();
    }

    /// From now on everything works.
    pub(super) fn calm(&self) {
        self.log("calm");
        self.stormy.store(false, Ordering::Relaxed);
        self.set_lag(0);
        self.line.delay(Duration::ZERO);
        self.state.lock().unwrap().down.clear();
    }

    pub(super) fn log(&self, line: &str) {
        let at = clock::since_epoch().as_millis();
        // Names of Events hold the time of day of the machine.
        let line = line.split_once("/events/").map_or(line, |(before, _)| before);
        self.state.lock().unwrap().lines.push(format!("{at} {line}"));
    }

    /// Something happened that must never happen.
    pub(super) fn wrong(&self, what: String) {
        self.log(&what);
        self.state.lock().unwrap().found.get_or_insert(what);
    }

    /// Somebody changes what becomes of a Topic's topic.
    pub(super) fn reconsider(&self, topic: (String, String)) {
        self.state.lock().unwrap().reconsidered.insert(topic, clock::since_epoch());
    }

    /// Whether that was so shortly ago that what follows from before may be under way.
    pub(super) fn is_reconsidered(&self, topic: &(String, String)) -> bool {
        let at = self.state.lock().unwrap().reconsidered.get(topic).copied();
        at.is_some_and(|at| clock::since_epoch().saturating_sub(at) <= UNDER_WAY)
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.state.lock().unwrap().lines.clone()
    }

    pub(super) fn found(&self) -> Option<String> {
        self.state.lock().unwrap().found.clone()
    }

    pub(super) fn made(&self) -> Vec<Made> {
        self.state.lock().unwrap().made.clone()
    }

    /// All objects of a kind.
    pub(super) fn all(&self, kind: &str) -> Vec<Value> {
        self.api.objects().into_iter().filter(|object| object["kind"] == kind).collect()
    }

    pub(super) fn forget(&self) {
        self.api.take_writes();
        self.brokers.take_requests();
    }

    /// Whether nothing was written and no broker asked since.
    pub(super) fn stillness(&self) -> Result<(), String> {
        let (writes, requests) = (self.api.take_writes(), self.brokers.take_requests());
        if writes.is_empty() && requests == 0 {
            return Ok(());
        }
        Err(format!("nothing changes, and still {requests} requests to brokers, and {writes:?}"))
    }

    pub(super) fn end(&self) {
        self.tasks.shutdown().begin();
    }
}
