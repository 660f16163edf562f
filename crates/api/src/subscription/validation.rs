//! Pure: what is wrong with a Subscription that one can tell from it alone.

use super::Subscription;
use crate::{field::FieldError, names::ObjectName};

const SCHEDULE_ENTRIES_MAX: usize = 32;
const URL_BYTES_MAX: usize = 2048;

/// Everything that is wrong with this Subscription.
#[must_use]
pub fn validate(subscription: &Subscription) -> Vec<FieldError> {
    let spec = &subscription.spec;
    let mut errors = Vec::new();
    if let Err(error) = subscription.metadata.name.as_deref().unwrap_or_default().parse::<ObjectName>() {
        errors.push(FieldError::new("metadata.name", error.to_string()));
    }
    if spec.source.topic.is_some() == spec.source.channel.is_some() {
        errors.push(FieldError::new("spec.source", "name a topic or a channel, exactly one"));
    }
    let url = spec.deliver.url.as_str();
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    if host.is_empty() || url.len() > URL_BYTES_MAX || url.contains(char::is_whitespace) {
        errors.push(FieldError::new(
            "spec.deliver.url",
            "not an http:// or https:// URL of at most 2048 bytes",
        ));
    }
    if spec.retry.schedule.len() > SCHEDULE_ENTRIES_MAX {
        errors
            .push(FieldError::new("spec.retry.schedule", format!("at most {SCHEDULE_ENTRIES_MAX} entries")));
    }
    let percent = spec.retry.jitter.strip_suffix('%').and_then(|digits| digits.parse::<u8>().ok());
    if percent.is_none_or(|percent| percent > 100) {
        errors.push(FieldError::new("spec.retry.jitter", "write a percentage such as 20%"));
    }
    errors
}
