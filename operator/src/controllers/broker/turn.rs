//! Pure: whose turn it is, when a new version brings another image of the engine.
//!
//! A Broker is one node: while it starts again its Topics wait. So a few go at a time, the first one alone, and when it
//! does not get well nobody follows. Until its turn a Broker keeps all that it runs with, since the arguments of one
//! version need not be those of another. Whose node has not run for long goes at once: nothing is lost by it, and its owner
//! may be waiting for a change of the spec.

use super::{engine::CONTAINER, observe::is_ready};
use api::{Broker, broker::conditions::NODES_READY, condition, labels};
use control::ObjectName;
use k8s_openapi::api::apps::v1::StatefulSet;

/// How long a Broker may take to be Ready again.
const PATIENCE_S: i64 = 300;
/// With more Brokers than this that are not Ready after they got the image, nobody follows.
const STUCK_MAX: usize = 3;
/// Names that a message repeats.
const NAMED_MAX: usize = 3;

/// Whether a Broker's StatefulSet may be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It may.
    Now,
    /// Others come first: a sentence for people.
    Waits(String),
}

/// What is wanted of all Brokers, and the time.
pub(super) struct Wanted<'a> {
    pub(super) image: &'a str,
    pub(super) at_once_max: usize,
    /// In seconds since 1970.
    pub(super) now: i64,
}

/// Where the others stand.
#[derive(Default)]
struct Fleet {
    /// On another image, and may be changed.
    outdated: Vec<ObjectName>,
    /// On the image, on their way to be Ready.
    moving: usize,
    /// On the image for long, and not Ready.
    stuck: Vec<ObjectName>,
    /// On the image and Ready.
    done: usize,
}

/// The image that a StatefulSet of ours runs.
pub(super) fn image(set: &StatefulSet) -> Option<&str> {
    let containers = &set.spec.as_ref()?.template.spec.as_ref()?.containers;
    containers.iter().find(|container| container.name == CONTAINER)?.image.as_deref()
}

/// Decides for the Broker `own`; `fleet` are all Brokers that could be decoded, each with its StatefulSet.
pub(super) fn turn<'a>(
    own: &ObjectName,
    fleet: impl Iterator<Item = (ObjectName, &'a Broker, &'a StatefulSet)>,
    wanted: &Wanted<'_>,
) -> Turn {
    let mut standing = Fleet::default();
    let mut waits = false;
    for (name, broker, set) in fleet {
        waits |= name == *own && image(set) != Some(wanted.image) && !is_down_for_long(broker, wanted.now);
        standing.count(name, (broker, set), wanted);
    }
    if !waits {
        return Turn::Now;
    }
    standing.outdated.sort();
    standing.decide(own, wanted)
}

impl Fleet {
    fn count(&mut self, name: ObjectName, (broker, set): (&Broker, &StatefulSet), wanted: &Wanted<'_>) {
        if image(set) != Some(wanted.image) {
            // One that is paused, goes, or cannot be brought about would hold up all behind it for ever.
            let is_left_alone = broker.spec.paused()
                || broker.metadata.deletion_timestamp.is_some()
                || super::validate::validate(broker).is_err();
            if !is_left_alone {
                self.outdated.push(name);
            }
        } else if is_through(set) {
            self.done += 1;
        } else if is_down_for_long(broker, wanted.now) {
            self.stuck.push(name);
        } else {
            self.moving += 1;
        }
    }

    fn decide(&self, own: &ObjectName, wanted: &Wanted<'_>) -> Turn {
        let image = wanted.image;
        let is_stopped = self.stuck.len() > STUCK_MAX || (self.done == 0 && !self.stuck.is_empty());
        if is_stopped {
            let mut names: Vec<String> = self.stuck.iter().map(ToString::to_string).collect();
            names.sort();
            names.truncate(NAMED_MAX);
            let names = names.join(", ");
            return Turn::Waits(format!(
                "keeps what it runs with: {} Brokers are not Ready since they got {image} ({names}); look at their conditions",
                self.stuck.len()
            ));
        }
        let at_once = if self.done == 0 { 1 } else { wanted.at_once_max };
        let before = self.outdated.iter().position(|name| name == own).unwrap_or(usize::MAX);
        if before < at_once.saturating_sub(self.moving) {
            return Turn::Now;
        }
        Turn::Waits(format!(
            "keeps what it runs with until it is its turn to get {image}: {} of {} Brokers have it, up to {at_once} change at a \
             time",
            self.done,
            self.done + self.moving + self.stuck.len() + self.outdated.len()
        ))
    }
}

/// Whether the node that is Ready is one of the newest template.
fn is_through(set: &StatefulSet) -> bool {
    let status = set.status.as_ref();
    let is_seen = status.and_then(|status| status.observed_generation) >= set.metadata.generation;
    // Both are missing on a StatefulSet that never had another template.
    let is_newest = status.is_none_or(|status| status.current_revision == status.update_revision);
    is_ready(set) && is_seen && is_newest
}

/// Whether the node of a Broker has not been Ready for longer than a start takes, as the Broker says itself. That it is not
/// Ready for another reason, such as a full disk, is not the image's doing.
fn is_down_for_long(broker: &Broker, now: i64) -> bool {
    let nodes = broker.status.as_ref().and_then(|status| condition::find(&status.conditions, NODES_READY));
    nodes.is_some_and(|nodes| {
        nodes.status != "True" && now.saturating_sub(nodes.last_transition_time.0.as_second()) >= PATIENCE_S
    })
}

/// The Broker that a StatefulSet of ours belongs to.
pub(super) fn owner(set: &StatefulSet) -> Option<ObjectName> {
    let name = set.metadata.labels.as_ref()?.get(labels::BROKER)?;
    Some(ObjectName::new(set.metadata.namespace.clone()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;

    /// One Broker of the fleet: how it is, by a word.
    fn one(number: usize, how: &str) -> (ObjectName, Broker, StatefulSet) {
        let name = format!("b{number}");
        let ready = ["old", "done", "paused", "full"].contains(&how);
        let since = if ["stuck", "down", "full"].contains(&how) { NOW - PATIENCE_S } else { NOW - 1 };
        let since = jiff::Timestamp::from_second(since).unwrap().to_string();
        let condition = |kind: &str, is_true: bool| {
            json!({
                "type": kind, "status": if is_true { "True" } else { "False" }, "reason": "a", "message": "",
                "lastTransitionTime": since,
            })
        };
        let broker = json!({
            "apiVersion": "pinnace.dev/v1alpha1", "kind": "Broker", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"maintenance": {"paused": how == "paused"}},
            "status": {"conditions": [
                condition("Ready", ready && how != "full"), condition("NodesReady", ready),
            ]},
        });
        let image = if ["old", "paused", "down", "full"].contains(&how) { "broker:1" } else { "broker:2" };
        let revision = if how == "moving" { "r1" } else { "r2" };
        let set = json!({
            "metadata": {
                "name": format!("{name}-broker"), "namespace": "shop", "generation": 2, "labels": {(labels::BROKER): name},
            },
            "spec": {
                "selector": {}, "serviceName": "x",
                "template": {"spec": {"containers": [{"name": CONTAINER, "image": image}]}},
            },
            "status": {
                "replicas": 1, "readyReplicas": i32::from(!["stuck", "down"].contains(&how)), "observedGeneration": 2,
                "currentRevision": revision, "updateRevision": "r2",
            },
        });
        let name = ObjectName::new("shop", name);
        (name, serde_json::from_value(broker).unwrap(), serde_json::from_value(set).unwrap())
    }

    /// Who of a fleet may go now.
    fn going(fleet: &[&str], at_once_max: usize) -> Vec<usize> {
        let all: Vec<_> = fleet.iter().enumerate().map(|(number, how)| one(number, how)).collect();
        let wanted = Wanted { image: "broker:2", at_once_max, now: NOW };
        let is_now = |number: &usize| {
            let fleet = all.iter().map(|(name, broker, set)| (name.clone(), broker, set));
            turn(&all[*number].0, fleet, &wanted) == Turn::Now
        };
        (0..all.len())
            .filter(is_now)
            .filter(|number| !["done", "moving", "stuck"].contains(&fleet[*number]))
            .collect()
    }

    /// Goal: the first goes alone; then as many as are allowed, those on their way counted; whoever is paused holds nobody up.
    #[test]
    fn a_few_go_at_a_time() {
        assert_eq!(going(&["old", "old", "old"], 5), [0], "the first alone");
        assert_eq!(going(&["moving", "old", "old"], 5), Vec::<usize>::new(), "until it is through");
        assert_eq!(going(&["done", "old", "old", "old"], 2), [1, 2]);
        assert_eq!(going(&["done", "moving", "old", "old"], 2), [2]);
        assert_eq!(going(&["done", "moving", "moving", "old"], 2), Vec::<usize>::new());
        assert_eq!(going(&["paused", "old"], 1), [1]);
    }

    /// Goal: a first one that does not get well stops all; later, so do more than three, and fewer stop nobody.
    #[test]
    fn images_that_do_not_run_are_stopped() {
        assert_eq!(going(&["stuck", "old", "old"], 5), Vec::<usize>::new());
        assert_eq!(going(&["done", "stuck", "stuck", "stuck", "old", "old"], 2), [4, 5]);
        assert_eq!(going(&["done", "stuck", "stuck", "stuck", "stuck", "old"], 2), Vec::<usize>::new());
    }

    /// Goal: a node that has been down for long is not held, also where all others are; one that runs and whose Broker is not
    /// Ready, as with a full disk, waits like the others.
    #[test]
    fn whoever_is_down_is_not_held() {
        assert_eq!(going(&["stuck", "down", "old"], 1), [1]);
        assert_eq!(going(&["moving", "full", "old"], 1), Vec::<usize>::new());
    }

    /// Goal: whatever the pace, a fleet that gets well gets through, and never more are down than are allowed.
    #[test]
    fn every_fleet_gets_through() {
        for at_once_max in [1, 2, 7] {
            let mut fleet = vec!["old"; 9];
            for _ in 0..40 {
                let next = going(&fleet, at_once_max);
                fleet.iter_mut().filter(|how| **how == "moving").for_each(|how| *how = "done");
                next.iter().for_each(|number| fleet[*number] = "moving");
                let down = fleet.iter().filter(|how| **how == "moving").count();
                assert!(down <= at_once_max, "{down} of {fleet:?}");
            }
            assert_eq!(fleet, vec!["done"; 9], "at most {at_once_max}");
        }
    }
}
