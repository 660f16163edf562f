//! How engines are, as they say themselves: the leader follows each one on its admin port and asks for nothing. Reads only.
//!
//! A stream of lines for each Broker whose node is ready. What it says is kept here, and wakes the Broker's reconcile when
//! it is otherwise; what that means for the Broker, its status decides.

mod follow;
mod http;
mod line;
mod pace;
mod told;

#[cfg(test)]
mod tests;

pub(crate) use follow::start;
pub use http::HttpEngines;
pub use line::LineError;
pub use told::{Said, Told};

use control::ObjectName;
use futures::{future::BoxFuture, stream::BoxStream};
use std::sync::Arc;

/// How an engine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Size of the file system that its data is on.
    pub capacity_bytes: u64,
    /// How much of it is used, rounded.
    pub used_bytes: u64,
    /// Whether it refuses messages until there is room.
    pub disk_nearly_full: bool,
    /// How many partitions take no writes because of damage or a failed disk.
    pub read_only_partitions: u64,
}

/// Why an engine does not tell.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// It could not be reached, did not answer in time, or broke off. Another try may help.
    #[error("{address} cannot be followed: {reason}")]
    Unreachable {
        /// Who.
        address: String,
        /// What happened.
        reason: String,
    },
    /// It answers with something else.
    #[error(
        "{address} answers {status} to GET {}: does the Broker's Pod run an engine older than this operator?",
        http::PATH
    )]
    Refused {
        /// Who.
        address: String,
        /// With what.
        status: u16,
    },
    /// What it says cannot be read.
    #[error("{address} tells what cannot be read: {source}")]
    Undecodable {
        /// Who.
        address: String,
        /// Why not.
        source: LineError,
    },
}

impl HealthError {
    /// Whether another try soon would bring the same.
    fn is_lasting(&self) -> bool {
        match self {
            Self::Unreachable { .. } => false,
            Self::Refused { status, .. } => *status == 404,
            Self::Undecodable { .. } => true,
        }
    }

    /// Which of them it is: the text may be another one with each try.
    fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Refused { .. } => "refused",
            Self::Undecodable { .. } => "undecodable",
        }
    }
}

/// What an engine says, from how it is now on.
pub type Telling = BoxStream<'static, Result<Health, HealthError>>;

/// The way to engines. A trait, so that all else can be tested without one.
pub trait Source: Send + Sync + 'static {
    /// Begins to listen to the engine of a Broker.
    fn follow<'a>(&'a self, broker: &'a ObjectName) -> BoxFuture<'a, Result<Telling, HealthError>>;
}

/// The way to engines, and what they said.
#[derive(Clone)]
pub struct Engines {
    /// The way.
    pub(crate) source: Arc<dyn Source>,
    /// What they said.
    pub(crate) told: Told,
}

impl Engines {
    /// Nobody has said anything yet.
    #[must_use]
    pub fn new(source: Arc<dyn Source>) -> Self {
        Self { source, told: Told::default() }
    }
}
