//! The kind's machinery comes later. It is answered, never ignored.

use super::SubscriptionSpec;
use crate::field::FieldError;

/// The whole kind is not supported yet.
#[must_use]
pub fn not_supported(_: &SubscriptionSpec) -> Vec<FieldError> {
    vec![FieldError::new(
        "kind",
        "Subscription is not supported yet; have an app subscribe through its sidecar instead",
    )]
}
