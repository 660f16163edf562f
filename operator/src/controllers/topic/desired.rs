//! Brings a topic about: asks the broker, plans (pure, in `control::topics`), changes, asks again.

use super::validate::ValidTopic;
use crate::{
    kafka::{Address, FencedBrokers, KafkaError},
    metrics::ReconcileMetrics,
};
use control::topics::{Change, Difference, Observed, plan};

/// What is on the broker afterwards.
pub(super) struct Reached {
    /// The topic; `None` when we only look and it is not there.
    pub(super) topic: Option<Observed>,
    /// What stays different.
    pub(super) differences: Vec<Difference>,
}

pub(super) async fn bring_about(
    valid: &ValidTopic,
    brokers: &FencedBrokers,
    metrics: &ReconcileMetrics,
) -> Result<Reached, KafkaError> {
    let name = valid.wanted.name.as_str();
    let rules = brokers.group_rules(&valid.address);
    let _shared = rules.read().await;
    let state = brokers.observe(&valid.address, name).await?;
    let plan = plan(&valid.wanted, state.topic.as_ref(), &state.acls);
    let differences = plan.differences;
    if !valid.managed || plan.changes.is_empty() {
        return Ok(Reached { topic: state.topic, differences });
    }
    change_all(&valid.address, &plan.changes, brokers, metrics).await?;
    let topic = brokers.observe(&valid.address, name).await?.topic;
    Ok(Reached { topic, differences })
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
