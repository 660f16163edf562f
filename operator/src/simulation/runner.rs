//! What the controller runtime does, in an order that a seed repeats: names come from triggers, an object is reconciled by
//! one at a time, again when it was named meanwhile, and after the pause that the last run asked for.

use crate::{
    cluster::Kind,
    controllers::{Shared, failed, run_one},
};
use control::ObjectName;
use futures::{
    StreamExt as _,
    future::BoxFuture,
    stream::{BoxStream, FuturesUnordered},
};
use kube::Resource;
use runtime::clock::{self, Instant};
use serde::de::DeserializeOwned;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
    time::Duration,
};

/// Reconciles of one kind at a time.
const CONCURRENCY: usize = 4;
const DEBOUNCE: Duration = Duration::from_millis(50);
/// As good as never.
const FAR: Duration = Duration::from_secs(86_400);

type Run = BoxFuture<'static, (ObjectName, Option<Duration>)>;

/// Runs until the triggers end.
pub(super) async fn run<R>(
    objects: Kind<R>,
    mut triggers: BoxStream<'static, ObjectName>,
    shared: Arc<Shared<R>>,
) where
    R: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let mut due: BTreeMap<ObjectName, Instant> = BTreeMap::new();
    let mut running: BTreeSet<ObjectName> = BTreeSet::new();
    let mut runs: FuturesUnordered<Run> = FuturesUnordered::new();
    loop {
        let now = clock::now();
        let free = CONCURRENCY.saturating_sub(running.len());
        let ready = due.iter().filter(|(name, at)| **at <= now && !running.contains(*name));
        let ready: Vec<ObjectName> = ready.map(|(name, _)| name.clone()).take(free).collect();
        for name in ready {
            due.remove(&name);
            if let Some(object) = objects.get(&name) {
                running.insert(name.clone());
                runs.push(one(name, object, Arc::clone(&shared)));
            }
        }
        let full = running.len() >= CONCURRENCY;
        let waiting = due.iter().filter(|(name, _)| !full && !running.contains(*name));
        let next = waiting.map(|(_, at)| *at).min().unwrap_or(now + FAR);
        tokio::select! {
            biased;
            name = triggers.next() => {
                let Some(name) = name else { return };
                sooner(&mut due, name, now + DEBOUNCE);
            }
            Some((name, pause)) = runs.next(), if !runs.is_empty() => {
                running.remove(&name);
                if let Some(pause) = pause {
                    sooner(&mut due, name, clock::now() + pause);
                }
            }
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

fn sooner(due: &mut BTreeMap<ObjectName, Instant>, name: ObjectName, at: Instant) {
    let planned = due.entry(name).or_insert(at);
    *planned = at.min(*planned);
}

fn one<R>(name: ObjectName, object: Arc<R>, shared: Arc<Shared<R>>) -> Run
where
    R: Resource<DynamicType = ()> + Send + Sync + 'static,
{
    Box::pin(async move {
        let outcome = run_one(Arc::clone(&object), Arc::clone(&shared)).await;
        let action = outcome.unwrap_or_else(|error| failed(object.as_ref(), &error, &shared));
        (name, action.pause())
    })
}
