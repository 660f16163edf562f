//! What a Topic object means on its broker: the wanted topic, and the list of changes from what is there.
//!
//! Pure. The operator and local mode both plan with it; who carries the changes out, and in which
//! protocol, is theirs. Changes are listed in the order in which they must be made.

#[cfg(test)]
mod tests;

use crate::names::ObjectName;
use api::access::{Action, Grant, grants};
use api::topic::{TopicSpec, config};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What an access rule is about. Names are literal; the group or transactional id `*` stands for every one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A topic of the broker.
    Topic(String),
    /// A consumer group.
    Group(String),
    /// What a producer of transactions is known by.
    TransactionalId(String),
}

impl Resource {
    /// Whether Topics of a broker need it together: see [`Wanted::shared_acls`].
    fn is_shared(&self) -> bool {
        matches!(self, Self::Group(name) | Self::TransactionalId(name) if name == ANY)
    }
}

/// What an access rule allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Fetch messages, join and commit.
    Read,
    /// Produce.
    Write,
    /// Ask for metadata and offsets.
    Describe,
}

/// One access rule of the broker: allows one operation to one principal, from any host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    /// On what.
    pub resource: Resource,
    /// `User:NAMESPACE/SERVICEACCOUNT`; the service account `*` stands for all of the namespace.
    pub principal: String,
    /// What.
    pub operation: Operation,
}

/// The field of a Topic for the number of copies, as a [`Difference`] names it.
pub const REPLICAS: &str = "spec.replicas";
/// Every name: which group or transactional id an app uses is its own choice.
pub const ANY: &str = "*";

/// A topic as it should be on the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name there.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// How many copies; `None` is the broker's default.
    pub replicas: Option<i32>,
    /// Its configuration by Kafka's names; what is not here is the broker's default.
    pub config: BTreeMap<String, String>,
    /// Who may do what with it.
    pub acls: BTreeSet<Acl>,
    /// What its users need beside it: groups to subscribe, transactional ids to publish. Other topics may need the same.
    pub shared_acls: BTreeSet<Acl>,
}

/// A topic as it is on the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Its id; another id under the same name is another topic.
    pub id: String,
    /// How many partitions.
    pub partitions: i32,
    /// How many copies, of the partition that has most.
    pub replicas: i32,
    /// The same of the one that has fewest: another number while copies are added or taken away.
    pub replicas_least: i32,
    /// Partitions that lack a copy.
    pub under_replicated: i32,
    /// The configuration that was set on the topic itself, without defaults.
    pub config: BTreeMap<String, String>,
}

/// One change on the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make the topic.
    Create {
        /// Its name.
        name: String,
        /// How many partitions.
        partitions: i32,
        /// How many copies; `None` is the broker's default.
        replicas: Option<i32>,
        /// Its configuration.
        config: BTreeMap<String, String>,
    },
    /// Give the topic more partitions.
    Grow {
        /// Its name.
        name: String,
        /// How many partitions it then has.
        partitions: i32,
    },
    /// Set configurations, or with `None` go back to the broker's default.
    Configure {
        /// The topic's name.
        name: String,
        /// What changes.
        entries: BTreeMap<String, Option<String>>,
    },
    /// Allow.
    Allow(BTreeSet<Acl>),
    /// No longer allow.
    Revoke(BTreeSet<Acl>),
    /// Delete the topic with its messages.
    Delete {
        /// Its name.
        name: String,
    },
}

/// A difference that no change can remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The field of the Topic.
    pub field: &'static str,
    /// What differs and what to do.
    pub problem: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.field, self.problem)
    }
}

/// Changes to make, and what stays different all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub changes: Vec<Change>,
    /// Left over.
    pub differences: Vec<Difference>,
}

fn acl(resource: Resource, grant: &Grant, operation: Operation) -> Acl {
    Acl { resource, principal: format!("User:{}", grant.principal()), operation }
}

/// What the Topic `object` with this spec asks for.
#[must_use]
pub fn wanted(spec: &TopicSpec, object: &ObjectName) -> Wanted {
    let name = spec.log_name(&object.namespace, &object.name);
    let granted = |action| grants(spec.access.as_ref(), &object.namespace, action);
    let topic = || Resource::Topic(name.clone());
    let mut acls = BTreeSet::new();
    let mut shared_acls = BTreeSet::new();
    for grant in granted(Action::Publish) {
        acls.insert(acl(topic(), &grant, Operation::Write));
        acls.insert(acl(topic(), &grant, Operation::Describe));
        // Both engines let who may write also describe, and who may write to a topic also be idempotent.
        let any = Resource::TransactionalId(ANY.to_owned());
        shared_acls.insert(acl(any, &grant, Operation::Write));
    }
    for grant in granted(Action::Subscribe) {
        acls.insert(acl(topic(), &grant, Operation::Read));
        acls.insert(acl(topic(), &grant, Operation::Describe));
        shared_acls.insert(acl(Resource::Group(ANY.to_owned()), &grant, Operation::Read));
    }
    Wanted {
        partitions: spec.partitions,
        replicas: spec.replicas,
        config: config::wanted(spec),
        acls,
        shared_acls,
        name,
    }
}

/// The namespace of a principal that stands for all service accounts of one.
fn whole_namespace(principal: &str) -> Option<&str> {
    principal.strip_prefix("User:")?.strip_suffix("/*")
}

impl Wanted {
    /// The namespaces all of whose service accounts are let in.
    #[must_use]
    pub fn whole_namespaces(&self) -> BTreeSet<&str> {
        let acls = self.acls.iter().chain(&self.shared_acls);
        acls.filter_map(|acl| whole_namespace(&acl.principal)).collect()
    }

    /// The same for an engine that knows no principal for all of a namespace, as Apache Kafka: a rule for each service account
    /// that is there. `accounts` are those of the [`Self::whole_namespaces`].
    #[must_use]
    pub fn for_each_account(mut self, accounts: &BTreeMap<String, BTreeSet<String>>) -> Self {
        let each = |acls: BTreeSet<Acl>| {
            acls.into_iter()
                .flat_map(|acl| {
                    let Some(namespace) = whole_namespace(&acl.principal) else { return vec![acl] };
                    let names = accounts.get(namespace).into_iter().flatten();
                    let principal = |name| format!("User:{namespace}/{name}");
                    names.map(|name| Acl { principal: principal(name), ..acl.clone() }).collect()
                })
                .collect()
        };
        self.acls = each(self.acls);
        self.shared_acls = each(self.shared_acls);
        self
    }
}

/// The changes that bring a topic from `observed` (`None`: it is not there) to `wanted`.
///
/// `acls` are the access rules that the broker has for this topic, for groups and for transactional ids. Rules
/// of the topic that are not wanted are revoked; the others are only added, since other topics may need them:
/// see [`revoke_shared`].
#[must_use]
pub fn plan(wanted: &Wanted, observed: Option<&Observed>, acls: &BTreeSet<Acl>) -> Plan {
    let mut plan = Plan::default();
    match observed {
        None => plan.changes.push(Change::Create {
            name: wanted.name.clone(),
            partitions: wanted.partitions,
            replicas: wanted.replicas,
            config: wanted.config.clone(),
        }),
        Some(observed) => plan_existing(wanted, observed, &mut plan),
    }
    let missing: BTreeSet<Acl> =
        wanted.acls.union(&wanted.shared_acls).filter(|acl| !acls.contains(acl)).cloned().collect();
    if !missing.is_empty() {
        plan.changes.push(Change::Allow(missing));
    }
    let topic = Resource::Topic(wanted.name.clone());
    let surplus: BTreeSet<Acl> =
        acls.iter().filter(|acl| acl.resource == topic && !wanted.acls.contains(acl)).cloned().collect();
    if !surplus.is_empty() {
        plan.changes.push(Change::Revoke(surplus));
    }
    plan
}

fn plan_existing(wanted: &Wanted, observed: &Observed, plan: &mut Plan) {
    if wanted.partitions > observed.partitions {
        plan.changes.push(Change::Grow { name: wanted.name.clone(), partitions: wanted.partitions });
    } else if wanted.partitions < observed.partitions {
        plan.differences.push(Difference {
            field: "spec.partitions",
            problem: format!(
                "the topic {} has {} partitions on the broker and cannot shrink: set partitions to {}",
                wanted.name, observed.partitions, observed.partitions
            ),
        });
    }
    let differs = |replicas: &i32| *replicas != observed.replicas || *replicas != observed.replicas_least;
    if let Some(replicas) = wanted.replicas.filter(differs) {
        // While copies move, the one number may be as wanted and the other not.
        let there = if observed.replicas == replicas { observed.replicas_least } else { observed.replicas };
        plan.differences.push(Difference {
            field: REPLICAS,
            problem: format!(
                "the topic {} has {there} replicas on the broker, not {replicas}: set replicas to {there} or remove it",
                wanted.name
            ),
        });
    }
    let changed = wanted
        .config
        .iter()
        .filter(|(name, value)| observed.config.get(*name) != Some(value))
        .map(|(name, value)| (name.clone(), Some(value.clone())));
    let dropped = observed
        .config
        .keys()
        .filter(|name| !wanted.config.contains_key(*name))
        .map(|name| (name.clone(), None));
    let entries: BTreeMap<String, Option<String>> = changed.chain(dropped).collect();
    if !entries.is_empty() {
        plan.changes.push(Change::Configure { name: wanted.name.clone(), entries });
    }
}

/// The changes when a Topic object goes: nobody may use the topic any more, and with `delete` it is deleted.
#[must_use]
pub fn plan_removal(name: &str, delete: bool, exists: bool, acls: &BTreeSet<Acl>) -> Vec<Change> {
    let topic = Resource::Topic(name.to_owned());
    let revoked: BTreeSet<Acl> = acls.iter().filter(|acl| acl.resource == topic).cloned().collect();
    let mut changes = Vec::new();
    if !revoked.is_empty() {
        changes.push(Change::Revoke(revoked));
    }
    if delete && exists {
        changes.push(Change::Delete { name: name.to_owned() });
    }
    changes
}

/// Revokes the rules for groups and transactional ids that no remaining topic of the broker needs. `needed` is the union of
/// [`Wanted::shared_acls`] over all Topics of the broker.
#[must_use]
pub fn revoke_shared(acls: &BTreeSet<Acl>, needed: &BTreeSet<Acl>) -> Option<Change> {
    let surplus: BTreeSet<Acl> =
        acls.iter().filter(|acl| acl.resource.is_shared() && !needed.contains(acl)).cloned().collect();
    (!surplus.is_empty()).then_some(Change::Revoke(surplus))
}

/// Who claims a name on a broker, and since when.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// When the Topic object was made, in seconds since the Unix epoch.
    pub created_seconds: i64,
    /// The object.
    pub object: ObjectName,
}

/// Of several Topics that claim one name on one broker, the one that has it: the oldest, and of
/// the same age the first by namespace and name.
#[must_use]
pub fn holder(claims: impl IntoIterator<Item = Claim>) -> Option<ObjectName> {
    claims.into_iter().min().map(|claim| claim.object)
}
