//! Brings a topic about: asks the broker, plans (pure, in `control::topics`), changes, asks again.

use super::{copies, shared, validate::ValidTopic};
use crate::{
    context::Context,
    kafka::{Address, FencedBrokers, KafkaError},
    metrics::ReconcileMetrics,
};
use api::{
    Topic,
    condition::{Part, find},
    topic::conditions::{IN_SYNC, REASON_TOPIC_NOT_FOUND},
};
use control::topics::{Acl, Change, Difference, Observed, plan};
use runtime::random::jittered;
use std::{collections::BTreeSet, time::Duration};

/// How often, and after which pause, changes are looked for that are not to be seen yet.
const SEEN_TRIES: u32 = 10;
const SEEN_PAUSE: Duration = Duration::from_millis(300);

/// What is on the broker afterwards.
pub(super) struct Reached {
    /// The topic; `None` when we only look and it is not there.
    pub(super) topic: Option<Observed>,
    /// What stays different.
    pub(super) differences: Vec<Difference>,
    /// How the number of its copies stands; none where nobody asks for one.
    pub(super) copies: Option<Part>,
    /// The topic was there before this object ever reached the broker.
    pub(super) adopted: bool,
}

pub(super) async fn bring_about(
    topic: &Topic,
    valid: &ValidTopic,
    context: &Context,
) -> Result<Reached, KafkaError> {
    let (brokers, metrics) = (&context.brokers, &context.metrics.reconciles);
    let (mut reached, acls) = open(topic, valid, brokers, metrics).await?;
    if valid.managed && shared::may_be_left(topic) {
        // This Topic may have let in others before.
        let surplus = acls.difference(&valid.wanted.shared_acls).cloned().collect();
        shared::take_away(topic, &surplus, None, context).await?;
    }
    reached.copies = copies::bring_about(topic, valid, &mut reached, context).await?;
    Ok(reached)
}

/// What is there and how it becomes as wanted, but for shared rules that are too many.
async fn open(
    topic: &Topic,
    valid: &ValidTopic,
    brokers: &FencedBrokers,
    metrics: &ReconcileMetrics,
) -> Result<(Reached, BTreeSet<Acl>), KafkaError> {
    let name = valid.wanted.name.as_str();
    let rules = brokers.shared_rules(&valid.address);
    let _shared = rules.read().await;
    let state = brokers.observe(&valid.address, name).await?;
    let plan = plan(&valid.wanted, state.topic.as_ref(), &state.acls);
    let adopted = valid.managed && is_new(topic) && state.topic.is_some();
    if !valid.managed || plan.changes.is_empty() {
        return Ok((
            Reached { topic: state.topic, differences: plan.differences, copies: None, adopted },
            state.acls,
        ));
    }
    change_all(&valid.address, &plan.changes, brokers, metrics).await?;
    let topic = seen(valid, brokers).await?;
    Ok((Reached { topic, differences: plan.differences, copies: None, adopted }, state.acls))
}

/// Whether the object never reached its broker. One whose topic was made and was not to be seen afterwards did.
fn is_new(topic: &Topic) -> bool {
    topic.status.as_ref().is_none_or(|status| {
        let made = find(&status.conditions, IN_SYNC).is_some_and(|in_sync| {
            in_sync.reason == REASON_TOPIC_NOT_FOUND
                && status.observed_generation == topic.metadata.generation
        });
        status.topic_id.is_none() && !made
    })
}

/// The topic as it is after changes. A node of a cluster may be asked before it has heard of them, so what is not to be seen
/// yet is looked for again for a while.
async fn seen(valid: &ValidTopic, brokers: &FencedBrokers) -> Result<Option<Observed>, KafkaError> {
    let wanted = &valid.wanted;
    for _ in 1..SEEN_TRIES {
        let state = brokers.observe(&valid.address, &wanted.name).await?;
        let is_there = state.topic.as_ref().is_some_and(|topic| topic.partitions >= wanted.partitions);
        if is_there && wanted.acls.is_subset(&state.acls) {
            return Ok(state.topic);
        }
        tokio::time::sleep(jittered(SEEN_PAUSE)).await;
    }
    Ok(brokers.observe(&valid.address, &wanted.name).await?.topic)
}

/// Makes changes in their order; the first failure ends it.
pub(super) async fn change_all(
    address: &Address,
    changes: &[Change],
    brokers: &FencedBrokers,
    metrics: &ReconcileMetrics,
) -> Result<(), KafkaError> {
    for change in changes {
        let outcome = brokers.change(address, change).await;
        metrics.changed(label(change), if outcome.is_ok() { "ok" } else { "failed" });
        outcome?;
        tracing::info!(bootstrap = address.bootstrap, ?change, "changed a topic");
    }
    Ok(())
}

fn label(change: &Change) -> &'static str {
    match change {
        Change::Create { .. } => "create",
        Change::Grow { .. } => "grow",
        Change::Configure { .. } => "configure",
        Change::Allow(_) => "allow",
        Change::Revoke(_) => "revoke",
        Change::Delete { .. } => "delete",
    }
}
