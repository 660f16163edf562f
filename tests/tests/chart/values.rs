//! The values: explained, and the same in values.yaml and its schema.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::helm;

fn schema() -> Value {
    let text = fs::read_to_string(helm::root().join("charts/pinnace/values.schema.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn defaults() -> Value {
    let text = fs::read_to_string(helm::root().join("charts/pinnace/values.yaml")).unwrap();
    serde_yaml::from_str(&text).unwrap()
}

/// The paths of all properties that a person sets, each with its schema. What is a Kubernetes type, or the same at
/// several places, is one property.
fn properties<'a>(schema: &'a Value, path: &str, found: &mut Vec<(String, &'a Value)>) {
    let Some(all) = schema["properties"].as_object() else { return };
    for (key, property) in all {
        let place = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let opaque = ["resources", "affinity"].contains(&key.as_str());
        found.push((place.clone(), property));
        if !opaque {
            properties(property, &place, found);
        }
    }
}

fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Value::Object(members) = value {
        for (key, member) in members {
            let place = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            paths(member, &place, found);
            found.insert(place);
        }
    }
}

/// Goal: every value has a description in the schema, and every object in it refuses what it does not know or says
/// of which type its members are.
#[test]
fn every_value_is_described() {
    let schema = schema();
    let mut all = Vec::new();
    properties(&schema, "", &mut all);
    assert!(all.len() > 60, "only {} properties", all.len());
    for (path, property) in all {
        let text = property["description"].as_str().unwrap_or_default();
        assert!(text.ends_with('.'), "{path} has no description: {text:?}");
        if property["type"] == "object" && path != "global" {
            assert!(!property["additionalProperties"].is_null(), "{path} takes anything");
        }
    }
}

/// Goal: values.yaml shows every value that the schema knows.
#[test]
fn every_value_has_a_default() {
    let schema = schema();
    let mut known = Vec::new();
    properties(&schema, "", &mut known);
    let mut shown = BTreeSet::new();
    paths(&defaults(), "", &mut shown);
    for (path, _) in known.iter().filter(|(path, _)| path != "global") {
        assert!(shown.contains(path), "values.yaml does not show {path}");
    }
}
