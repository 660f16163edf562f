//! Fields of a Broker whose machinery comes later. They are answered, never ignored.

use super::{BrokerSpec, Engine};
use crate::field::FieldError;

/// Every field that is set and not supported yet, with what to do instead.
#[must_use]
pub fn not_supported(spec: &BrokerSpec) -> Vec<FieldError> {
    let mut found = Vec::new();
    if spec.engine == Engine::Kafka {
        found.push(FieldError::new("spec.engine", "Kafka is not supported yet; use Embedded"));
    }
    if spec.quota.is_some() {
        found.push(FieldError::new("spec.quota", "not supported yet: remove it"));
    }
    found
}
