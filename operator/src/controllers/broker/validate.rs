//! Pure: may this Broker be brought about?

use api::{
    Broker,
    broker::{conditions::ACCEPTED, not_supported},
    condition::{Part, REASON_INVALID, REASON_NOT_SUPPORTED},
    field::join,
};

/// The part of Ready that says why not.
pub(super) fn validate(broker: &Broker) -> Result<(), Part> {
    let wrong = api::broker::validate(broker);
    if !wrong.is_empty() {
        return Err(Part::bad(ACCEPTED, REASON_INVALID, join(&wrong)));
    }
    let missing = not_supported(&broker.spec);
    if !missing.is_empty() {
        return Err(Part::bad(ACCEPTED, REASON_NOT_SUPPORTED, join(&missing)));
    }
    Ok(())
}
