//! Pure: may this Broker be brought about?

use api::{
    Broker,
    broker::{Engine, conditions::ACCEPTED},
    condition::{Part, REASON_INVALID, REASON_NOT_SUPPORTED},
    field::join,
};

/// The part of Ready that says why not.
pub(super) fn validate(broker: &Broker) -> Result<(), Part> {
    let wrong = api::broker::validate(broker);
    if !wrong.is_empty() {
        return Err(Part::bad(ACCEPTED, REASON_INVALID, join(&wrong)));
    }
    // The webhook refuses it too; who went round it is told here.
    let nodes = broker.status.as_ref().map_or(0, |status| status.brokers.len());
    if broker.spec.engine == Engine::Kafka
        && nodes > 0
        && let Err(problem) = broker.spec.can_come_from(i32::try_from(nodes).unwrap_or(i32::MAX))
    {
        return Err(Part::bad(ACCEPTED, REASON_NOT_SUPPORTED, format!("spec.replicas: {problem}")));
    }
    Ok(())
}
