//! Brokers in memory: changes are made at once, and recorded.

use crate::{
    controllers::broker,
    health::{Health, HealthError, Source, Telling},
    kafka::{Address, Brokers, ClusterState, KafkaError, Layout, Standing, TopicState},
};
use control::{
    ObjectName,
    placement::Move,
    topics::{Acl, Change, Observed, Resource},
};
use futures::{StreamExt as _, future::BoxFuture, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::Notify;

/// How a broker is when nobody says otherwise.
const WELL: Health = Health {
    capacity_bytes: 10 << 30,
    used_bytes: 1 << 30,
    disk_nearly_full: false,
    read_only_partitions: 0,
};

/// One broker.
#[derive(Clone)]
pub(crate) struct Node {
    /// How it says that it is.
    pub(crate) health: Health,
    /// Its topics.
    pub(crate) topics: BTreeMap<String, Observed>,
    /// Its access rules.
    pub(crate) acls: BTreeSet<Acl>,
    /// How its copies stand.
    pub(crate) standing: Standing,
    /// Where they are.
    pub(crate) layout: Layout,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            health: WELL,
            topics: BTreeMap::new(),
            acls: BTreeSet::new(),
            standing: Standing::default(),
            layout: Layout::default(),
        }
    }
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<String, Node>,
    changes: Vec<Change>,
    requests: usize,
    problem: Option<Problem>,
    is_hushed: bool,
    /// How often followers were to look again.
    stirred: u64,
    witness: Option<Witness>,
    slow: Option<Slow>,
    /// How often each change is not to be seen yet.
    lag: usize,
    /// How the broker of the last change was before it, and how often it is still seen so.
    before: Option<(usize, Node)>,
}

/// How long the next call takes to arrive.
type Slow = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Who sees each change before it is made.
type Witness = Arc<dyn Fn(&Address, &Change) + Send + Sync>;

/// What goes wrong with a request: before it is done, or with `true` after.
type Problem = Arc<dyn Fn(&Address) -> Option<(KafkaError, bool)> + Send + Sync>;

/// See the module. Clones share the state.
#[derive(Clone, Default)]
pub(crate) struct FakeBrokers {
    state: Arc<Mutex<State>>,
    /// Followers look again, in the order in which they began to wait: a watch would wake them in any.
    news: Arc<Notify>,
}

impl FakeBrokers {
    /// Changes since the last call.
    pub(crate) fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut self.state.lock().unwrap().changes)
    }

    /// Requests of any sort since the last call.
    pub(crate) fn take_requests(&self) -> usize {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    /// Fails all calls from now on, or with `None` none any more.
    pub(crate) fn fail(&self, problem: Option<fn(&Address) -> KafkaError>) {
        self.disturb(
            problem.map(|problem| Arc::new(move |address: &Address| Some((problem(address), false))) as _),
        );
    }

    /// Asks before each call whether it goes wrong.
    pub(crate) fn disturb(&self, problem: Option<Problem>) {
        self.state.lock().unwrap().problem = problem;
    }

    /// Tells of each change before it is made.
    pub(crate) fn witness(&self, witness: Witness) {
        self.state.lock().unwrap().witness = Some(witness);
    }

    /// A topic, wherever it is.
    pub(crate) fn topic(&self, name: &str) -> Option<Observed> {
        self.state.lock().unwrap().nodes.values().find_map(|node| node.topics.get(name).cloned())
    }

    /// The broker at this address.
    pub(crate) fn node(&self, address: &Address) -> Node {
        self.state.lock().unwrap().nodes.get(&address.bootstrap).cloned().unwrap_or_default()
    }

    /// Changes a broker as somebody else would.
    pub(crate) fn edit(&self, address: &Address, change: impl FnOnce(&mut Node)) {
        change(self.state.lock().unwrap().nodes.entry(address.bootstrap.clone()).or_default());
        self.stir();
    }

    /// Whether engines say nothing from now on though they are there.
    pub(crate) fn hush(&self, is_hushed: bool) {
        self.state.lock().unwrap().is_hushed = is_hushed;
        self.stir();
    }

    /// Waits until followers are to look again, more often than `seen`; how often it is.
    async fn stirred(&self, seen: Option<u64>) -> u64 {
        loop {
            let news = self.news.notified();
            let stirred = self.state.lock().unwrap().stirred;
            if seen != Some(stirred) {
                return stirred;
            }
            news.await;
        }
    }

    fn heard(&self, address: &Address) -> (Option<Problem>, Option<Health>) {
        let state = self.state.lock().unwrap();
        let health = state.nodes.get(&address.bootstrap).map_or(WELL, |node| node.health);
        (state.problem.clone(), (!state.is_hushed).then_some(health))
    }

    /// Has all followers look at their broker, or find that it is gone.
    pub(crate) fn stir(&self) {
        self.state.lock().unwrap().stirred += 1;
        self.news.notify_waiters();
    }

    /// Asks before each call how long it takes to arrive.
    pub(crate) fn slow(&self, slow: Slow) {
        self.state.lock().unwrap().slow = Some(slow);
    }

    /// Each change is to be seen only after one has looked so often.
    pub(crate) fn lag(&self, looks: usize) {
        let mut state = self.state.lock().unwrap();
        (state.lag, state.before) = (looks, None);
    }

    fn with<'a, T: Send + 'a>(
        &'a self,
        address: &'a Address,
        work: impl FnOnce(&mut State) -> T + Send + 'a,
    ) -> BoxFuture<'a, Result<T, KafkaError>> {
        Box::pin(async move {
            let slow = self.state.lock().unwrap().slow.clone();
            if let Some(slow) = slow {
                tokio::time::sleep(slow()).await;
            }
            let mut state = self.state.lock().unwrap();
            state.requests += 1;
            let problem = state.problem.clone().and_then(|problem| problem(address));
            match problem {
                Some((error, false)) => Err(error),
                Some((error, true)) => {
                    work(&mut state);
                    Err(error)
                }
                None => Ok(work(&mut state)),
            }
        })
    }
}

impl State {
    fn make(&mut self, address: &Address, change: &Change) {
        if let Some(witness) = &self.witness {
            witness(address, change);
        }
        self.changes.push(change.clone());
        let node = self.nodes.get(&address.bootstrap).cloned().unwrap_or_default();
        let before = self.before.take().map_or(node, |(_, before)| before);
        self.before = (self.lag > 0).then_some((self.lag, before));
        make(self.nodes.entry(address.bootstrap.clone()).or_default(), change);
    }
}

/// Makes a change on a broker.
pub(crate) fn make(node: &mut Node, change: &Change) {
    match change.clone() {
        Change::Create { name, partitions, replicas, config } => {
            let id = format!("id-of-{name}");
            let copies = replicas.unwrap_or(1);
            let (replicas, replicas_least) = (copies, copies);
            let topic = Observed { id, partitions, replicas, replicas_least, under_replicated: 0, config };
            node.topics.entry(name).or_insert(topic);
        }
        Change::Grow { name, partitions } => {
            if let Some(topic) = node.topics.get_mut(&name) {
                topic.partitions = partitions;
            }
        }
        Change::Configure { name, entries } => {
            let Some(topic) = node.topics.get_mut(&name) else { return };
            for (key, value) in entries {
                match value {
                    Some(value) => drop(topic.config.insert(key, value)),
                    None => drop(topic.config.remove(&key)),
                }
            }
        }
        Change::Allow(acls) => node.acls.extend(acls),
        Change::Revoke(acls) => node.acls.retain(|acl| !acls.contains(acl)),
        Change::Delete { name } => drop(node.topics.remove(&name)),
    }
}

/// What a topic says of its copies follows where they are.
fn count_copies(node: &mut Node) {
    for (name, topic) in &mut node.topics {
        let own = node.layout.partitions.iter().filter(|partition| partition.topic == *name);
        let counts: Vec<i32> = own.filter_map(|own| i32::try_from(own.replicas.len()).ok()).collect();
        if let (Some(most), Some(least)) = (counts.iter().max(), counts.iter().min()) {
            (topic.replicas, topic.replicas_least) = (*most, *least);
        }
    }
}

/// As the real door: the rules of this topic, and those that Topics share.
fn acls_of(node: &Node, topic: &str) -> BTreeSet<Acl> {
    let of_topic = |acl: &&Acl| match &acl.resource {
        Resource::Topic(name) => name == topic,
        Resource::Group(_) | Resource::TransactionalId(_) => true,
    };
    node.acls.iter().filter(of_topic).cloned().collect()
}

impl Brokers for FakeBrokers {
    fn describe<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<ClusterState, KafkaError>> {
        self.with(address, |_| ClusterState { cluster_id: "cluster-1".into(), nodes: vec![0] })
    }

    fn standing<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Standing, KafkaError>> {
        self.with(address, |state| {
            state.nodes.get(&address.bootstrap).map(|node| node.standing.clone()).unwrap_or_default()
        })
    }

    fn layout<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Layout, KafkaError>> {
        self.with(address, |state| {
            state.nodes.get(&address.bootstrap).map(|node| node.layout.clone()).unwrap_or_default()
        })
    }

    fn reassign<'a>(
        &'a self,
        address: &'a Address,
        moves: &'a [Move],
    ) -> BoxFuture<'a, Result<(), KafkaError>> {
        self.with(address, move |state| {
            let node = state.nodes.entry(address.bootstrap.clone()).or_default();
            for partition in &mut node.layout.partitions {
                let to = moves.iter().find(|to| (&to.topic, to.index) == (&partition.topic, partition.index));
                if let Some(to) = to {
                    partition.replicas.clone_from(&to.replicas);
                }
            }
            count_copies(node);
        })
    }

    fn observe<'a>(
        &'a self,
        address: &'a Address,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<TopicState, KafkaError>> {
        self.with(address, |state| {
            let mut node = state.nodes.entry(address.bootstrap.clone()).or_default();
            if let Some((looks @ 1.., before)) = &mut state.before {
                *looks -= 1;
                node = before;
            }
            TopicState { topic: node.topics.get(topic).cloned(), acls: acls_of(node, topic) }
        })
    }

    fn change<'a>(
        &'a self,
        address: &'a Address,
        change: &'a Change,
    ) -> BoxFuture<'a, Result<(), KafkaError>> {
        self.with(address, |state| state.make(address, change))
    }
}

/// What goes wrong with a request, as one who follows sees it.
fn untold(error: &KafkaError) -> HealthError {
    let (address, reason) = ("a broker".to_owned(), error.to_string());
    match error {
        KafkaError::Refused { .. } => HealthError::Refused { address, status: 404 },
        _ => HealthError::Unreachable { address, reason },
    }
}

impl Source for FakeBrokers {
    fn follow<'a>(&'a self, broker: &'a ObjectName) -> BoxFuture<'a, Result<Telling, HealthError>> {
        let address = broker::address(broker);
        Box::pin(async move {
            // It counts as a request, and fails as one.
            self.with(&address, |_| ()).await.map_err(|error| untold(&error))?;
            let told = (self.clone(), address, None, None);
            Ok(stream::unfold(told, |(brokers, address, mut seen, told)| async move {
                loop {
                    seen = Some(brokers.stirred(seen).await);
                    let (problem, health) = brokers.heard(&address);
                    if let Some((error, _)) = problem.and_then(|problem| problem(&address)) {
                        return Some((Err(untold(&error)), (brokers, address, seen, told)));
                    }
                    if health.is_some() && told != health {
                        return health.map(|now| (Ok(now), (brokers, address, seen, health)));
                    }
                }
            })
            .boxed())
        })
    }
}
