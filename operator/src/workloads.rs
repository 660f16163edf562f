//! The Pods of apps that ask for a sidecar, and the workloads that make them. The leader looks at all of them when
//! one changes, decides in pure functions, and does what follows step by step.
//!
//! What is decided depends on the Pods alone, so another leader goes on where this one was.

pub mod missed;
mod owner;
#[cfg(test)]
mod tests;

use crate::{
    apply::{Applied, ApplyError},
    context::Context,
};
use missed::{Cause, Report, reports};
use runtime::{
    backoff::Backoff,
    clock::{self, Instant},
    tasks::Tasks,
};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// Changes within this time are looked at together.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Events in one look: an outage of the webhook is no flood for the API server.
const EVENTS_MAX: usize = 16;
/// The first and the longest pause before an Event that the API server did not take is tried again.
const EVENT_PAUSE_FIRST: Duration = Duration::from_secs(5);
const EVENT_PAUSE_LONGEST: Duration = Duration::from_secs(600);

/// Starts what the leader does about Pods. Call it once in a term.
pub fn start(context: &Arc<Context>, tasks: &Tasks) {
    let keeper = Keeper { context: Arc::clone(context), told: HashMap::new() };
    drop(tasks.spawn_until_shutdown("workloads", keeper.run()));
}

/// What became of a report.
enum Told {
    /// It is told.
    Yes,
    /// It is tried again.
    Again(Instant, Backoff),
}

struct Keeper {
    context: Arc<Context>,
    /// Bounded by the reports of one look.
    told: HashMap<Cause, Told>,
}

impl Keeper {
    async fn run(mut self) {
        let mut bell = self.context.cluster.pods.bell();
        if self.context.cluster.pods.ready().await.is_err() {
            return;
        }
        loop {
            let again = self.look().await;
            let rung = async {
                match again {
                    Some(again) => tokio::time::timeout_at(again, bell.rung()).await.unwrap_or(true),
                    None => bell.rung().await,
                }
            };
            if !rung.await {
                return;
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// Looks at all Pods once; when to look again if nothing changes.
    async fn look(&mut self) -> Option<Instant> {
        let pods = self.context.cluster.pods.all();
        let found = reports(pods.iter().map(AsRef::as_ref), &self.context.settings.excluded_namespaces);
        self.told.retain(|cause, _| found.contains_key(cause));
        let now = clock::now();
        let due: Vec<(Cause, Report)> =
            found.into_iter().filter(|(cause, _)| is_due(self.told.get(cause), now)).collect();
        for (cause, report) in due.iter().take(EVENTS_MAX) {
            self.context.leadership.writable().await;
            let told = match self.tell(cause, report).await {
                Ok(_) => Told::Yes,
                Err(ApplyError::NotLeader(_)) => return Some(now),
                Err(error) => {
                    tracing::warn!(%error, workload = %report.name, reason = cause.reason, "failed to report a Pod without its sidecar");
                    self.later(cause)
                }
            };
            self.told.insert(cause.clone(), told);
        }
        if due.len() > EVENTS_MAX {
            return Some(now);
        }
        let times = self.told.values().filter_map(|told| match told {
            Told::Yes => None,
            Told::Again(time, _) => Some(*time),
        });
        times.min()
    }

    async fn tell(&self, cause: &Cause, report: &Report) -> Result<Applied, ApplyError> {
        let regarding = owner::workload(&self.context.writer, &report.name.namespace, &report.made_by).await;
        self.context.writer.event_once(&regarding, &cause.to_string(), &report.event()).await
    }

    fn later(&mut self, cause: &Cause) -> Told {
        let mut backoff = match self.told.remove(cause) {
            Some(Told::Again(_, backoff)) => backoff,
            _ => Backoff::new(EVENT_PAUSE_FIRST, EVENT_PAUSE_LONGEST),
        };
        let pause = backoff.next_pause();
        Told::Again(clock::now() + pause, backoff)
    }
}

fn is_due(told: Option<&Told>, now: Instant) -> bool {
    match told {
        None => true,
        Some(Told::Yes) => false,
        Some(Told::Again(time, _)) => *time <= now,
    }
}
