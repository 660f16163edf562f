//! Fields of a Broker whose machinery comes later. They are answered, never ignored.

use super::BrokerSpec;
use crate::field::FieldError;

/// Every field that is set and not supported yet, with what to do instead.
#[must_use]
pub fn not_supported(spec: &BrokerSpec) -> Vec<FieldError> {
    let mut found = Vec::new();
    if spec.quota.is_some() {
        found.push(FieldError::new("spec.quota", "not supported yet: remove it"));
    }
    found
}
