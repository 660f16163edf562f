//! `spec.quota` of Brokers, as the operator keeps it: a Topic that asks for more than its namespace may take is left out, and
//! one that would grow past it stays as it was. Files have no age, so Topics that were there come first, then their names.

use super::Manifests;
use api::quota::{Limits, Used, asked, exceeded};
use api::{Topic, field::FieldError};
use control::ObjectName;
use std::collections::BTreeMap;

/// What the namespaces take, by Broker and namespace.
type Taken = BTreeMap<(ObjectName, String), Used>;

/// Where a Topic counts.
fn place(name: &ObjectName, topic: &Topic) -> (ObjectName, String) {
    let (namespace, broker) = topic.spec.broker_of(&name.namespace);
    (ObjectName::new(namespace, broker), name.namespace.clone())
}

/// Judges all Topics of Brokers with a quota; `before` is what the last reading found.
pub(super) fn check(found: &mut Manifests, before: &Manifests) {
    let mut names: Vec<ObjectName> = found.topics.keys().cloned().collect();
    names.sort_by_key(|name| !before.topics.contains_key(name));
    let mut taken = Taken::new();
    for name in &names {
        let old = before.topics.get(name);
        if let Some((old, share)) = old.and_then(|old| Some((old, asked(old)?))) {
            taken.entry(place(name, old)).or_default().add(share);
        }
    }
    for name in names {
        let old = before.topics.get(&name);
        let errors = judge(found, &name, old, &mut taken);
        if errors.is_empty() {
            continue;
        }
        match old {
            Some(old) => drop(found.topics.insert(name.clone(), old.clone())),
            None => drop(found.topics.remove(&name)),
        }
        for error in errors {
            let problem = found.problem_of("Topic", &name, &error.field, error.problem);
            found.problems.push(problem);
        }
    }
}

/// What a Topic has no room for; what it has room for is taken.
fn judge(found: &Manifests, name: &ObjectName, old: Option<&Topic>, taken: &mut Taken) -> Vec<FieldError> {
    let Some(topic) = found.topics.get(name) else { return Vec::new() };
    let home = place(name, topic);
    let Some(limits) = found.brokers.get(&home.0).and_then(|broker| Limits::of(&broker.spec)) else {
        return Vec::new();
    };
    let before = old.filter(|old| place(name, old) == home).and_then(asked);
    let used = taken.entry(home).or_default();
    let mut others = *used;
    before.into_iter().for_each(|share| others.remove(share));
    let mut topic = topic.clone();
    // A manifest need not say it.
    topic.metadata.namespace = Some(name.namespace.clone());
    let errors = exceeded(limits, &topic, before, &others);
    if errors.is_empty() {
        asked(&topic).into_iter().for_each(|share| others.add(share));
        *used = others;
    }
    errors
}
