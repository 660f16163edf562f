//! The operator's door to brokers: what a reconciler may ask of one and have changed on it.
//!
//! A trait, so that reconcilers can be tested without a broker. The door asks for the Lease before each change.

mod admin;

pub use admin::{AdminBrokers, Identity};

use control::topics::{Acl, Change, Observed};
use futures::future::BoxFuture;
use std::collections::BTreeSet;

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
