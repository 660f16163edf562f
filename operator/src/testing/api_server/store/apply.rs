//! Server-side apply on JSON: objects are merged, lists replaced, finalizers a set.

use serde_json::Value;

/// Puts the fields of `wanted` into `object`.
pub(super) fn applied(object: &mut Value, wanted: &Value) {
    match (object, wanted) {
        (Value::Object(object), Value::Object(wanted)) => {
            for (key, value) in wanted {
                let field = object.entry(key.clone()).or_insert(Value::Null);
                match (key.as_str(), field.as_array_mut(), value.as_array()) {
                    ("finalizers", Some(present), Some(value)) => {
                        let missing: Vec<Value> =
                            value.iter().filter(|name| !present.contains(name)).cloned().collect();
                        present.extend(missing);
                    }
                    _ => applied(field, value),
                }
            }
        }
        (object, wanted) => *object = wanted.clone(),
    }
}

/// A strategic merge on the way to a plain one: init containers are merged by their names, all other lists replaced.
pub(super) fn merge_by_name(object: &Value, patch: &mut Value) {
    let list = |value: &Value| value.pointer("/spec/initContainers").and_then(Value::as_array).cloned();
    let (Some(mut present), Some(changes)) = (list(object), list(patch)) else { return };
    for change in changes {
        let same = present.iter_mut().find(|container| container["name"] == change["name"]);
        if let Some(container) = same {
            json_patch::merge(container, &change);
        }
    }
    patch["spec"]["initContainers"] = Value::Array(present);
}

/// Takes away what the manager set `before` and sets no longer.
pub(super) fn take_away(object: &mut Value, before: &Value, wanted: &Value) {
    let (Value::Object(object), Value::Object(before)) = (object, before) else { return };
    for (key, value) in before {
        let now = wanted.get(key);
        match (key.as_str(), object.get_mut(key), value.as_array()) {
            ("finalizers", Some(Value::Array(present)), Some(value)) => {
                let kept = now.and_then(Value::as_array);
                present.retain(|name| !value.contains(name) || kept.is_some_and(|kept| kept.contains(name)));
            }
            (_, Some(field), _) if now.is_some() && field.is_object() => {
                take_away(field, value, now.unwrap_or(&Value::Null));
            }
            (_, Some(_), _) if now.is_none() => drop(object.remove(key)),
            _ => {}
        }
    }
}
