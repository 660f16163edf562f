//! Rules for groups and transactional ids, which all Topics of a Broker share: those that no Topic needs any more are taken away.

use super::desired::change_all;
use crate::{cluster::name_of, context::Context, controllers::broker, kafka::KafkaError};
use api::{Topic, condition::find, topic::conditions::IN_SYNC};
use control::{
    ObjectName,
    topics::{Acl, Change, revoke_shared},
};
use std::collections::BTreeSet;

/// Whether a Topic may have asked for more rules than it does now: it was on the broker before, and its spec changed or
/// the last try failed. To ask all Topics of a Broker what they need is too dear to do it each time.
pub(super) fn may_be_left(topic: &Topic) -> bool {
    let Some(status) = topic.status.as_ref().filter(|status| status.topic_id.is_some()) else { return false };
    let in_sync = find(&status.conditions, IN_SYNC).is_some_and(|in_sync| in_sync.status == "True");
    status.observed_generation != topic.metadata.generation || !in_sync
}

/// Takes away what of `acls` no Topic of the Broker of `topic` needs; `gone` is one that counts no more.
pub(super) async fn take_away(
    topic: &Topic,
    acls: &BTreeSet<Acl>,
    gone: Option<&ObjectName>,
    context: &Context,
) -> Result<(), KafkaError> {
    let home = super::broker_name(topic);
    let surplus = |acls: &BTreeSet<Acl>| revoke_shared(acls, &needed(&home, gone, context)?);
    if revoke_shared(acls, &BTreeSet::new()).is_none() || surplus(acls).is_none() {
        return Ok(());
    }
    // A Topic that came meanwhile may have found the rules in place: look again while nobody else does.
    let own = name_of(topic);
    let address = broker::address(&home);
    let rules = context.brokers.shared_rules(&address);
    let _alone = rules.write().await;
    let state = context.brokers.observe(&address, &topic.spec.log_name(&own.namespace, &own.name)).await?;
    let surplus: Vec<Change> = surplus(&state.acls).into_iter().collect();
    change_all(&address, &surplus, &context.brokers, &context.metrics.reconciles).await
}

/// The shared rules that the Topics of a Broker need. Two that are deleted at once must not wait for each other: what
/// is being deleted needs none. `None` while that is not known.
fn needed(home: &ObjectName, gone: Option<&ObjectName>, context: &Context) -> Option<BTreeSet<Acl>> {
    let engine = context.cluster.broker(home).map(|broker| broker.spec.engine).unwrap_or_default();
    let topics = context.cluster.topics_on(home);
    let others = topics.iter().filter(|other| {
        other.metadata.deletion_timestamp.is_none() && Some(&name_of(other.as_ref())) != gone
    });
    let wanted = others.map(|other| Some(super::wanted_on(engine, other, &context.cluster)?.shared_acls));
    Some(wanted.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
}
