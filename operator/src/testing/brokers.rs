//! Brokers in memory: changes are made at once, and recorded.

use crate::kafka::{Address, Brokers, ClusterState, KafkaError, TopicState};
use control::topics::{Acl, Change, Observed};
use futures::future::BoxFuture;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

#[derive(Default)]
struct State {
    topics: BTreeMap<String, Observed>,
    acls: BTreeSet<Acl>,
    changes: Vec<Change>,
    problem: Option<fn(&Address) -> KafkaError>,
}

/// See the module. Clones share the state; all addresses are one broker.
#[derive(Clone, Default)]
pub(crate) struct FakeBrokers {
    state: Arc<Mutex<State>>,
}

impl FakeBrokers {
    /// Changes since the last call.
    pub(crate) fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut self.state.lock().unwrap().changes)
    }

    /// Fails all calls from now on, or with `None` none any more.
    pub(crate) fn fail(&self, problem: Option<fn(&Address) -> KafkaError>) {
        self.state.lock().unwrap().problem = problem;
    }

    /// A topic.
    pub(crate) fn topic(&self, name: &str) -> Option<Observed> {
        self.state.lock().unwrap().topics.get(name).cloned()
    }

    fn with<'a, T: Send + 'a>(
        &self,
        address: &Address,
        work: impl FnOnce(&mut State) -> T,
    ) -> BoxFuture<'a, Result<T, KafkaError>> {
        let mut state = self.state.lock().unwrap();
        let outcome = match state.problem {
            Some(problem) => Err(problem(address)),
            None => Ok(work(&mut state)),
        };
        Box::pin(std::future::ready(outcome))
    }
}

impl State {
    fn make(&mut self, change: &Change) {
        self.changes.push(change.clone());
        match change.clone() {
            Change::Create { name, partitions, replicas, config } => {
                let id = format!("id-of-{name}");
                let topic =
                    Observed { id, partitions, replicas: replicas.unwrap_or(1), under_replicated: 0, config };
                self.topics.insert(name, topic);
            }
            Change::Grow { name, partitions } => self.topics.get_mut(&name).unwrap().partitions = partitions,
            Change::Configure { name, entries } => {
                let config = &mut self.topics.get_mut(&name).unwrap().config;
                for (key, value) in entries {
                    match value {
                        Some(value) => drop(config.insert(key, value)),
                        None => drop(config.remove(&key)),
                    }
                }
            }
            Change::Allow(acls) => self.acls.extend(acls),
            Change::Revoke(acls) => self.acls.retain(|acl| !acls.contains(acl)),
            Change::Delete { name } => drop(self.topics.remove(&name)),
        }
    }
}

impl Brokers for FakeBrokers {
    fn describe<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<ClusterState, KafkaError>> {
        self.with(address, |_| ClusterState { cluster_id: "cluster-1".into(), nodes: vec![0] })
    }

    fn observe<'a>(
        &'a self,
        address: &'a Address,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<TopicState, KafkaError>> {
        self.with(address, |state| TopicState {
            topic: state.topics.get(topic).cloned(),
            acls: state.acls.clone(),
        })
    }

    fn change<'a>(
        &'a self,
        address: &'a Address,
        change: &'a Change,
    ) -> BoxFuture<'a, Result<(), KafkaError>> {
        self.with(address, |state| state.make(change))
    }
}
