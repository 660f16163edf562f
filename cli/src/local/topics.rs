//! Carries out, on one broker, the plan that `control::topics` makes: the same plan that the operator
//! carries out in a cluster.

use super::brokers::Wanted;
use api::topic::ManagementPolicy;
use control::topics::{self, Acl, Change, Observed, Operation, Resource};
use kafka_admin::acls::{self, AclFilter, Pattern, ResourceKind};
use kafka_admin::configs::ConfigResource;
use kafka_admin::topics::NewTopic;
use kafka_admin::{Admin, AdminError};
use std::collections::BTreeSet;

/// Brings all topics of a broker to what is wanted; returns what stays different, in words.
pub(crate) async fn reconcile(admin: &Admin, wanted: &Wanted) -> Result<Vec<String>, AdminError> {
    let rules = list_acls(admin).await?;
    let mut left = Vec::new();
    let (mut shared, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (object, spec) in wanted {
        if spec.management_policy == ManagementPolicy::Observe {
            continue;
        }
        let topic = topics::wanted(spec, object);
        let observed = observe(admin, &topic.name).await?;
        let plan = topics::plan(&topic, observed.as_ref(), &rules);
        for change in plan.changes {
            apply(admin, change).await?;
        }
        left.extend(plan.differences.iter().map(|difference| format!("Topic {object}: {difference}")));
        shared.extend(topic.shared_acls);
        names.insert(topic.name);
    }
    // Rules of topics that no object asks for any more; the topics themselves stay.
    let surplus = |rule: &&Acl| matches!(&rule.resource, Resource::Topic(name) if !names.contains(name));
    let surplus: BTreeSet<Acl> = rules.iter().filter(surplus).cloned().collect();
    if !surplus.is_empty() {
        apply(admin, Change::Revoke(surplus)).await?;
    }
    if let Some(change) = topics::revoke_shared(&rules, &shared) {
        apply(admin, change).await?;
    }
    Ok(left)
}

async fn observe(admin: &Admin, name: &str) -> Result<Option<Observed>, AdminError> {
    let Some(topic) = admin.describe_topic(name).await? else { return Ok(None) };
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    Ok(Some(Observed {
        id: topic.id.map(|id| id.to_string()).unwrap_or_default(),
        partitions: count(topic.partitions.len()),
        replicas: count(topic.replicas()),
        replicas_least: count(topic.replicas_least()),
        under_replicated: count(topic.under_replicated()),
        config: admin.topic_overrides(name).await?,
    }))
}

async fn apply(admin: &Admin, change: Change) -> Result<(), AdminError> {
    match change {
        Change::Create { name, partitions, replicas, config } => {
            let replicas = replicas.map(|replicas| i16::try_from(replicas).unwrap_or(i16::MAX));
            admin.create_topic(NewTopic { name, partitions, replicas, config }).await.map(drop)
        }
        Change::Grow { name, partitions } => admin.grow_topic(&name, partitions).await,
        Change::Configure { name, entries } => {
            admin.alter_config(&ConfigResource::Topic(name), entries).await
        }
        Change::Allow(rules) => admin.create_acls(&to_wire(&rules)).await,
        Change::Revoke(rules) => admin.delete_acls(&to_wire(&rules)).await,
        Change::Delete { name } => admin.delete_topic(&name).await,
    }
}

fn to_wire(rules: &BTreeSet<Acl>) -> Vec<acls::Acl> {
    let wire = |rule: &Acl| {
        let (resource, name) = match &rule.resource {
            Resource::Topic(name) => (ResourceKind::Topic, name),
            Resource::Group(name) => (ResourceKind::Group, name),
            Resource::TransactionalId(name) => (ResourceKind::TransactionalId, name),
        };
        acls::Acl {
            resource,
            name: name.clone(),
            pattern: Pattern::Literal,
            principal: rule.principal.clone(),
            operation: match rule.operation {
                Operation::Read => acls::Operation::Read,
                Operation::Write => acls::Operation::Write,
                Operation::Describe => acls::Operation::Describe,
            },
        }
    };
    rules.iter().map(wire).collect()
}

/// The broker's rules of the form that the planner writes; others are not ours.
async fn list_acls(admin: &Admin) -> Result<BTreeSet<Acl>, AdminError> {
    let rules = admin.describe_acls(&AclFilter::default()).await?;
    let ours = rules.into_iter().filter(|rule| rule.pattern == Pattern::Literal).filter_map(|rule| {
        let resource = match rule.resource {
            ResourceKind::Topic => Resource::Topic(rule.name),
            ResourceKind::Group => Resource::Group(rule.name),
            ResourceKind::TransactionalId => Resource::TransactionalId(rule.name),
            ResourceKind::Cluster => return None,
        };
        let operation = match rule.operation {
            acls::Operation::Read => Operation::Read,
            acls::Operation::Write => Operation::Write,
            acls::Operation::Describe => Operation::Describe,
            _ => return None,
        };
        Some(Acl { resource, principal: rule.principal, operation })
    });
    Ok(ours.collect())
}
