//! Pure: what is wrong with a Topic that one can tell from it alone, or from it and its former self.
//! The schema says most of this too; local mode has no API server, and the webhook answers with better words.

use super::{Topic, config};
use crate::{field::FieldError, names::ObjectName};
use kube::Resource;

const PARTITIONS_MAX: i32 = 10_000;
const REPLICAS_MAX: i32 = 32;
const CONFIG_ENTRIES_MAX: usize = 64;
/// Longest value of one configuration, in bytes.
const CONFIG_VALUE_BYTES_MAX: usize = 1024;
/// Largest message that the broker's frame limit allows, in bytes.
const MESSAGE_BYTES_MAX: u64 = 64 << 20;

/// Why a Topic has no audit mode; the schema says the same.
const AUDIT_REFUSED: &str =
    "Audit is for Channels: a Topic's lists become rules of its broker, which has no audit mode; remove mode";

/// Everything that is wrong with this Topic.
#[must_use]
pub fn validate(topic: &Topic) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &topic.spec;
    let name = topic.meta().name.as_deref().unwrap_or_default();
    if let Err(error) = name.parse::<ObjectName>() {
        errors.push(FieldError::new("metadata.name", error.to_string()));
    }
    if !(1..=PARTITIONS_MAX).contains(&spec.partitions) {
        errors.push(FieldError::new(
            "spec.partitions",
            format!("{} is out of range: use 1 to {PARTITIONS_MAX}", spec.partitions),
        ));
    }
    if let Some(replicas) = spec.replicas.filter(|replicas| !(1..=REPLICAS_MAX).contains(replicas)) {
        errors.push(FieldError::new(
            "spec.replicas",
            format!("{replicas} is out of range: use 1 to {REPLICAS_MAX}"),
        ));
    }
    let mut cleanup = spec.cleanup.clone();
    cleanup.sort();
    cleanup.dedup();
    if cleanup.is_empty() || cleanup.len() != spec.cleanup.len() {
        errors.push(FieldError::new("spec.cleanup", "name Delete, Compact or both, each once"));
    }
    if let Some(size) = &spec.max_message_size
        && !(1..=MESSAGE_BYTES_MAX).contains(&size.bytes())
    {
        errors.push(FieldError::new("spec.maxMessageSize", format!("{size} is out of range: use 1 to 64Mi")));
    }
    errors.extend(crate::access::validate(spec.access.as_ref()));
    if crate::access::is_audited(spec.access.as_ref()) {
        errors.push(FieldError::new("spec.access.mode", AUDIT_REFUSED));
    }
    validate_config(topic, &mut errors);
    errors
}

fn validate_config(topic: &Topic, errors: &mut Vec<FieldError>) {
    let entries = &topic.spec.config;
    if entries.len() > CONFIG_ENTRIES_MAX {
        errors.push(FieldError::new("spec.config", format!("at most {CONFIG_ENTRIES_MAX} entries")));
    }
    for (name, value) in entries {
        let field = || format!("spec.config[{name}]");
        let known = |list: &[&str]| list.contains(&name.as_str());
        if !known(&config::EMBEDDED) && !known(&config::KAFKA_ONLY) {
            errors.push(FieldError::new(
                field(),
                format!(
                    "no such topic configuration; the Embedded engine knows {}",
                    config::EMBEDDED.join(", ")
                ),
            ));
        } else if value.len() > CONFIG_VALUE_BYTES_MAX {
            errors.push(FieldError::new(field(), format!("longer than {CONFIG_VALUE_BYTES_MAX} bytes")));
        } else if known(&config::RATIOS) {
            if !value.parse::<f64>().is_ok_and(|ratio| (0.0..=1.0).contains(&ratio)) {
                errors.push(FieldError::new(field(), format!("`{value}` is not a number from 0 to 1")));
            }
        } else if known(&config::EMBEDDED) && !known(&config::WORDS) && value.parse::<i64>().is_err() {
            errors.push(FieldError::new(field(), format!("`{value}` is not a whole number")));
        } else if name == "cleanup.policy" {
            errors.push(FieldError::new(field(), "use spec.cleanup instead"));
        }
    }
}

/// Everything that must not change from `old` to `new`.
#[must_use]
pub fn validate_update(old: &Topic, new: &Topic) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if old.spec.topic_name != new.spec.topic_name {
        errors.push(FieldError::new(
            "spec.topicName",
            "cannot change: make a new Topic and move the apps to it",
        ));
    }
    if old.spec.broker != new.spec.broker {
        errors.push(FieldError::new(
            "spec.broker",
            "cannot change, since the data would stay behind: make a new Topic and move the apps to it",
        ));
    }
    if new.spec.partitions < old.spec.partitions {
        errors.push(FieldError::new(
            "spec.partitions",
            format!(
                "cannot shrink from {} to {}, since messages would be lost: make a new Topic",
                old.spec.partitions, new.spec.partitions
            ),
        ));
    }
    errors
}
