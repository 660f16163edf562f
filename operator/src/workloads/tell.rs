//! Tells workloads what concerns them, once for each thing, and not all of them at the same moment.

use super::{earliest, owner};
use crate::{
    apply::{Applied, ApplyError},
    context::Context,
};
use control::ObjectName;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::runtime::events::Event;
use runtime::{
    backoff::Backoff,
    clock::{self, Instant},
};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// Events at once: an outage of the webhook is no flood for the API server.
const EVENTS_MAX: usize = 16;
/// The first and the longest pause before an Event that the API server did not take is tried again.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
const PAUSE_LONGEST: Duration = Duration::from_secs(600);

/// What a workload is told.
pub(super) struct Notice {
    /// Its name, and its namespace.
    pub(super) name: ObjectName,
    /// Whom the Pods point to; who is told may be behind it.
    pub(super) made_by: OwnerReference,
    /// What is said.
    pub(super) event: Event,
}

/// What became of a notice.
enum Told {
    /// It is told.
    Yes,
    /// It is tried again.
    Again(Instant, Backoff),
}

/// See the module.
#[derive(Default)]
pub(super) struct Teller {
    /// By the notice's key. Bounded by the notices that there are.
    told: HashMap<String, Told>,
}

impl Teller {
    /// Tells what was not told yet; `notices` are all that there are now, by a key that says what is told once. When to
    /// come again.
    pub(super) async fn tell(
        &mut self,
        context: &Context,
        notices: BTreeMap<String, Notice>,
    ) -> Option<Instant> {
        self.told.retain(|key, _| notices.contains_key(key));
        let now = clock::now();
        let due: Vec<_> = notices.iter().filter(|(key, _)| is_due(self.told.get(*key), now)).collect();
        for (key, notice) in due.iter().take(EVENTS_MAX) {
            context.leadership.writable().await;
            let told = match write(context, key, notice).await {
                Ok(_) => Told::Yes,
                Err(ApplyError::NotLeader(_)) => return Some(now),
                Err(error) => {
                    let reason = &notice.event.reason;
                    tracing::warn!(%error, workload = %notice.name, reason, "failed to write an event");
                    self.later(key)
                }
            };
            self.told.insert((*key).clone(), told);
        }
        if due.len() > EVENTS_MAX {
            return Some(now);
        }
        let times = self.told.values().map(|told| match told {
            Told::Yes => None,
            Told::Again(time, _) => Some(*time),
        });
        earliest(times)
    }

    fn later(&mut self, key: &str) -> Told {
        let mut backoff = match self.told.remove(key) {
            Some(Told::Again(_, backoff)) => backoff,
            _ => Backoff::new(PAUSE_FIRST, PAUSE_LONGEST),
        };
        let pause = backoff.next_pause();
        Told::Again(clock::now() + pause, backoff)
    }
}

async fn write(context: &Context, key: &str, notice: &Notice) -> Result<Applied, ApplyError> {
    let regarding = owner::workload(&context.writer, &notice.name.namespace, &notice.made_by).await;
    context.writer.event_once(&regarding, key, &notice.event).await
}

fn is_due(told: Option<&Told>, now: Instant) -> bool {
    match told {
        None => true,
        Some(Told::Yes) => false,
        Some(Told::Again(time, _)) => *time <= now,
    }
}
