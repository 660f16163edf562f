//! What the parts of the broker share, and what a request comes with.

use std::sync::Arc;

use runtime::shutdown::Shutdown;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    access::{Access, Operation, Principal, ResourceKind},
    commit::Committer,
    dynamic_config::DynamicConfigs,
    groups::coordinator::Coordinator,
    metrics::Metrics,
    producer_ids::ProducerIds,
    quotas::{Quotas, mute::Mute},
    sasl::Verifier,
    settings::Settings,
    space::Space,
    store::{Store, StoreError},
    topics::Topics,
    transactions::coordinator::Transactions,
};

/// The only node's id.
pub(crate) const NODE_ID: i32 = 0;

/// The name of the cluster in rules.
pub(crate) const CLUSTER_NAME: &str = "kafka-cluster";

const CLUSTER_KEY: &str = "cluster-id";
const EPOCH_KEY: &str = "leader-epoch";

/// The broker.
pub(crate) struct Broker {
    pub(crate) cluster_id: String,
    /// One for the whole run, larger than in any run before.
    pub(crate) leader_epoch: i32,
    pub(crate) settings: Settings,
    /// What was changed of them while it ran.
    pub(crate) configs: Arc<DynamicConfigs>,
    pub(crate) topics: Topics,
    pub(crate) groups: Coordinator,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) transactions: Transactions,
    pub(crate) access: Access,
    pub(crate) quotas: Quotas,
    pub(crate) sasl: Arc<Verifier>,
    pub(crate) space: Space,
    pub(crate) committer: Committer,
    pub(crate) metrics: Metrics,
    /// Requests that wait for something answer early once it begins.
    pub(crate) shutdown: Shutdown,
}

/// How the connection of a caller is secured, under Kafka's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }
}

/// Who called, and where.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// The caller's address.
    pub(crate) host: String,
    pub(crate) protocol: Protocol,
    /// Where this broker is reached, as the caller should know it.
    pub(crate) advertised: (String, u16),
    /// Notified when a partition that the caller waits for has more.
    pub(crate) waiter: Arc<Notify>,
    /// How long nothing more of the caller is read.
    pub(crate) mute: Arc<Mute>,
}

/// A request's surroundings.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) broker: Arc<Broker>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) client_id: Arc<str>,
}

impl Context {
    fn who(&self) -> (&Principal, &str) {
        (&self.caller.principal, &self.caller.host)
    }

    /// Whether the caller may do something with a resource.
    pub(crate) fn allows(&self, operation: Operation, kind: ResourceKind, name: &str) -> bool {
        self.broker.access.allows(self.who(), (operation, kind), name)
    }

    /// The same for what is only left out of a list: nobody is told, nothing is counted.
    pub(crate) fn may_see(&self, kind: ResourceKind, name: &str) -> bool {
        self.broker.access.would_allow(self.who(), (Operation::Describe, kind), name)
    }

    /// Whether the caller may do something with at least one resource that there could be.
    pub(crate) fn allows_somewhere(&self, operation: Operation, kind: ResourceKind) -> bool {
        self.broker.access.allows_somewhere(self.who(), (operation, kind))
    }

    /// All that the caller may do with a resource, one bit an operation.
    pub(crate) fn operations(&self, kind: ResourceKind, name: &str) -> i32 {
        let allowed = kind.operations().iter();
        let allowed =
            allowed.filter(|operation| self.broker.access.would_allow(self.who(), (**operation, kind), name));
        allowed.fold(0, |bits, operation| bits | 1 << operation.code())
    }

    /// All that the caller may do with the cluster; nothing for who may not even look at it.
    pub(crate) fn cluster_operations(&self) -> i32 {
        if self.may_see(ResourceKind::Cluster, CLUSTER_NAME) {
            self.operations(ResourceKind::Cluster, CLUSTER_NAME)
        } else {
            0
        }
    }

    pub(crate) fn allows_topic(&self, operation: Operation, name: &str) -> bool {
        self.allows(operation, ResourceKind::Topic, name)
    }

    pub(crate) fn allows_group(&self, operation: Operation, name: &str) -> bool {
        self.allows(operation, ResourceKind::Group, name)
    }

    pub(crate) fn allows_cluster(&self, operation: Operation) -> bool {
        self.allows(operation, ResourceKind::Cluster, CLUSTER_NAME)
    }

    /// The same for another user.
    pub(crate) fn with_principal(&self, principal: Principal) -> Self {
        let caller = Arc::new(Caller { principal, ..(*self.caller).clone() });
        Self { caller, ..self.clone() }
    }

    pub(crate) fn port(&self) -> i32 {
        i32::from(self.caller.advertised.1)
    }

    pub(crate) fn host(&self) -> String {
        self.caller.advertised.0.clone()
    }
}

/// A random id.
pub(crate) fn new_id() -> Uuid {
    uuid::Builder::from_random_bytes(runtime::random::bytes16()).into_uuid()
}

/// The cluster's id, made at the first start, and this run's leader epoch.
pub(crate) async fn identify(store: &Arc<Store>) -> Result<(String, i32), StoreError> {
    let read = |key: &str| store.get(key);
    let damaged = |key: &str| StoreError::Damaged(format!("{key} cannot be read"));
    let cluster_id = match read(CLUSTER_KEY) {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|_| damaged(CLUSTER_KEY))?,
        None => new_id().simple().to_string(),
    };
    let epoch: i32 = match read(EPOCH_KEY) {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|_| damaged(EPOCH_KEY))?,
        None => -1,
    };
    let epoch = epoch.saturating_add(1);
    let changes = vec![
        crate::store::json_change(CLUSTER_KEY.to_owned(), &cluster_id)?,
        crate::store::json_change(EPOCH_KEY.to_owned(), &epoch)?,
    ];
    store.write(changes)?.await?;
    Ok((cluster_id, epoch))
}
