//! The door over `kafka-admin`: one connection per Broker, mTLS under the operator's own identity, which is
//! renewed here. Translates between what `control::topics` plans and what the crate takes.

use super::{Address, Brokers, ClusterState, Copies, KafkaError, Layout, Quorum, Standing, TopicState};
use control::{
    placement::{self, Move, Partition},
    topics::{Acl, Change, Observed, Operation, Resource},
};
use control_plane::Authority;
use futures::future::BoxFuture;
use kafka_admin::{
    Admin, AdminError, Security, Settings,
    acls::{Acl as AdminAcl, AclFilter, Operation as AdminOperation, Pattern, ResourceKind},
    configs::{ConfigEntry, ConfigResource},
    reassignments::Reassignment,
    topics::{NewTopic, Topic},
};
use runtime::tls::{Credentials, Material};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

const CLIENT_ID: &str = "pinnace-operator";
/// Brokers that are spoken to at a time; more means that some were deleted, and all start anew.
const CONNECTIONS_MAX: usize = 1000;
/// Topics whose settings are asked for in one request.
const SETTINGS_MAX: usize = 500;
const IN_SYNC_MIN: &str = "min.insync.replicas";
/// A controller that is so far behind its leader would not be elected by the others: Kafka's `controller.quorum.fetch.timeout.ms`.
const BEHIND_MAX_MS: i64 = 2_000;
/// How often the certificate's age is looked at.
const RENEWAL_PERIOD: Duration = Duration::from_secs(600);

/// Our own certificate towards brokers, kept fresh.
#[derive(Debug, Clone)]
pub struct Identity {
    account: control::Identity,
    credentials: Credentials,
}

impl Identity {
    /// A first certificate for `account`.
    ///
    /// # Errors
    /// When it cannot be signed or used.
    pub fn new(account: control::Identity, authority: &Authority) -> Result<Self, anyhow::Error> {
        let identity = Self { account, credentials: Credentials::empty() };
        identity.renew(authority)?;
        Ok(identity)
    }

    /// When the current certificate should be replaced, in seconds since the Unix epoch.
    fn renew(&self, authority: &Authority) -> Result<i64, anyhow::Error> {
        let now = runtime::clock::unix_seconds();
        let issued = authority.issue_identity(&self.account, now)?;
        let material = Material::from_pem(&issued.chain_pem, &issued.key_pem, &authority.bundle_pem())?;
        self.credentials.replace(material);
        Ok(now.saturating_add(issued.not_after.saturating_sub(now) / 2))
    }

    /// Renews the certificate at half of its life and at each change of root. Runs until the roots go.
    pub async fn keep(self, mut roots: watch::Receiver<Arc<Authority>>) {
        let mut renew_at = 0;
        loop {
            let now = runtime::clock::unix_seconds();
            let changed = roots.has_changed().unwrap_or(false);
            if now >= renew_at || changed {
                let authority = roots.borrow_and_update().clone();
                match self.renew(&authority) {
                    Ok(next) => renew_at = next,
                    Err(error) => tracing::error!(%error, "failed to renew the operator's certificate"),
                }
            }
            let left = u64::try_from(renew_at.saturating_sub(now)).unwrap_or(0);
            let pause = RENEWAL_PERIOD.min(Duration::from_secs(left.max(1)));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = roots.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct AdminBrokers {
    credentials: Credentials,
    connections: Mutex<HashMap<Address, Admin>>,
}

impl AdminBrokers {
    /// A door that nobody has gone through yet.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        Self { credentials: identity.credentials.clone(), connections: Mutex::default() }
    }

    fn admin(&self, address: &Address) -> Admin {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if connections.len() >= CONNECTIONS_MAX && !connections.contains_key(address) {
            connections.clear();
        }
        let open = || {
            let security = Security::Tls {
                credentials: self.credentials.clone(),
                server_names: vec![address.server_name.clone()],
            };
            Admin::new(Settings::new(vec![address.bootstrap.clone()], security, CLIENT_ID))
        };
        connections.entry(address.clone()).or_insert_with(open).clone()
    }
}

fn failed(address: &Address) -> impl Fn(AdminError) -> KafkaError {
    let bootstrap = address.bootstrap.clone();
    move |error| match &error {
        AdminError::Refused { action, name, message, retriable: false, .. } => KafkaError::Refused {
            bootstrap: bootstrap.clone(),
            action: action.clone(),
            reason: format!("{name}: {message}"),
        },
        _ => KafkaError::Unreachable {
            bootstrap: bootstrap.clone(),
            reason: crate::controllers::chain(&error),
        },
    }
}

impl Brokers for AdminBrokers {
    fn describe<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<ClusterState, KafkaError>> {
        Box::pin(async move {
            let cluster = self.admin(address).cluster().await.map_err(failed(address))?;
            Ok(ClusterState {
                cluster_id: cluster.id.unwrap_or_default(),
                nodes: cluster.nodes.iter().map(|node| node.id).collect(),
            })
        })
    }

    fn standing<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Standing, KafkaError>> {
        Box::pin(async move { standing(&self.admin(address)).await.map_err(failed(address)) })
    }

    fn layout<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Layout, KafkaError>> {
        Box::pin(async move { layout(&self.admin(address)).await.map_err(failed(address)) })
    }

    fn reassign<'a>(
        &'a self,
        address: &'a Address,
        moves: &'a [Move],
    ) -> BoxFuture<'a, Result<(), KafkaError>> {
        Box::pin(async move { reassign(&self.admin(address), moves).await.map_err(failed(address)) })
    }

    fn observe<'a>(
        &'a self,
        address: &'a Address,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<TopicState, KafkaError>> {
        Box::pin(async move {
            let admin = self.admin(address);
            let found = admin.describe_topic(topic).await.map_err(failed(address))?;
            let config = match &found {
                Some(_) => admin.topic_overrides(topic).await.map_err(failed(address))?,
                None => BTreeMap::new(),
            };
            let mut acls = BTreeSet::new();
            // Groups and transactional ids are asked for together: by their name, whatever they are.
            for (resource, name) in [(Some(ResourceKind::Topic), topic), (None, control::topics::ANY)] {
                let filter = AclFilter { resource, name: Some(name.to_owned()), principal: None };
                let found = admin.describe_acls(&filter).await.map_err(failed(address))?;
                acls.extend(found.into_iter().filter_map(from_admin));
            }
            Ok(TopicState { topic: found.map(|topic| observed(&topic, config)), acls })
        })
    }

    fn change<'a>(
        &'a self,
        address: &'a Address,
        change: &'a Change,
    ) -> BoxFuture<'a, Result<(), KafkaError>> {
        Box::pin(async move { make(&self.admin(address), change).await.map_err(failed(address)) })
    }
}

async fn standing(admin: &Admin) -> Result<Standing, AdminError> {
    let quorum = quorum_of(&admin.describe_quorum().await?);
    let mut topics = admin.list_topics().await?;
    let mut partitions = Vec::new();
    while !topics.is_empty() {
        let rest = topics.split_off(topics.len().min(SETTINGS_MAX));
        let resources: Vec<_> =
            topics.iter().map(|topic| ConfigResource::Topic(topic.name.clone())).collect();
        let settings = admin.describe_configs(&resources, Some(vec![IN_SYNC_MIN.to_owned()])).await?;
        for (topic, settings) in std::mem::replace(&mut topics, rest).into_iter().zip(settings) {
            match settings {
                // Deleted meanwhile.
                Err(error) if error.code() == Some(kafka_admin::ErrorCode::UnknownTopicOrPartition) => {}
                settings => partitions.extend(copies_of(topic, &settings?)),
            }
        }
    }
    Ok(Standing { partitions, quorum })
}

async fn layout(admin: &Admin) -> Result<Layout, AdminError> {
    // First what is on its way: what ends meanwhile is looked at once more.
    let ongoing = admin.list_reassignments().await?.len();
    let nodes = admin.cluster().await?.nodes.into_iter();
    let rack = |rack: Option<String>| rack.filter(|rack| !rack.is_empty());
    let partitions = admin.list_topics().await?.into_iter().flat_map(partitions_of);
    Ok(Layout {
        nodes: nodes.map(|node| placement::Node { id: node.id, rack: rack(node.rack) }).collect(),
        partitions: partitions.collect(),
        ongoing,
    })
}

async fn reassign(admin: &Admin, moves: &[Move]) -> Result<(), AdminError> {
    let reassignment = |to: &Move| Reassignment {
        topic: to.topic.clone(),
        partition: to.index,
        replicas: Some(to.replicas.clone()),
    };
    for result in admin.reassign(&moves.iter().map(reassignment).collect::<Vec<_>>()).await? {
        match result {
            // Deleted meanwhile.
            Err(error) if error.code() == Some(kafka_admin::ErrorCode::UnknownTopicOrPartition) => {}
            other => other?,
        }
    }
    Ok(())
}

fn quorum_of(quorum: &kafka_admin::quorum::Quorum) -> Quorum {
    let leader = quorum.voters.iter().find(|voter| Some(voter.id) == quorum.leader);
    let newest = leader.and_then(|leader| leader.caught_up_ms).unwrap_or(i64::MAX);
    let is_caught_up = |voter: &&kafka_admin::quorum::Voter| {
        voter.caught_up_ms.is_some_and(|time| newest.saturating_sub(time) < BEHIND_MAX_MS)
    };
    Quorum {
        leader: quorum.leader,
        voters: quorum.voters.iter().map(|voter| voter.id).collect(),
        caught_up: quorum.voters.iter().filter(is_caught_up).map(|voter| voter.id).collect(),
    }
}

fn partitions_of(topic: Topic) -> impl Iterator<Item = Partition> {
    let Topic { name, partitions, .. } = topic;
    partitions.into_iter().map(move |partition| Partition {
        topic: name.clone(),
        index: partition.index,
        replicas: partition.replicas,
        in_sync: partition.in_sync,
    })
}

fn copies_of(topic: Topic, settings: &[ConfigEntry]) -> impl Iterator<Item = Copies> {
    let in_sync_min = settings.iter().find(|entry| entry.name == IN_SYNC_MIN);
    let in_sync_min = in_sync_min.and_then(|entry| entry.value.as_ref()?.parse().ok()).unwrap_or(1);
    partitions_of(topic).map(move |partition| Copies { partition, in_sync_min })
}

async fn make(admin: &Admin, change: &Change) -> Result<(), AdminError> {
    use kafka_admin::ErrorCode::{TopicAlreadyExists, UnknownTopicOrPartition};
    match change {
        Change::Create { name, partitions, replicas, config } => {
            let topic = NewTopic {
                name: name.clone(),
                partitions: *partitions,
                replicas: replicas.and_then(|replicas| i16::try_from(replicas).ok()),
                config: config.clone(),
            };
            match admin.create_topic(topic).await {
                Err(error) if error.code() == Some(TopicAlreadyExists) => Ok(()),
                other => other.map(|_| ()),
            }
        }
        Change::Grow { name, partitions } => admin.grow_topic(name, *partitions).await,
        Change::Configure { name, entries } => {
            admin.alter_config(&ConfigResource::Topic(name.clone()), entries.clone()).await
        }
        Change::Allow(acls) => admin.create_acls(&acls.iter().map(to_admin).collect::<Vec<_>>()).await,
        Change::Revoke(acls) => admin.delete_acls(&acls.iter().map(to_admin).collect::<Vec<_>>()).await,
        Change::Delete { name } => match admin.delete_topic(name).await {
            Err(error) if error.code() == Some(UnknownTopicOrPartition) => Ok(()),
            other => other,
        },
    }
}

fn observed(topic: &Topic, config: BTreeMap<String, String>) -> Observed {
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    Observed {
        id: topic.id.map(|id| id.to_string()).unwrap_or_default(),
        partitions: count(topic.partitions.len()),
        replicas: count(topic.replicas()),
        replicas_least: count(topic.replicas_least()),
        under_replicated: count(topic.under_replicated()),
        config,
    }
}

fn to_admin(acl: &Acl) -> AdminAcl {
    let (resource, name) = match &acl.resource {
        Resource::Topic(name) => (ResourceKind::Topic, name),
        Resource::Group(name) => (ResourceKind::Group, name),
        Resource::TransactionalId(name) => (ResourceKind::TransactionalId, name),
    };
    let operation = match acl.operation {
        Operation::Read => AdminOperation::Read,
        Operation::Write => AdminOperation::Write,
        Operation::Describe => AdminOperation::Describe,
    };
    AdminAcl {
        resource,
        name: name.clone(),
        pattern: Pattern::Literal,
        principal: acl.principal.clone(),
        operation,
    }
}

/// Rules that we never write are not ours to see.
fn from_admin(acl: AdminAcl) -> Option<Acl> {
    let operation = match acl.operation {
        AdminOperation::Read => Operation::Read,
        AdminOperation::Write => Operation::Write,
        AdminOperation::Describe => Operation::Describe,
        _ => return None,
    };
    let resource = match acl.resource {
        ResourceKind::Topic => Resource::Topic(acl.name),
        ResourceKind::Group => Resource::Group(acl.name),
        ResourceKind::TransactionalId => Resource::TransactionalId(acl.name),
        ResourceKind::Cluster => return None,
    };
    (acl.pattern == Pattern::Literal).then_some(Acl { resource, principal: acl.principal, operation })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a controller is caught up when it was within two seconds of its leader; without a leader none is.
    #[test]
    fn controllers_that_are_behind_are_not_counted() {
        use kafka_admin::quorum::Voter;
        let voter = |id, caught_up_ms| Voter { id, caught_up_ms };
        let voters =
            vec![voter(0, Some(9_000)), voter(1, Some(7_001)), voter(2, Some(7_000)), voter(3, None)];
        let mut quorum = kafka_admin::quorum::Quorum { leader: Some(0), voters };
        let seen = quorum_of(&quorum);
        assert_eq!((seen.leader, seen.voters.len()), (Some(0), 4));
        assert_eq!(seen.caught_up, [0, 1].into());
        quorum.leader = None;
        assert_eq!(quorum_of(&quorum).caught_up, [].into());
    }

    /// Goal: our rules survive the way to the broker and back; others are not seen.
    #[test]
    fn rules_survive_the_way() {
        let acl = Acl {
            resource: Resource::Group("*".into()),
            principal: "User:shop/*".into(),
            operation: Operation::Read,
        };
        let resource = Resource::TransactionalId("*".into());
        for acl in [acl.clone(), Acl { resource, operation: Operation::Write, ..acl.clone() }] {
            assert_eq!(from_admin(to_admin(&acl)), Some(acl));
        }
        assert_eq!(from_admin(AdminAcl { pattern: Pattern::Prefixed, ..to_admin(&acl) }), None);
        assert_eq!(from_admin(AdminAcl { operation: AdminOperation::All, ..to_admin(&acl) }), None);
    }
}
