//! Pure: is an object as it was last applied? The hash finds what we changed, the comparison what others did.

use crate::hash::hash;
use serde::Serialize;
use serde_json::Value;

/// Hash of what was last applied, so that a field that we no longer set is noticed.
pub(super) const HASH_ANNOTATION: &str = "pinnace.dev/applied-hash";

/// The object as JSON, without nulls, with the hash of its content among its annotations.
pub(super) fn with_hash(object: &impl Serialize) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(object)?;
    let hash = hash(&value.to_string(), 16);
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations =
            metadata.entry("annotations").or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(HASH_ANNOTATION.to_owned(), Value::String(hash));
        }
    }
    Ok(value)
}

/// Whether `present` has every field of `wanted`. Lists must be equally long, since all our lists are whole.
#[must_use]
pub fn is_applied(wanted: &Value, present: &Value) -> bool {
    match (wanted, present) {
        (Value::Object(wanted), Value::Object(present)) => wanted.iter().all(|(key, wanted)| {
            present.get(key).map_or_else(|| is_empty(wanted), |present| is_applied(wanted, present))
        }),
        (Value::Array(wanted), Value::Array(present)) => {
            wanted.len() == present.len()
                && wanted.iter().zip(present).all(|(wanted, present)| is_applied(wanted, present))
        }
        (wanted, present) => wanted == present,
    }
}

/// What the API server leaves out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
