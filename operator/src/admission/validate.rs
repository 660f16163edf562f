//! Objects of our kinds: what is wrong with one, seen with the others around it. Pure.
//!
//! One object alone is judged by `api`. Here come the rules that need another object. Each of
//! them is a condition in the object's status as well, since the others may change afterwards;
//! so what is not known here is let through.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::access::{Access, Action, grants};
use api::broker::{AllowedNamespaces, Broker, Engine, NamespacesFrom};
use api::field::{self, FieldError};
use api::quota::{self, Limits, Used};
use api::{Channel, Subscription, Topic, broker, channel, decode, labels, subscription, topic};
use kube::ResourceExt as _;
use kube::core::{Selector, SelectorExt as _};
use serde::de::DeserializeOwned;

use super::review::Request;

/// Names in a message are cut off here; the count follows.
const NAMES_MAX: usize = 5;

/// The other objects of the cluster. A replica is not ready before it knows them all.
pub trait Surroundings: Send + Sync {
    /// A Broker.
    fn broker(&self, namespace: &str, name: &str) -> Option<Arc<Broker>>;
    /// The Topics on a Broker, which is given as namespace and name.
    fn topics_on(&self, broker: (&str, &str)) -> Vec<Arc<Topic>>;
    /// Those of them that claim a name.
    fn claimants(&self, broker: (&str, &str), log_name: &str) -> Vec<Arc<Topic>>;
    /// What the other Topics of the namespace of a Topic take of a Broker, which are given as namespace and name.
    fn used_by_others(&self, broker: (&str, &str), topic: (&str, &str)) -> Used;
    /// What each namespace takes of a Broker.
    fn used(&self, broker: (&str, &str)) -> BTreeMap<String, Used>;
    /// The labels of a namespace.
    fn namespace_labels(&self, namespace: &str) -> Option<BTreeMap<String, String>>;
    /// What a namespace says of the users that its Pods may run as, where it does: OpenShift's range of user ids.
    fn uid_range(&self, namespace: &str) -> Option<String>;
    /// Why nothing of a namespace can be used by others; `None` when it can.
    fn outside(&self, namespace: &str) -> Option<String>;
    /// Whether a namespace is being deleted, or gone.
    fn namespace_is_going(&self, namespace: &str) -> bool;
}

/// The outcome for one object.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to say.
    Fine,
    /// Let in, with something that its author should know.
    Doubtful {
        /// One sentence each.
        warnings: Vec<String>,
    },
    /// Not let in.
    Wrong {
        /// Names object, field and what to change.
        message: String,
    },
}

/// No namespace is called so.
const ANY_OTHER: &str = "any other";

/// What was found in one object.
#[derive(Default)]
struct Findings {
    errors: Vec<FieldError>,
    warnings: Vec<FieldError>,
}

/// Judges one request.
#[must_use]
pub(super) fn validate(request: &Request, surroundings: &dyn Surroundings) -> Verdict {
    if request.kind.group != api::GROUP {
        return Verdict::Fine;
    }
    // Finalizers, labels and status: what is there already must stay workable.
    if request.operation == "UPDATE" && request.object.get("spec") == request.old_object.get("spec") {
        return Verdict::Fine;
    }
    let found = match (request.kind.kind.as_str(), request.operation.as_str()) {
        ("Broker", "DELETE") => Ok(deletion(request, surroundings)),
        (_, "DELETE") => Ok(Findings::default()),
        ("Topic", _) => {
            pair::<Topic>(request).map(|(new, old)| judge_topic(&new, old.as_ref(), surroundings))
        }
        ("Broker", _) => {
            pair::<Broker>(request).map(|(new, old)| judge_broker(&new, old.as_ref(), surroundings))
        }
        ("Channel", _) => {
            pair::<Channel>(request).map(|(new, old)| judge_channel(&new, old.as_ref(), surroundings))
        }
        ("Subscription", _) => pair::<Subscription>(request).map(|(new, _)| judge_subscription(&new)),
        _ => Ok(Findings::default()),
    };
    let Findings { errors, warnings } =
        found.unwrap_or_else(|error| Findings { errors: vec![error], warnings: Vec::new() });
    if !errors.is_empty() {
        let Request { namespace, name, kind, .. } = request;
        return Verdict::Wrong {
            message: format!("{} {namespace}/{name}: {}", kind.kind, field::join(&errors)),
        };
    }
    if warnings.is_empty() {
        return Verdict::Fine;
    }
    Verdict::Doubtful { warnings: warnings.iter().map(ToString::to_string).collect() }
}

/// The object, and on an update what it was. What cannot be read any more does not bind.
fn pair<T: DeserializeOwned>(request: &Request) -> Result<(T, Option<T>), FieldError> {
    Ok((decode::decode(&request.object)?, decode::decode(&request.old_object).ok()))
}

fn judge_topic(new: &Topic, old: Option<&Topic>, surroundings: &dyn Surroundings) -> Findings {
    let mut found = Findings { errors: topic::validate(new), warnings: topic::not_supported(&new.spec) };
    if let Some(old) = old {
        found.errors.extend(topic::validate_update(old, new));
    }
    judge_place(new, old, surroundings, &mut found);
    let own = new.namespace().unwrap_or_default();
    found.warnings.extend(unreachable(new.spec.access.as_ref(), &own, surroundings));
    judge_claim(new, surroundings, &mut found);
    if old.is_none() {
        judge_name(new, surroundings, &mut found);
    }
    found
}

/// The Broker that a Topic wants to live on.
fn judge_place(new: &Topic, old: Option<&Topic>, surroundings: &dyn Surroundings, found: &mut Findings) {
    let own = new.namespace().unwrap_or_default();
    let (namespace, name) = new.spec.broker_of(&own);
    if let Some(outside) = surroundings.outside(namespace) {
        let problem = format!("Broker {namespace}/{name} cannot be used: {outside}; remove it");
        found.errors.push(FieldError::new("spec.broker.namespace", problem));
        return;
    }
    let broker = surroundings.broker(namespace, name);
    // Without a reference the Broker is made on first use, and that one is Embedded.
    let made_on_first_use = broker.is_none() && new.spec.broker.is_none();
    let embedded =
        made_on_first_use || broker.as_ref().is_some_and(|broker| broker.spec.engine == Engine::Embedded);
    if embedded && let Some(replicas) = new.spec.replicas.filter(|replicas| *replicas > 1) {
        found.errors.push(FieldError::new(
            "spec.replicas",
            format!("{replicas} is more than Broker {namespace}/{name} can hold: engine Embedded is one node and does not replicate; remove replicas, or use a Broker with engine Kafka"),
        ));
    }
    let Some(broker) = broker else {
        if !made_on_first_use {
            found.warnings.push(FieldError::new(
                "spec.broker",
                format!("Broker {namespace}/{name} does not exist yet; the Topic waits for it"),
            ));
        }
        return;
    };
    if let Some(false) = allowed(&broker.spec.allowed_namespaces, namespace, &own, surroundings) {
        found.errors.push(FieldError::new(
            "spec.broker",
            format!("Broker {namespace}/{name} takes no Topics of namespace {own}; its owner can change spec.allowedNamespaces there"),
        ));
        return;
    }
    if let Some(limits) = Limits::of(&broker.spec) {
        let used = surroundings.used_by_others((namespace, name), (&own, &new.name_any()));
        found.errors.extend(quota::exceeded(limits, new, old.and_then(quota::before), &used));
    }
}

/// Whether a namespace may put Topics on a Broker; `None` where its labels are not known.
fn allowed(
    rule: &AllowedNamespaces,
    home: &str,
    guest: &str,
    surroundings: &dyn Surroundings,
) -> Option<bool> {
    if home == guest {
        return Some(true);
    }
    match rule.from {
        NamespacesFrom::Same => Some(false),
        NamespacesFrom::All => Some(true),
        NamespacesFrom::Selector => {
            let labels = surroundings.namespace_labels(guest)?;
            let selector = Selector::try_from(rule.selector.clone()?).ok()?;
            Some(selector.matches(&labels))
        }
    }
}

/// Two Topics with one name on one Broker: the older has it, and this one will wait.
fn judge_claim(new: &Topic, surroundings: &dyn Surroundings, found: &mut Findings) {
    let own = new.namespace().unwrap_or_default();
    let log_name = new.spec.log_name(&own, &new.name_any());
    let same = |other: &Topic| (other.namespace(), other.name_any()) == (new.namespace(), new.name_any());
    let claimants = surroundings.claimants(new.spec.broker_of(&own), &log_name);
    let Some(holder) = claimants.into_iter().find(|other| !same(other)) else {
        return;
    };
    found.warnings.push(FieldError::new(
        "spec.topicName",
        format!(
            "Topic {}/{} already has the name {} on this Broker; of two the older one wins, so choose another",
            holder.namespace().unwrap_or_default(),
            holder.name_any(),
            log_name
        ),
    ));
}

fn judge_broker(new: &Broker, old: Option<&Broker>, surroundings: &dyn Surroundings) -> Findings {
    let mut found = Findings { errors: broker::validate(new), warnings: Vec::new() };
    if new.spec.allowed_namespaces.from != NamespacesFrom::Same
        && let Some(outside) = surroundings.outside(ANY_OTHER)
    {
        let text = format!("no other namespace comes on this Broker by it: {outside}");
        found.warnings.push(FieldError::new("spec.allowedNamespaces", text));
    }
    if let Some(old) = old {
        found.errors.extend(broker::validate_update(old, new));
        found.warnings.extend(above_quota(old, new, surroundings));
    }
    found
}

/// Who has more than a lowered quota gives. It is no error: nothing is taken away, nor made not Ready.
fn above_quota(old: &Broker, new: &Broker, surroundings: &dyn Surroundings) -> Option<FieldError> {
    let limits = Limits::of(&new.spec)?;
    if old.spec.namespace_quota().is_some_and(|old| !quota::is_lowered(old, limits.quota)) {
        return None;
    }
    let own = new.namespace().unwrap_or_default();
    let used = surroundings.used((&own, &new.name_any()));
    let above: Vec<String> =
        used.into_iter().filter(|(_, used)| quota::is_above(limits, used)).map(|(name, _)| name).collect();
    if above.is_empty() {
        return None;
    }
    let text = format!("above it: {}; what is there stays, and may not grow", some_of(above));
    Some(FieldError::new("spec.quota.perNamespace", text))
}

fn judge_channel(new: &Channel, old: Option<&Channel>, surroundings: &dyn Surroundings) -> Findings {
    let mut found = Findings { errors: channel::validate(new), warnings: channel::not_supported(&new.spec) };
    let own = new.namespace().unwrap_or_default();
    found.warnings.extend(unreachable(new.spec.access.as_ref(), &own, surroundings));
    if let Some(old) = old {
        found.errors.extend(channel::validate_update(old, new));
    }
    found
}

/// Lists that name namespaces whose sidecars this operator does not serve: those get nothing by it.
fn unreachable(access: Option<&Access>, own: &str, surroundings: &dyn Surroundings) -> Vec<FieldError> {
    let warning = |action: Action| {
        let named: BTreeSet<String> =
            grants(access, own, action).into_iter().map(|grant| grant.namespace).collect();
        let outside: Vec<String> =
            named.into_iter().filter(|name| surroundings.outside(name).is_some()).collect();
        let why = surroundings.outside(outside.first()?)?;
        let text = format!("nobody of {} is let in by it: {why}", some_of(outside));
        Some(FieldError::new(action.field(), text))
    };
    [Action::Publish, Action::Subscribe].into_iter().filter_map(warning).collect()
}

fn judge_subscription(new: &Subscription) -> Findings {
    Findings { errors: subscription::validate(new), warnings: subscription::not_supported(&new.spec) }
}

/// On the Broker of another namespace, names that begin with a namespace are that namespace's: nobody takes the name that
/// another team's Topic will have by itself.
fn judge_name(new: &Topic, surroundings: &dyn Surroundings, found: &mut Findings) {
    let own = new.namespace().unwrap_or_default();
    let (home, broker) = new.spec.broker_of(&own);
    let given = new.spec.topic_name.as_ref().filter(|_| home != own);
    let Some((owner, _)) = given.and_then(|name| name.as_str().split_once('.')) else { return };
    if owner != own && surroundings.namespace_labels(owner).is_some() {
        let problem = format!(
            "names on Broker {home}/{broker} that begin with {owner}. belong to namespace {owner}: remove topicName, or let it begin with {own}."
        );
        found.errors.push(FieldError::new("spec.topicName", problem));
    }
}

/// Topics hold their Broker, whosever they are: without it they keep a name and no messages. What goes with its
/// namespace is not held, or the namespace could never go; nor is a Broker whose owner said so in an annotation.
fn deletion(request: &Request, surroundings: &dyn Surroundings) -> Findings {
    let mut found = Findings::default();
    let asked = request
        .old_object
        .pointer("/metadata/annotations")
        .and_then(|all| all.get(labels::DELETE_WITH_TOPICS));
    if surroundings.namespace_is_going(&request.namespace) || asked.is_some_and(|value| value == "true") {
        return found;
    }
    let broker = decode::decode::<Broker>(&request.old_object).ok();
    let topics = surroundings.topics_on((&request.namespace, &request.name));
    let stays = |topic: &&Arc<Topic>| {
        topic.metadata.deletion_timestamp.is_none()
            && is_let_in(topic, broker.as_ref(), (request, surroundings))
    };
    let names: Vec<String> = topics
        .iter()
        .filter(stays)
        .map(|topic| format!("{}/{}", topic.namespace().unwrap_or_default(), topic.name_any()))
        .collect();
    if !names.is_empty() {
        let problem = format!(
            "Topics live here: {}; delete them first, or annotate the Broker with {}=true to leave them without one",
            some_of(names),
            labels::DELETE_WITH_TOPICS
        );
        found.errors.push(FieldError::new("metadata", problem));
    }
    found
}

/// Whether a Topic that names the Broker is or may come on it: nobody holds the Broker of another team by its name alone.
fn is_let_in(
    topic: &Topic,
    broker: Option<&Broker>,
    (request, surroundings): (&Request, &dyn Surroundings),
) -> bool {
    let is_there = topic.status.as_ref().is_some_and(|status| status.topic_id.is_some());
    let namespace = topic.namespace().unwrap_or_default();
    let labels = surroundings.namespace_labels(&namespace).unwrap_or_default();
    is_there
        || broker.is_none_or(|broker| broker.spec.allows_namespace(&request.namespace, &namespace, &labels))
}

fn some_of(mut names: Vec<String>) -> String {
    names.sort();
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    let listed = names.join(", ");
    if more == 0 { listed } else { format!("{listed} and {more} more") }
}
