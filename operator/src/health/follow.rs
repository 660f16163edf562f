//! Who is followed: the engine of each Broker whose node is ready. One task a Broker, for a term. A stream that ends is begun
//! anew, later each time; an engine that is silent for a while is said to be.

use super::{Engines, HealthError, Said, pace::Pace};
use crate::{
    cluster::{Cluster, name_of},
    context::Context,
    controllers::broker,
};
use api::broker::Engine;
use control::ObjectName;
use futures::StreamExt as _;
use runtime::{
    backoff::Backoff,
    clock::{self, Instant},
    random::jittered,
    tasks::{TaskGuard, Tasks},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::{sleep, sleep_until, timeout};

/// Engines that are followed at a time: a thousand connections.
const FOLLOWED_MAX: usize = 1000;
/// Changes of Brokers within this time are one.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// The first and the longest pause before another try.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The pause when another try would bring the same.
const LASTING_PAUSE: Duration = Duration::from_secs(300);
/// An engine that does not tell for so long is silent: a restart of its node or of the operator takes less.
const SILENT_AFTER: Duration = Duration::from_secs(60);
/// It says how it is within this time.
const FIRST_LINE_MAX: Duration = Duration::from_secs(30);
/// No more than one line is listened to within this time, whoever sends them.
const LINE_PAUSE: Duration = Duration::from_secs(1);

/// Starts to follow. Call it once in a term, when the stores are complete.
pub(crate) fn start(context: &Arc<Context>, tasks: &Tasks) {
    let supervisor = run(context.cluster.clone(), context.health.clone(), tasks.clone());
    drop(tasks.spawn_until_shutdown("health", supervisor));
}

/// Ends when a watch does, and with it the process.
async fn run(cluster: Cluster, engines: Engines, tasks: Tasks) {
    let (mut brokers, mut sets) = (cluster.brokers.bell(), cluster.stateful_sets.bell());
    let mut followers: BTreeMap<ObjectName, TaskGuard> = BTreeMap::new();
    loop {
        let wanted = wanted(&cluster);
        followers.retain(|broker, _| {
            let stays = wanted.contains(broker);
            if !stays {
                engines.told.forget(broker);
            }
            stays
        });
        for broker in wanted {
            let free = followers.len() < FOLLOWED_MAX;
            if free && !followers.contains_key(&broker) {
                let following = follow(broker.clone(), engines.clone());
                followers.insert(broker, tasks.spawn_guarded("health of a broker", following));
            } else if !free && !followers.contains_key(&broker) {
                let why = format!("{FOLLOWED_MAX} Brokers are followed, and no more");
                engines.told.note(&broker, Said::Silent { kind: "many", why });
            }
        }
        let goes_on = tokio::select! {
            biased;
            rung = brokers.rung() => rung,
            rung = sets.rung() => rung,
        };
        if !goes_on {
            return;
        }
        sleep(LOOK_PAUSE).await;
    }
}

fn wanted(cluster: &Cluster) -> BTreeSet<ObjectName> {
    let brokers = cluster.brokers.all();
    let decoded = brokers.iter().filter_map(|broker| broker.decoded());
    let names = decoded
        .filter(|broker| {
            broker.metadata.deletion_timestamp.is_none() && broker.spec.engine == Engine::Embedded
        })
        .map(|broker| name_of(broker.as_ref()));
    names.filter(|name| broker::has_ready_node(name, cluster)).collect()
}

/// What came of one stream.
struct Ended {
    error: HealthError,
    /// Since when it told; `None` when it never did.
    told_since: Option<Instant>,
}

/// Listens to one engine. Never ends.
pub(super) async fn follow(broker: ObjectName, engines: Engines) {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut pace = Pace::default();
    let mut silent_since = clock::now();
    loop {
        let Ended { error, told_since } = listen(&broker, &engines, &mut pace).await;
        let now = clock::now();
        if let Some(since) = told_since {
            silent_since = now;
            // One that ends soon each time is no success.
            if now.saturating_duration_since(since) >= LONGEST_PAUSE {
                backoff.reset();
            }
        }
        let lasts = error.is_lasting();
        tracing::debug!(%broker, %error, lasts, "an engine does not tell how it is");
        if lasts || now.saturating_duration_since(silent_since) >= SILENT_AFTER {
            engines.told.note(&broker, Said::Silent { kind: error.kind(), why: error.to_string() });
            pace = Pace::default();
        }
        let pause = backoff.next_pause();
        sleep(if lasts { jittered(LASTING_PAUSE) } else { pause }).await;
    }
}

async fn listen(broker: &ObjectName, engines: &Engines, pace: &mut Pace) -> Ended {
    let mut telling = match engines.source.follow(broker).await {
        Ok(telling) => telling,
        Err(error) => return Ended { error, told_since: None },
    };
    let ended =
        |reason: &str| HealthError::Unreachable { address: broker.to_string(), reason: reason.to_owned() };
    let note = |health| engines.told.note(broker, Said::So(health));
    let mut told_since = None;
    loop {
        let due = pace.due();
        let line = async {
            if told_since.is_some() {
                return Ok(telling.next().await);
            }
            timeout(FIRST_LINE_MAX, telling.next()).await
        };
        let line = tokio::select! {
            biased;
            line = line => line,
            () = sleep_until(due.unwrap_or_else(clock::now)), if due.is_some() => {
                if let Some(health) = pace.take(clock::now()) {
                    note(health);
                }
                continue;
            }
        };
        let error = match line {
            Ok(Some(Ok(health))) => {
                let now = clock::now();
                told_since.get_or_insert(now);
                if let Some(health) = pace.hear(health, now) {
                    note(health);
                }
                sleep(LINE_PAUSE).await;
                continue;
            }
            Ok(Some(Err(error))) => error,
            Ok(None) => ended("it ended the answer"),
            Err(_) => ended("it says nothing"),
        };
        return Ended { error, told_since };
    }
}
