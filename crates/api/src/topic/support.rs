//! Fields of a Topic whose machinery comes later. They are answered, never ignored.

use super::{ManagementPolicy, TopicSpec, config};
use crate::field::FieldError;

/// Every field that is set and not supported yet, with what to do instead.
#[must_use]
pub fn not_supported(spec: &TopicSpec) -> Vec<FieldError> {
    let mut found = Vec::new();
    if spec.management_policy == ManagementPolicy::Adopt {
        found.push(FieldError::new(
            "spec.managementPolicy",
            "Adopt is not supported yet; use Full, which also takes over a topic of this name",
        ));
    }
    for name in spec.config.keys().filter(|name| config::KAFKA_ONLY.contains(&name.as_str())) {
        found.push(FieldError::new(
            format!("spec.config[{name}]"),
            format!("not supported by engine Embedded; it knows {}", config::EMBEDDED.join(", ")),
        ));
    }
    found
}
