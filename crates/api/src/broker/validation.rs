//! Pure: what is wrong with a Broker that one can tell from it alone, or from it and its former self.

use super::{Broker, Engine, NamespacesFrom, config};
use crate::{field::FieldError, labels, names::ObjectName};
use k8s_openapi::api::core::v1::Affinity;

/// Longest name: pods are called `NAME-broker-0`, and their labels carry a hash after it.
pub const NAME_LENGTH_MAX: usize = 40;
/// Smallest volume, in bytes.
const STORAGE_BYTES_MIN: u64 = 16 << 20;
const REPLICAS_MAX: i32 = 100;
/// Most Topics or partitions that a quota can name.
const QUOTA_MAX: i32 = 1_000_000;

/// Everything that is wrong with this Broker.
#[must_use]
pub fn validate(broker: &Broker) -> Vec<FieldError> {
    let spec = &broker.spec;
    let mut errors = Vec::new();
    let name = broker.metadata.name.as_deref().unwrap_or_default();
    if let Err(error) = name.parse::<ObjectName>() {
        errors.push(FieldError::new("metadata.name", error.to_string()));
    } else if name.len() > NAME_LENGTH_MAX {
        errors.push(FieldError::new("metadata.name", format!("at most {NAME_LENGTH_MAX} characters")));
    }
    match (spec.engine, spec.replicas) {
        (Engine::Embedded, Some(replicas)) if replicas != 1 => errors.push(FieldError::new(
            "spec.replicas",
            "engine Embedded is one node and does not replicate: remove replicas, or use engine Kafka",
        )),
        (Engine::Kafka, Some(replicas)) if !(1..=REPLICAS_MAX).contains(&replicas) => errors.push(
            FieldError::new("spec.replicas", format!("{replicas} is out of range: use 1 to {REPLICAS_MAX}")),
        ),
        _ => {}
    }
    if spec.storage.size.bytes() < STORAGE_BYTES_MIN {
        errors.push(FieldError::new("spec.storage.size", format!("{} is below 16Mi", spec.storage.size)));
    }
    let by_selector = spec.allowed_namespaces.from == NamespacesFrom::Selector;
    if spec.allowed_namespaces.selector.is_some() != by_selector {
        errors.push(FieldError::new(
            "spec.allowedNamespaces.selector",
            "belongs to from Selector: set both or neither",
        ));
    }
    errors.extend(validate_quota(broker));
    match spec.engine {
        Engine::Embedded => errors.extend(validate_config(broker)),
        Engine::Kafka => errors.extend(validate_kafka_config(broker)),
    }
    errors.extend(validate_template(broker));
    errors
}

fn validate_quota(broker: &Broker) -> impl Iterator<Item = FieldError> {
    let quota = broker.spec.namespace_quota();
    let count = |field: &'static str, count: Option<i32>| {
        let count = count.filter(|count| !(0..=QUOTA_MAX).contains(count))?;
        let field = format!("spec.quota.perNamespace.{field}");
        Some(FieldError::new(field, format!("{count} is out of range: use 0 to {QUOTA_MAX}")))
    };
    let counts = quota.map(|quota| [("topics", quota.topics), ("partitions", quota.partitions)]);
    counts.into_iter().flatten().filter_map(move |(field, number)| count(field, number))
}

fn validate_config(broker: &Broker) -> impl Iterator<Item = FieldError> {
    broker.spec.config.iter().filter_map(|(name, value)| {
        let field = || format!("spec.config[{name}]");
        if !config::EMBEDDED.contains(&name.as_str()) {
            let known = config::EMBEDDED.join(", ");
            return Some(FieldError::new(
                field(),
                format!("no such setting; the Embedded engine knows {known}"),
            ));
        }
        if value.contains(['\n', '\r']) {
            return Some(FieldError::new(field(), "must be one line"));
        }
        if config::RATIOS.contains(&name.as_str()) {
            let fits = value.parse::<f64>().is_ok_and(|ratio| (0.0..=1.0).contains(&ratio));
            let error = || FieldError::new(field(), format!("`{value}` is not a number from 0 to 1"));
            return (!fits).then(error);
        }
        if !config::WORDS.contains(&name.as_str()) && value.parse::<i64>().is_err() {
            return Some(FieldError::new(field(), format!("`{value}` is not a whole number")));
        }
        None
    })
}

/// What Kafka knows it checks itself, at its start; what the operator owns is refused here.
fn validate_kafka_config(broker: &Broker) -> impl Iterator<Item = FieldError> {
    broker.spec.config.iter().filter_map(|(name, value)| {
        let error = |problem: &str| Some(FieldError::new(format!("spec.config[{name}]"), problem.to_owned()));
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        if !is_name {
            return error("is no name of a setting: use letters, digits, points, `-` and `_`");
        }
        if config::is_owned(name) {
            return error("is written by the operator: remove it");
        }
        if value.contains(['\n', '\r']) || value.ends_with('\\') {
            return error("must be one line, and not end with a backslash");
        }
        if value.contains("${") {
            return error("must not refer to a config provider");
        }
        None
    })
}

fn validate_template(broker: &Broker) -> Vec<FieldError> {
    let Some(template) = &broker.spec.template else { return Vec::new() };
    let mut errors = Vec::new();
    if let Err(error) = affinity(template.affinity.as_ref()) {
        errors.push(error);
    }
    for (field, keys) in [("labels", &template.labels), ("annotations", &template.annotations)] {
        for key in keys.keys().filter(|key| is_ours(key)) {
            errors.push(FieldError::new(
                format!("spec.template.{field}[{key}]"),
                "is written by the operator: choose another key",
            ));
        }
    }
    errors
}

fn is_ours(key: &str) -> bool {
    key.starts_with("pinnace.dev/")
        || [labels::NAME, labels::INSTANCE, labels::COMPONENT, labels::MANAGED_BY].contains(&key)
}

/// The affinity of `spec.template`, which the schema leaves open to stay small.
///
/// # Errors
/// A field of a wrong type, or one that Kubernetes does not know.
pub fn affinity(value: Option<&serde_json::Value>) -> Result<Option<Affinity>, FieldError> {
    const FIELD: &str = "spec.template.affinity";
    let Some(value) = value else { return Ok(None) };
    let affinity: Affinity = crate::decode::decode(value)
        .map_err(|error| FieldError::new(format!("{FIELD}.{}", error.field), error.problem))?;
    let known = serde_json::to_value(&affinity).map_err(|error| FieldError::new(FIELD, error.to_string()))?;
    match first_lost(value, &known, FIELD) {
        Some(field) => Err(FieldError::new(field, "unknown field")),
        None => Ok(Some(affinity)),
    }
}

/// The first field of `given` that `known` does not have.
fn first_lost(given: &serde_json::Value, known: &serde_json::Value, path: &str) -> Option<String> {
    use serde_json::Value;
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => given.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            known.get(key).map_or_else(|| Some(path.clone()), |known| first_lost(value, known, &path))
        }),
        (Value::Array(given), Value::Array(known)) => given
            .iter()
            .zip(known)
            .enumerate()
            .find_map(|(index, (given, known))| first_lost(given, known, &format!("{path}[{index}]"))),
        _ => None,
    }
}

/// Everything that must not change from `old` to `new`.
#[must_use]
pub fn validate_update(old: &Broker, new: &Broker) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if old.spec.engine != new.spec.engine {
        errors.push(FieldError::new("spec.engine", "cannot change: make a new Broker"));
    }
    if (old.spec.engine, new.spec.engine) == (Engine::Kafka, Engine::Kafka)
        && let Err(problem) = new.spec.can_come_from(old.spec.nodes())
    {
        errors.push(FieldError::new("spec.replicas", problem));
    }
    let (before, after) = (&old.spec.storage, &new.spec.storage);
    if after.size.bytes() < before.size.bytes() {
        errors.push(FieldError::new(
            "spec.storage.size",
            format!("cannot shrink from {} to {}: volumes only grow", before.size, after.size),
        ));
    }
    if before.class_name != after.class_name {
        errors.push(FieldError::new("spec.storage.className", "cannot change: make a new Broker"));
    }
    errors
}
