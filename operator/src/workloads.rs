//! The Pods of apps that ask for a sidecar, and the workloads that make them. The leader looks at all of them when
//! one changes, decides in pure functions, and does what follows step by step.
//!
//! What is decided depends on the Pods alone, so another leader goes on where this one was.

pub mod missed;
mod owner;
mod roll;
mod tell;
#[cfg(test)]
mod tests;
pub mod upgrade;

use crate::context::Context;
use missed::{Cause, Report, reports};
use roll::Roller;
use runtime::{clock::Instant, tasks::Tasks};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tell::{Notice, Teller};

/// Changes within this time are looked at together.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Starts what the leader does about Pods. Call it once in a term.
pub fn start(context: &Arc<Context>, tasks: &Tasks) {
    drop(tasks.spawn_until_shutdown("workloads", keep(Arc::clone(context))));
}

async fn keep(context: Arc<Context>) {
    let (mut teller, mut roller) = (Teller::default(), Roller::new());
    let mut bell = context.cluster.pods.bell();
    if context.cluster.pods.ready().await.is_err() {
        return;
    }
    loop {
        context.leadership.writable().await;
        let (mut notices, rolled) = roller.roll(&context).await;
        notices.extend(missed(&context));
        let told = teller.tell(&context, notices).await;
        let rung = match earliest([rolled, told]) {
            Some(again) => tokio::time::timeout_at(again, bell.rung()).await.unwrap_or(true),
            None => bell.rung().await,
        };
        if !rung {
            return;
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

fn missed(context: &Context) -> BTreeMap<String, Notice> {
    let pods = context.cluster.pods.all();
    let found = reports(pods.iter().map(AsRef::as_ref), &context.settings.excluded_namespaces);
    let notice = |(cause, report): (Cause, Report)| {
        let event = report.event();
        (cause.to_string(), Notice { name: report.name, made_by: report.made_by, event })
    };
    found.into_iter().map(notice).collect()
}

fn earliest(times: impl IntoIterator<Item = Option<Instant>>) -> Option<Instant> {
    times.into_iter().flatten().min()
}
