//! The one namespace that is served, as something like a watch: it is read again from time to time. A watch of namespaces
//! needs a right over all of them; a Role may let one read its own.

use super::Events;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, core::PartialObjectMeta, runtime::watcher};
use runtime::backoff::Backoff;
use std::{io, time::Duration};

/// How often it is read. Who deletes it waits no longer for Brokers that a Topic holds.
const PERIOD: Duration = Duration::from_secs(10);
/// The API server answers within this time, or is asked again.
const DEADLINE: Duration = Duration::from_secs(10);
/// The first and the longest pause after it did not.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LONGEST: Duration = Duration::from_secs(30);

type Event = watcher::Event<PartialObjectMeta<Namespace>>;

struct Poll {
    namespaces: Api<Namespace>,
    name: String,
    /// Before the next look.
    pause: Duration,
    backoff: Backoff,
    /// What was found last; `None` before the first look.
    seen: Option<Option<PartialObjectMeta<Namespace>>>,
}

/// The namespace and its changes, for ever.
pub(super) fn polled(client: &Client, name: &str) -> Events<PartialObjectMeta<Namespace>> {
    let poll = Poll {
        namespaces: Api::all(client.clone()),
        name: name.to_owned(),
        pause: Duration::ZERO,
        backoff: Backoff::new(PAUSE_FIRST, PAUSE_LONGEST),
        seen: None,
    };
    let looks = stream::unfold(poll, |mut poll| async move { Some((stream::iter(poll.look().await), poll)) });
    looks.flatten().boxed()
}

impl Poll {
    async fn look(&mut self) -> Vec<watcher::Result<Event>> {
        tokio::time::sleep(self.pause).await;
        let asked = tokio::time::timeout(DEADLINE, self.namespaces.get_metadata_opt(&self.name)).await;
        let late = || kube::Error::Service(Box::new(io::Error::from(io::ErrorKind::TimedOut)));
        match asked.unwrap_or_else(|_| Err(late())) {
            Ok(found) => {
                self.backoff.reset();
                self.pause = PERIOD;
                let before = self.seen.replace(found.clone());
                events(before, found).into_iter().map(Ok).collect()
            }
            Err(error) => {
                self.pause = self.backoff.next_pause();
                vec![Err(watcher::Error::InitialListFailed(error))]
            }
        }
    }
}

/// What a watch would have said between two looks.
fn events(
    before: Option<Option<PartialObjectMeta<Namespace>>>,
    now: Option<PartialObjectMeta<Namespace>>,
) -> Vec<Event> {
    match (before, now) {
        (None, now) => {
            let list = now.into_iter().map(Event::InitApply);
            [Event::Init].into_iter().chain(list).chain([Event::InitDone]).collect()
        }
        (Some(before), Some(now)) => {
            let same = before
                .is_some_and(|before| before.metadata.resource_version == now.metadata.resource_version);
            if same { Vec::new() } else { vec![Event::Apply(now)] }
        }
        (Some(Some(before)), None) => vec![Event::Delete(before)],
        (Some(None), None) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeApi, Line};

    async fn next(events: &mut Events<PartialObjectMeta<Namespace>>) -> String {
        match events.next().await.unwrap() {
            Ok(Event::Init) => "init".into(),
            Ok(Event::InitApply(found)) => format!("there {}", found.metadata.name.unwrap()),
            Ok(Event::InitDone) => "done".into(),
            Ok(Event::Apply(found)) => format!("going {}", found.metadata.deletion_timestamp.is_some()),
            Ok(Event::Delete(_)) => "gone".into(),
            Err(_) => "failed".into(),
        }
    }

    /// Goal: the namespace is read alone and slowly; its labels, its deletion and its end are seen, and nothing is said while
    /// nothing changes.
    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_namespace_is_seen() {
        let api = FakeApi::with_yaml("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}");
        let mut events = polled(&api.client(), "shop");
        assert_eq!(
            [next(&mut events).await, next(&mut events).await, next(&mut events).await],
            ["init", "there shop", "done"]
        );
        let begun = runtime::clock::now();
        let quiet = tokio::time::timeout(PERIOD * 100, next(&mut events)).await;
        assert!(quiet.is_err(), "{quiet:?}");
        let asked = api.take_requests();
        assert!(asked.iter().all(|request| request == "GET /api/v1/namespaces/shop"), "{asked:?}");
        assert!(asked.len() <= 102, "{} requests in {:?}", asked.len(), begun.elapsed());
        api.edit("Namespace", "shop", |namespace| {
            namespace["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            namespace["metadata"]["finalizers"] = serde_json::json!(["kubernetes"]);
        });
        assert_eq!(next(&mut events).await, "going true");
        api.edit("Namespace", "shop", |namespace| {
            namespace["metadata"]["finalizers"] = serde_json::json!([]);
        });
        assert_eq!(next(&mut events).await, "gone");
    }

    /// Goal: while the API server is away it is asked again, ever more rarely, and nothing is taken for gone.
    #[tokio::test(start_paused = true)]
    async fn an_outage_is_no_end() {
        let (api, line) = (
            FakeApi::with_yaml("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"),
            Line::default(),
        );
        let mut events = polled(&api.client_over(&line), "shop");
        for _ in 0..3 {
            next(&mut events).await;
        }
        line.cut(true);
        for _ in 0..5 {
            assert_eq!(next(&mut events).await, "failed");
        }
        line.cut(false);
        let quiet = tokio::time::timeout(PERIOD * 10, next(&mut events)).await;
        assert!(quiet.is_err(), "{quiet:?}");
    }
}
