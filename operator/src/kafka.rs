//! The operator's door to brokers: what a reconciler may ask of one and have changed on it.
//!
//! A trait, so that reconcilers can be tested without a broker, behind one gate that no change passes without the Lease.

mod admin;
mod standing;

pub use admin::{AdminBrokers, Identity};
pub use standing::{Copies, Layout, Quorum, Standing};

use crate::leadership::Leadership;
use control::{
    placement::Move,
    topics::{Acl, Change, Observed},
};
use futures::future::BoxFuture;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::RwLock;

/// Where a Broker is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// `HOST:PORT` of the bootstrap Service.
    pub bootstrap: String,
    /// DNS name that the broker's certificate must carry.
    pub server_name: String,
}

/// A topic and its access rules, as the broker has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicState {
    /// The topic; `None` when it is not there.
    pub topic: Option<Observed>,
    /// The rules of this topic, and those of groups.
    pub acls: BTreeSet<Acl>,
}

/// The cluster, as the broker describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterState {
    /// Kafka's cluster id.
    pub cluster_id: String,
    /// Ids of the nodes that answer.
    pub nodes: Vec<i32>,
}

/// Why a broker was not asked or did not do it.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// It could not be reached, or did not answer in time. Another try may help.
    #[error("broker {bootstrap} did not answer: {reason}")]
    Unreachable {
        /// Who.
        bootstrap: String,
        /// What happened.
        reason: String,
    },
    /// It answered that it will not.
    #[error("broker {bootstrap} refused to {action}: {reason}")]
    Refused {
        /// Who.
        bootstrap: String,
        /// What was asked.
        action: String,
        /// What it said.
        reason: String,
    },
    /// Another replica writes.
    #[error(transparent)]
    NotLeader(#[from] crate::leadership::NotLeader),
}

/// See the module.
pub trait Brokers: Send + Sync + 'static {
    /// Who the broker says it is.
    fn describe<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<ClusterState, KafkaError>>;

    /// How its partitions and controllers stand.
    fn standing<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Standing, KafkaError>>;

    /// Where its copies are.
    fn layout<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Layout, KafkaError>>;

    /// Has copies move. Those of partitions that are gone do not.
    fn reassign<'a>(
        &'a self,
        address: &'a Address,
        moves: &'a [Move],
    ) -> BoxFuture<'a, Result<(), KafkaError>>;

    /// A topic with its access rules.
    fn observe<'a>(
        &'a self,
        address: &'a Address,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<TopicState, KafkaError>>;

    /// Makes one change. Making it twice is harmless.
    fn change<'a>(
        &'a self,
        address: &'a Address,
        change: &'a Change,
    ) -> BoxFuture<'a, Result<(), KafkaError>>;
}

/// A lock for each Broker.
#[derive(Default)]
struct Locks<T>(Mutex<HashMap<Address, Arc<T>>>);

impl<T: Default> Locks<T> {
    fn of(&self, address: &Address) -> Arc<T> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that nobody has is as good as none.
        all.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(all.entry(address.clone()).or_default())
    }
}

/// Brokers as reconcilers get them: everybody may ask, only the leader may change, and a change ends with its window.
#[derive(Clone)]
pub struct FencedBrokers {
    brokers: Arc<dyn Brokers>,
    leadership: Leadership,
    shared_rules: Arc<Locks<RwLock<()>>>,
    moves: Arc<Locks<tokio::sync::Mutex<()>>>,
}

impl FencedBrokers {
    /// The gate in front of `brokers`.
    #[must_use]
    pub fn new(brokers: Arc<dyn Brokers>, leadership: Leadership) -> Self {
        Self { brokers, leadership, shared_rules: Arc::default(), moves: Arc::default() }
    }

    /// Rules for groups and transactional ids belong to all topics of a broker. Whoever looks whether they are there and adds
    /// them shares the lock; whoever takes some away, since no topic needs them, has it alone.
    #[must_use]
    pub fn shared_rules(&self, address: &Address) -> Arc<RwLock<()>> {
        self.shared_rules.of(address)
    }

    /// Who looks where copies are, and then has some move, has this lock: two at once would each have a batch move.
    #[must_use]
    pub fn moves(&self, address: &Address) -> Arc<tokio::sync::Mutex<()>> {
        self.moves.of(address)
    }

    /// See [`Brokers::describe`].
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn describe(&self, address: &Address) -> Result<ClusterState, KafkaError> {
        self.brokers.describe(address).await
    }

    /// See [`Brokers::standing`].
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn standing(&self, address: &Address) -> Result<Standing, KafkaError> {
        self.brokers.standing(address).await
    }

    /// See [`Brokers::layout`].
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn layout(&self, address: &Address) -> Result<Layout, KafkaError> {
        self.brokers.layout(address).await
    }

    /// See [`Brokers::reassign`].
    ///
    /// # Errors
    /// When this replica may not write, or the broker did not do it.
    pub async fn reassign(&self, address: &Address, moves: &[Move]) -> Result<(), KafkaError> {
        self.leadership.write(async { self.brokers.reassign(address, moves).await }).await?
    }

    /// See [`Brokers::observe`].
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn observe(&self, address: &Address, topic: &str) -> Result<TopicState, KafkaError> {
        self.brokers.observe(address, topic).await
    }

    /// See [`Brokers::change`].
    ///
    /// # Errors
    /// When this replica may not write, or the broker did not do it.
    pub async fn change(&self, address: &Address, change: &Change) -> Result<(), KafkaError> {
        // Not even called without the Lease: an implementation may begin before it is awaited.
        self.leadership.write(async { self.brokers.change(address, change).await }).await?
    }
}
