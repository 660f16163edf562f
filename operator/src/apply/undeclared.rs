//! Fields of a status that the CRD which is served does not have, as when the operator was upgraded and its CRDs were not. The
//! API server refuses an apply that has one. They are left out, so that all else of the status is told, and it is logged once
//! which CRD to upgrade.

use serde_json::Value;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How the API server's schema ends each complaint; before it stands the field's path.
const COMPLAINT: &str = ": field not declared in schema";
/// No message names more fields than this; what is left is refused again.
const FIELDS_MAX: usize = 64;

/// Paths such as `.status.storage.usedPercent`, by kind.
#[derive(Default)]
pub(super) struct Undeclared(Mutex<HashMap<String, BTreeSet<String>>>);

impl Undeclared {
    /// The status without what is known to be undeclared.
    pub(super) fn without(&self, kind: &str, status: &Value) -> Value {
        let known = self.lock();
        let mut status = status.clone();
        for path in known.get(kind).into_iter().flatten() {
            remove(&mut status, path);
        }
        status
    }

    /// Takes what the API server said of a status; `None` when it complains of nothing that can be left out, else the rest.
    pub(super) fn learn(&self, kind: &str, message: &str, status: &Value) -> Option<Value> {
        let found = fields(message);
        let mut rest = status.clone();
        for path in &found {
            remove(&mut rest, path);
        }
        if rest == *status {
            return None;
        }
        let mut known = self.lock();
        let known = known.entry(kind.to_owned()).or_default();
        for path in found {
            if known.insert(path.clone()) {
                tracing::warn!(
                    kind,
                    field = path,
                    "left out of the status: the CRD is older than the operator; upgrade it, with helm or from files/crds of the chart"
                );
            }
        }
        Some(rest)
    }

    /// All was taken: the CRD is new enough.
    pub(super) fn forget(&self, kind: &str) {
        self.lock().remove(kind);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fields of a status that a message of the API server complains of: one in its line, or several in a line each.
fn fields(message: &str) -> BTreeSet<String> {
    let complaints = message.lines().filter_map(|line| line.trim_end().strip_suffix(COMPLAINT));
    let paths = complaints.filter_map(|line| line.split_whitespace().next_back());
    paths.filter(|path| path.starts_with(".status.")).take(FIELDS_MAX).map(str::to_owned).collect()
}

/// Takes a field away, in every element where its path goes through a list.
fn remove(status: &mut Value, path: &str) {
    let names: Vec<&str> =
        path.split('.').skip(2).map(|name| name.split('[').next().unwrap_or(name)).collect();
    if let Some((last, parents)) = names.split_last() {
        remove_in(status, parents, last);
    }
}

fn remove_in(value: &mut Value, parents: &[&str], last: &str) {
    match (value, parents) {
        (Value::Array(items), _) => items.iter_mut().for_each(|item| remove_in(item, parents, last)),
        (Value::Object(fields), []) => drop(fields.remove(last)),
        (Value::Object(fields), [first, rest @ ..]) => {
            if let Some(inner) = fields.get_mut(*first) {
                remove_in(inner, rest, last);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ONE: &str = "failed to create typed patch object (shop/default; pinnace.dev/v1alpha1, Kind=Broker): .status.storage.usedPercent: field not declared in schema";
    const TWO: &str = "failed to create typed patch object (shop/default; pinnace.dev/v1alpha1, Kind=Broker): errors:\n  .status.rack: field not declared in schema\n  .status.brokers[id=1].zone: field not declared in schema";

    fn status() -> Value {
        json!({"rack": "a", "brokers": [{"id": 1, "zone": "z"}], "storage": {"used": "1Gi", "usedPercent": 7}})
    }

    /// Goal: exactly the fields that are complained of are left out, from then on, until all is taken.
    #[test]
    fn what_is_not_declared_is_left_out() {
        let all = Undeclared::default();
        let rest = all.learn("Broker", ONE, &status()).unwrap();
        assert_eq!(rest["storage"], json!({"used": "1Gi"}));
        assert_eq!(rest["rack"], "a");
        let rest = all.learn("Broker", TWO, &status()).unwrap();
        assert_eq!(rest, json!({"brokers": [{"id": 1}], "storage": {"used": "1Gi", "usedPercent": 7}}));
        assert_eq!(
            all.without("Broker", &status()),
            json!({"brokers": [{"id": 1}], "storage": {"used": "1Gi"}})
        );
        assert_eq!(all.without("Topic", &status()), status());
        all.forget("Broker");
        assert_eq!(all.without("Broker", &status()), status());
    }

    /// Goal: another complaint is no reason to leave anything out.
    #[test]
    fn other_complaints_stay() {
        let all = Undeclared::default();
        for message in [
            "",
            "forbidden",
            COMPLAINT,
            ".spec.x: field not declared in schema",
            ".status.: field not declared in schema",
        ] {
            assert_eq!(all.learn("Broker", message, &status()), None, "{message}");
        }
        assert_eq!(all.learn("Broker", ONE, &json!({"storage": {"used": "1Gi"}})), None, "it is not there");
    }

    proptest::proptest! {
        /// Goal: no text breaks it, and nothing is made up.
        #[test]
        fn any_message_is_survived(message in "(\\PC|[.\\[\\]\n]|: field not declared in schema){0,40}") {
            if let Some(rest) = Undeclared::default().learn("Broker", &message, &status()) {
                assert!(rest.to_string().len() < status().to_string().len());
            }
        }
    }
}
