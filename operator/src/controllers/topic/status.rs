//! Pure: what came of a reconcile → the Topic's status.

use super::{
    desired::Reached,
    validate::{Blocked, ValidTopic},
};
use crate::kafka::KafkaError;
use api::{
    Topic,
    condition::{Part, conditions, find, shown},
    topic::{ManagementPolicy, TopicStatus, conditions::*},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What came of a reconcile.
pub(super) enum Outcome<'a> {
    /// Something stands in the way.
    Blocked(&'a Blocked),
    /// The broker was asked and changed.
    Reached(&'a ValidTopic, &'a Reached),
    /// The broker did not do it.
    Failed(&'a ValidTopic, &'a KafkaError),
    /// The object is being deleted and the broker did not let it go.
    Leaving(&'a KafkaError),
    /// The object is being deleted and its Broker is paused.
    Held,
}

const PENDING: &str = "waits for the condition before this one";

fn accepted() -> Part {
    Part::good(ACCEPTED, REASON_ACCEPTED, "the spec is valid and supported")
}

fn serving(bootstrap: &str) -> Part {
    Part::good(BROKER_READY, REASON_SERVING, format!("{bootstrap} answers"))
}

fn pending(kind: &'static str) -> Part {
    Part::unknown(kind, REASON_PENDING, PENDING)
}

pub(super) fn status(before: &TopicStatus, topic: &Topic, outcome: &Outcome<'_>, now: &Time) -> TopicStatus {
    let parts = parts(topic, outcome);
    let mut after = before.clone();
    if let Outcome::Reached(valid, reached) = outcome {
        let topic = reached.topic.as_ref();
        after.granted_retention_size = valid.granted_retention_size.clone();
        after.topic_name = Some(valid.wanted.name.clone());
        after.topic_id = topic.map(|topic| topic.id.clone());
        after.partitions = topic.map(|topic| topic.partitions);
        after.replicas = topic.map(|topic| topic.replicas_least);
        after.under_replicated_partitions = topic.map(|topic| topic.under_replicated);
    }
    after.observed_generation = topic.metadata.generation;
    let generation = topic.metadata.generation;
    after.conditions = conditions(&before.conditions, &parts, generation, now);
    match outcome {
        Outcome::Reached(_, Reached { copies, .. }) => {
            after.conditions.extend(shown(&before.conditions, copies.as_slice(), generation, now));
        }
        // What is on its way goes on, and is looked at again when the broker can be.
        _ => after.conditions.extend(find(&before.conditions, COPIES_PLACED).cloned()),
    }
    after
}

fn parts(topic: &Topic, outcome: &Outcome<'_>) -> Vec<Part> {
    match outcome {
        Outcome::Blocked(blocked) if blocked.part.kind == ACCEPTED => {
            vec![blocked.part.clone(), pending(BROKER_READY), pending(IN_SYNC)]
        }
        Outcome::Blocked(blocked) => vec![accepted(), blocked.part.clone(), pending(IN_SYNC)],
        Outcome::Reached(valid, reached) => {
            vec![accepted(), serving(&valid.address.bootstrap), in_sync(topic, valid, reached)]
        }
        Outcome::Failed(valid, error @ KafkaError::Refused { .. }) => {
            let refused =
                Part::bad(IN_SYNC, REASON_REFUSED, format!("{error}; it is tried again every minute"));
            vec![accepted(), serving(&valid.address.bootstrap), refused]
        }
        Outcome::Failed(_, error) => {
            let message = format!("{error}; look at the Broker's conditions and at the log of its pod");
            vec![accepted(), Part::bad(BROKER_READY, REASON_BROKER_NOT_READY, message), pending(IN_SYNC)]
        }
        Outcome::Leaving(error) => {
            let message = format!(
                "cannot be deleted yet: {error}; it is tried again. To give up the topic, delete the Broker or set deletionPolicy to Retain and remove the finalizer"
            );
            vec![accepted(), Part::bad(BROKER_READY, REASON_BROKER_NOT_READY, message), pending(IN_SYNC)]
        }
        Outcome::Held => {
            let message = format!(
                "cannot be deleted yet: Broker {} is paused; set spec.maintenance.paused to false there",
                super::broker_name(topic)
            );
            vec![accepted(), Part::bad(BROKER_READY, REASON_PAUSED, message), pending(IN_SYNC)]
        }
    }
}

/// What the owner of a Topic should know when its topic was there already, as after a deletion that retained it.
pub(super) fn adopted(topic: &Topic, valid: &ValidTopic, reached: &Reached) -> String {
    let partitions = reached.topic.as_ref().map_or(0, |topic| topic.partitions);
    format!(
        "topic {} was on Broker {} already, with {partitions} partitions: it is used with the messages that it holds",
        valid.wanted.name,
        super::broker_name(topic)
    )
}

fn in_sync(topic: &Topic, valid: &ValidTopic, reached: &Reached) -> Part {
    if reached.topic.is_none() {
        let message = match topic.spec.management_policy {
            ManagementPolicy::Full => {
                "the topic vanished right after it was made: did somebody delete it?".to_owned()
            }
            _ => format!(
                "there is no topic {} on {}: make it, or set managementPolicy to Full",
                valid.wanted.name, valid.address.bootstrap
            ),
        };
        return Part::bad(IN_SYNC, REASON_TOPIC_NOT_FOUND, message);
    }
    if !reached.differences.is_empty() {
        let differences: Vec<String> = reached.differences.iter().map(ToString::to_string).collect();
        return Part::bad(IN_SYNC, REASON_DIFFERS, differences.join("; "));
    }
    Part::good(IN_SYNC, REASON_IN_SYNC, "the topic is as the spec says")
}
