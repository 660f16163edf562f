//! What the Topics of a namespace may take of a Broker: `spec.quota.perNamespace`. Pure; who asks keeps count of the others.
//!
//! A quota is about changes: what a Topic has already it keeps, and may not grow. Sizes are declared, not measured.

#[cfg(test)]
mod tests;

use crate::broker::{BrokerSpec, Engine, NamespaceQuota};
use crate::field::FieldError;
use crate::labels::TOPIC_FINALIZER;
use crate::quantity::Quantity;
use crate::topic::{DeletionPolicy, ManagementPolicy, Topic, TopicStatus};

/// What a Broker gives each namespace.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// As its spec says.
    pub quota: &'a NamespaceQuota,
    /// Copies of a Topic that does not say how many.
    pub copies: u32,
}

impl<'a> Limits<'a> {
    /// Those of a Broker; `None` when nothing is limited.
    #[must_use]
    pub fn of(spec: &'a BrokerSpec) -> Option<Self> {
        let quota = spec.namespace_quota()?;
        let said = spec.config.get("default.replication.factor").filter(|_| spec.engine == Engine::Kafka);
        let copies = said.and_then(|copies| copies.trim().parse().ok());
        let copies = copies.or_else(|| u32::try_from(spec.default_copies()).ok()).unwrap_or(1);
        Some(Self { quota, copies })
    }
}

/// What one Topic takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Its partitions.
    pub partitions: u32,
    /// What they may keep together, with all copies. More than any quota stays more than any quota.
    pub bytes: u64,
    /// The same without copies, where only the Broker says how many it makes.
    pub each_copy_bytes: u64,
}

/// What several Topics take together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// How many Topics.
    pub topics: u64,
    /// Partitions of all of them.
    pub partitions: u64,
    /// Bytes of all of them: wide enough that what is added can be taken off again.
    pub bytes: u128,
    /// Those without copies.
    pub each_copy_bytes: u128,
}

impl Share {
    fn of(topic: &Topic, partitions: i32, retention: Option<&Quantity>) -> Self {
        let status = topic.status.as_ref();
        let replicas = topic.spec.replicas.or_else(|| status.and_then(|status| status.replicas));
        let partitions = u32::try_from(partitions).unwrap_or(0);
        let each = retention.map_or(0, Quantity::bytes).saturating_mul(u64::from(partitions));
        match replicas {
            None => Self { partitions, bytes: 0, each_copy_bytes: each },
            Some(replicas) => {
                let replicas = u64::try_from(replicas).unwrap_or(1).max(1);
                Self { partitions, bytes: each.saturating_mul(replicas), each_copy_bytes: 0 }
            }
        }
    }

    fn larger(self, other: Self) -> Self {
        Self {
            partitions: self.partitions.max(other.partitions),
            bytes: self.bytes.max(other.bytes),
            each_copy_bytes: self.each_copy_bytes.max(other.each_copy_bytes),
        }
    }

    fn all_bytes(self, copies: u32) -> u128 {
        u128::from(self.each_copy_bytes).saturating_mul(copies.into()).saturating_add(self.bytes.into())
    }
}

impl Used {
    /// One Topic more.
    pub fn add(&mut self, share: Share) {
        self.topics = self.topics.saturating_add(1);
        self.partitions = self.partitions.saturating_add(u64::from(share.partitions));
        self.bytes = self.bytes.saturating_add(u128::from(share.bytes));
        self.each_copy_bytes = self.each_copy_bytes.saturating_add(u128::from(share.each_copy_bytes));
    }

    /// One Topic less, which was added before.
    pub fn remove(&mut self, share: Share) {
        self.topics = self.topics.saturating_sub(1);
        self.partitions = self.partitions.saturating_sub(u64::from(share.partitions));
        self.bytes = self.bytes.saturating_sub(u128::from(share.bytes));
        self.each_copy_bytes = self.each_copy_bytes.saturating_sub(u128::from(share.each_copy_bytes));
    }

    fn all_bytes(&self, copies: u32) -> u128 {
        self.each_copy_bytes.saturating_mul(copies.into()).saturating_add(self.bytes)
    }
}

/// A Topic that only looks makes nothing. `Adopt` is bound like `Full`: what it takes over is the namespace's from then on.
fn is_bound(topic: &Topic) -> bool {
    topic.spec.management_policy != ManagementPolicy::Observe
}

fn is_going(topic: &Topic) -> bool {
    topic.metadata.deletion_timestamp.is_some()
}

fn declared(topic: &Topic) -> Option<&Quantity> {
    topic.spec.retention.as_ref()?.size.as_ref()
}

/// The status of a Topic that has its topic: it was found there, and by an object that holds it. One that only looked at
/// a topic has its id too, but no finalizer.
fn reached(topic: &Topic) -> Option<&TopicStatus> {
    let is_held = topic.metadata.finalizers.iter().flatten().any(|name| name == TOPIC_FINALIZER);
    topic.status.as_ref().filter(|status| is_held && status.topic_id.is_some())
}

/// What a Topic asks for; `None` when no quota binds it: it makes nothing, or it goes.
#[must_use]
pub fn asked(topic: &Topic) -> Option<Share> {
    if !is_bound(topic) || is_going(topic) {
        return None;
    }
    let there = reached(topic).and_then(|status| status.partitions).unwrap_or(0);
    Some(Share::of(topic, topic.spec.partitions.max(there), declared(topic)))
}

/// What a Topic has on its broker, as it was last let in. One that goes and leaves its topic there has nothing any more.
#[must_use]
pub fn held(topic: &Topic) -> Option<Share> {
    if !is_bound(topic) || (is_going(topic) && topic.spec.deletion_policy == DeletionPolicy::Retain) {
        return None;
    }
    let status = reached(topic)?;
    // Before there was a quota nobody wrote down what was let in.
    let retention = status.granted_retention_size.as_ref().or_else(|| declared(topic));
    Some(Share::of(topic, status.partitions.unwrap_or(topic.spec.partitions), retention))
}

/// What a Topic counts against those that come after it: what it asks for or has, whichever is more.
#[must_use]
pub fn counted(topic: &Topic) -> Option<Share> {
    match (asked(topic), held(topic)) {
        (Some(asked), Some(held)) => Some(asked.larger(held)),
        (asked, held) => asked.or(held),
    }
}

/// What a version of a Topic had, for whoever judges an edit; `None` when no quota bound it.
#[must_use]
pub fn before(topic: &Topic) -> Option<Share> {
    asked(topic).and_then(|_| counted(topic))
}

/// Everything of a Topic that its namespace has no room for. `before` is what it had, `None` when it is new or was not
/// bound, and `others` is what the other Topics of its namespace take of the same Broker.
#[must_use]
pub fn exceeded(
    Limits { quota, copies }: Limits<'_>,
    topic: &Topic,
    before: Option<Share>,
    others: &Used,
) -> Vec<FieldError> {
    let Some(asked) = asked(topic) else { return Vec::new() };
    let (is_new, had) = (before.is_none(), before.unwrap_or_default());
    let more_partitions = is_new || asked.partitions > had.partitions;
    let mut found = Vec::new();
    let mut check = |field: &'static str, what: &str, limit: Option<i32>, used: u64, more: u64| {
        let Some(limit) = limit.map(|limit| u64::try_from(limit).unwrap_or(0)) else { return };
        if used.saturating_add(more) > limit {
            let problem = over(topic, what, (used.to_string(), more.to_string(), limit.to_string()));
            found.push(FieldError::new(field, problem));
        }
    };
    if is_new {
        check("spec.broker", "Topics", quota.topics, others.topics, 1);
    }
    if more_partitions {
        let more = u64::from(asked.partitions);
        check("spec.partitions", "partitions", quota.partitions, others.partitions, more);
    }
    let Some(limit) = &quota.size else { return found };
    let (used, had, asked) = (others.all_bytes(copies), had.all_bytes(copies), asked.all_bytes(copies));
    if declared(topic).is_none() {
        if more_partitions || had > 0 {
            found.push(FieldError::new("spec.retention.size", undeclared(topic, limit, used)));
        }
    } else if (is_new || asked > had) && used.saturating_add(asked) > limit.bytes().into() {
        let numbers = (size(used), size(asked), limit.to_string());
        found.push(FieldError::new("spec.retention.size", over(topic, "bytes", numbers)));
    }
    found
}

/// Whether a namespace takes more of a Broker than it may.
#[must_use]
pub fn is_above(Limits { quota, copies }: Limits<'_>, used: &Used) -> bool {
    let is_more =
        |used: u64, limit: Option<i32>| limit.is_some_and(|limit| used > u64::try_from(limit).unwrap_or(0));
    is_more(used.topics, quota.topics)
        || is_more(used.partitions, quota.partitions)
        || quota.size.as_ref().is_some_and(|limit| used.all_bytes(copies) > limit.bytes().into())
}

/// Whether `new` allows less of anything than `old`.
#[must_use]
pub fn is_lowered(old: &NamespaceQuota, new: &NamespaceQuota) -> bool {
    fn is_less<T: PartialOrd>(new: Option<T>, old: Option<T>) -> bool {
        new.is_some_and(|new| old.is_none_or(|old| new < old))
    }
    let bytes = |quota: &NamespaceQuota| quota.size.as_ref().map(Quantity::bytes);
    is_less(new.topics, old.topics)
        || is_less(new.partitions, old.partitions)
        || is_less(bytes(new), bytes(old))
}

/// The namespace of a Topic, and its Broker in words.
fn place(topic: &Topic) -> (&str, String) {
    let own = topic.metadata.namespace.as_deref().unwrap_or_default();
    let (namespace, name) = topic.spec.broker_of(own);
    (own, format!("Broker {namespace}/{name}"))
}

fn over(topic: &Topic, what: &str, (used, asked, quota): (String, String, String)) -> String {
    let (own, broker) = place(topic);
    format!(
        "more {what} than namespace {own} may have on {broker}: used {used}, asked {asked}, quota {quota}; ask the owner of {broker}, or delete a Topic"
    )
}

fn undeclared(topic: &Topic, limit: &Quantity, used: u128) -> String {
    let (own, broker) = place(topic);
    let room = u128::from(limit.bytes()).saturating_sub(used);
    format!(
        "{broker} has a quota of {limit} for each namespace, so say how much a partition keeps: set it so that partitions times size fit into the {} that namespace {own} has left there",
        size(room)
    )
}

fn size(bytes: u128) -> String {
    match u64::try_from(bytes) {
        Ok(bytes) if i64::try_from(bytes).is_ok() => Quantity::from_bytes(bytes).to_string(),
        _ => "more than any disk".to_owned(),
    }
}
