//! Events: one when the Ready condition of an object changes, with the next step in its note; one when a condition goes or
//! comes back that people should hear of though Ready is false for another; and one for each thing that is told only once.

use super::{Applied, ApplyError, Writer, create_unless_there};
use crate::hash::hash;
use api::{
    broker::conditions::{DATA_INTACT, DISK_HAS_ROOM},
    condition::{READY, find, truncated},
};
use control::ObjectName;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1},
    apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, ObjectMeta},
};
use kube::{
    Api, Resource,
    runtime::events::{Event, EventType},
};

/// Longest note, in bytes.
const NOTE_BYTES_MAX: usize = 1000;
/// What controllers were at.
const RECONCILE: &str = "Reconcile";
/// What an Event's name takes of the name of its object; the rest of 253 is for the hash.
const NAME_BYTES_MAX: usize = 200;

/// Conditions that are told beside Ready.
const TOLD: [&str; 2] = [DISK_HAS_ROOM, DATA_INTACT];

/// The Events for a change of conditions, none twice. Pure.
pub(super) fn events_for(before: &[Condition], after: &[Condition]) -> Vec<Event> {
    let ready = event_for(before, after);
    let told = TOLD.iter().filter_map(|kind| told_event(kind, before, after));
    let told = told.filter(|event| ready.as_ref().is_none_or(|ready| ready.reason != event.reason));
    let told: Vec<Event> = told.collect();
    ready.into_iter().chain(told).collect()
}

/// The Event for a condition that is no longer true, or is again. That nobody knows is none: it says nothing new.
fn told_event(kind: &str, before: &[Condition], after: &[Condition]) -> Option<Event> {
    let after = find(after, kind)?;
    let before = find(before, kind).map(|before| (before.status.as_str(), before.reason.as_str()));
    let was_bad = before.is_some_and(|(status, _)| status == "False");
    let type_ = match after.status.as_str() {
        "False" if before != Some(("False", after.reason.as_str())) => EventType::Warning,
        "True" if was_bad => EventType::Normal,
        _ => return None,
    };
    Some(event(type_, &after.reason, RECONCILE, &after.message))
}

/// The Event for a change of conditions, if Ready or its reason changed. An object that is Ready from the beginning is
/// none: ten thousand of them would be ten thousand writes that tell what their status says. Pure.
fn event_for(before: &[Condition], after: &[Condition]) -> Option<Event> {
    let ready = find(after, READY)?;
    let is_told = match find(before, READY) {
        Some(before) => before.status != ready.status || before.reason != ready.reason,
        None => ready.status != "True",
    };
    if !is_told {
        return None;
    }
    let type_ = if ready.status == "False" { EventType::Warning } else { EventType::Normal };
    Some(event(type_, &ready.reason, RECONCILE, &ready.message))
}

/// An Event whose note is as long as the API server takes it. Pure.
pub(crate) fn event(type_: EventType, reason: &str, action: &str, note: &str) -> Event {
    Event {
        type_,
        reason: reason.to_owned(),
        note: Some(truncated(note, NOTE_BYTES_MAX).to_owned()),
        action: action.to_owned(),
        secondary: None,
    }
}

impl Writer {
    /// Writes an Event when Ready or its reason changed, or another condition that is told. A failure is logged: an Event is never worth a retry.
    ///
    /// # Errors
    /// When this replica may not write.
    pub async fn event<K>(
        &self,
        object: &K,
        before: &[Condition],
        after: &[Condition],
    ) -> Result<Applied, ApplyError>
    where
        K: Resource<DynamicType = ()>,
    {
        let mut outcome = Applied::Unchanged;
        for event in events_for(before, after) {
            outcome = self.publish(object, event).await?;
        }
        Ok(outcome)
    }

    /// Writes an Event about something that happened once and is no condition.
    ///
    /// # Errors
    /// When this replica may not write.
    pub async fn tell<K>(&self, object: &K, reason: &str, note: &str) -> Result<Applied, ApplyError>
    where
        K: Resource<DynamicType = ()>,
    {
        self.publish(object, event(EventType::Normal, reason, RECONCILE, note)).await
    }

    /// The recorder makes a series of Events of one reason about one object.
    async fn publish<K>(&self, object: &K, event: Event) -> Result<Applied, ApplyError>
    where
        K: Resource<DynamicType = ()>,
    {
        let reference = object.object_ref(&());
        match self.leadership.write(self.recorder.publish(&event, &reference)).await? {
            Ok(()) => self.metrics.written("Event", "create"),
            Err(error) => tracing::warn!(%error, reason = event.reason, "failed to write an event"),
        }
        Ok(Applied::Written)
    }

    /// Writes an Event that is there once for each `key`, whoever writes it: its name is made of the key, and one that is
    /// there already is left alone.
    ///
    /// # Errors
    /// When this replica may not write, or the API server refuses.
    pub async fn event_once(
        &self,
        regarding: &ObjectReference,
        key: &str,
        event: &Event,
    ) -> Result<Applied, ApplyError> {
        let namespace = regarding.namespace.clone().unwrap_or_default();
        let object = v1::Event {
            action: Some(event.action.clone()),
            event_time: Some(MicroTime(
                jiff::Timestamp::from_millisecond(runtime::clock::unix_ms()).unwrap_or_default(),
            )),
            metadata: ObjectMeta {
                name: Some(name_once(regarding.name.as_deref().unwrap_or_default(), key)),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            note: event.note.clone(),
            reason: Some(event.reason.clone()),
            regarding: Some(regarding.clone()),
            reporting_controller: Some(self.reporter.controller.clone()),
            reporting_instance: self.reporter.instance.clone(),
            type_: Some(format!("{:?}", event.type_)),
            ..v1::Event::default()
        };
        let name = ObjectName::new(&namespace, object.metadata.name.as_deref().unwrap_or_default());
        let api = Api::<v1::Event>::namespaced(self.client.clone(), &namespace);
        match self.leadership.write(create_unless_there(&api, &object)).await? {
            Ok(Some(_)) => {
                self.metrics.written("Event", "create");
                Ok(Applied::Written)
            }
            Ok(None) => Ok(Applied::Unchanged),
            Err(error) => Err(Self::failed::<v1::Event>("create", &name)(error)),
        }
    }
}

/// The name of the one Event for `key`.
fn name_once(object: &str, key: &str) -> String {
    let object = truncated(object, NAME_BYTES_MAX).trim_end_matches(['.', '-']);
    format!("{object}.{}", hash(key, 8))
}
