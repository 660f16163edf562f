//! Events: one when the Ready condition of an object changes, with the next step in its note.

use super::{Applied, ApplyError, Writer};
use api::condition::{READY, find, truncated};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Resource,
    runtime::events::{Event, EventType},
};

/// Longest note, in bytes.
const NOTE_BYTES_MAX: usize = 1000;

/// The Event for a change of conditions, if Ready or its reason changed. Pure.
pub(super) fn event_for(before: &[Condition], after: &[Condition]) -> Option<Event> {
    let ready = find(after, READY)?;
    let unchanged = |before: &Condition| before.status == ready.status && before.reason == ready.reason;
    if find(before, READY).is_some_and(unchanged) {
        return None;
    }
    Some(Event {
        type_: if ready.status == "False" { EventType::Warning } else { EventType::Normal },
        reason: ready.reason.clone(),
        note: Some(truncated(&ready.message, NOTE_BYTES_MAX).to_owned()),
        action: "Reconcile".to_owned(),
        secondary: None,
    })
}

impl Writer {
    /// Writes an Event when Ready or its reason changed. A failure is logged: an Event is never worth a retry.
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
        let Some(event) = event_for(before, after) else { return Ok(Applied::Unchanged) };
        let reference = object.object_ref(&());
        match self.leadership.write(self.recorder.publish(&event, &reference)).await? {
            Ok(()) => self.metrics.written("Event", "create"),
            Err(error) => tracing::warn!(%error, reason = event.reason, "failed to write an event"),
        }
        Ok(Applied::Written)
    }
}
