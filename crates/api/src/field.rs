//! What validation says: which field, what is wrong with it, what to change. Never how it is shown.

use std::fmt;

/// One thing that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Path from the root of the object, such as `spec.retention.time`.
    pub field: String,
    /// What is wrong and what to change, lower case, without a full stop.
    pub problem: String,
}

impl FieldError {
    /// A problem with one field.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.field, self.problem)
    }
}

impl std::error::Error for FieldError {}

/// Several problems as one line, for conditions and answers of the webhook.
#[must_use]
pub fn join(errors: &[FieldError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
