//! Who is there of a kind, and whose status speaks of its latest spec and says Ready: read from a watch, as the
//! operator's own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{ApiResource, Object};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use runtime::clock::{self, Instant};
use runtime::tasks::{TaskGuard, Tasks};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How often somebody who waits is told how far it is.
const TELL_PERIOD: Duration = Duration::from_secs(10);

/// Nothing of the spec is needed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Nothing {}

/// The part of a status that is needed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    observed_generation: Option<i64>,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

type Entry = Object<Nothing, Status>;

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// In all.
    pub(crate) all: usize,
    /// Whose status speaks of its latest spec and says Ready.
    pub(crate) ready: usize,
}

#[derive(Default)]
struct Book {
    /// The generation, and the one that is Ready.
    entries: HashMap<(String, String), (i64, Option<i64>)>,
    ready: usize,
}

/// See the module. It looks until it is dropped.
pub(crate) struct Census {
    book: Arc<Mutex<Book>>,
    counts: watch::Receiver<Count>,
    kind: String,
    _task: TaskGuard,
}

impl Book {
    fn note(&mut self, entry: &Entry) {
        let generation = entry.metadata.generation.unwrap_or_default();
        let status = entry.status.clone().unwrap_or_default();
        let is_ready = status.conditions.iter().any(|it| it.kind == "Ready" && it.status == "True");
        let ready = status.observed_generation.filter(|_| is_ready);
        self.forget(entry);
        self.ready += usize::from(ready == Some(generation));
        self.entries.insert(key(entry), (generation, ready));
    }

    fn forget(&mut self, entry: &Entry) {
        if let Some((generation, ready)) = self.entries.remove(&key(entry)) {
            self.ready -= usize::from(ready == Some(generation));
        }
    }

    fn count(&self) -> Count {
        Count { all: self.entries.len(), ready: self.ready }
    }
}

fn key(entry: &Entry) -> (String, String) {
    (entry.namespace().unwrap_or_default(), entry.name_any())
}

impl Census {
    /// Begins to look.
    pub(crate) fn begin(client: &Client, tasks: &Tasks, resource: &ApiResource) -> Self {
        let api: Api<Entry> = Api::all_with(client.clone(), resource);
        let book = Arc::new(Mutex::new(Book::default()));
        let (sender, counts) = watch::channel(Count::default());
        let shared = Arc::clone(&book);
        let work = async move {
            let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
            loop {
                match events.try_next().await {
                    Ok(Some(event)) => {
                        let mut book = shared.lock().unwrap_or_else(PoisonError::into_inner);
                        match event {
                            watcher::Event::Apply(entry) | watcher::Event::InitApply(entry) => {
                                book.note(&entry)
                            }
                            watcher::Event::Delete(entry) => book.forget(&entry),
                            watcher::Event::Init => *book = Book::default(),
                            watcher::Event::InitDone => {}
                        }
                        sender.send_replace(book.count());
                    }
                    Ok(None) => return,
                    Err(error) => eprintln!("a watch broke off and is begun anew: {error}"),
                }
            }
        };
        let task = tasks.spawn_guarded("census", work);
        Self { book, counts, kind: resource.plural.clone(), _task: task }
    }

    /// Waits until the counts are right, and says when that was; tells meanwhile how far it is.
    pub(crate) async fn wait(
        &self,
        what: &str,
        limit: Duration,
        mut right: impl FnMut(Count) -> bool,
    ) -> Result<Instant> {
        let mut counts = self.counts.clone();
        let deadline = clock::now() + limit;
        loop {
            let Count { all, ready } = *counts.borrow_and_update();
            if right(Count { all, ready }) {
                return Ok(clock::now());
            }
            if clock::now() > deadline {
                bail!("gave up waiting for {what}: of {all} {} {ready} are Ready", self.kind);
            }
            let pause = tokio::time::sleep(TELL_PERIOD);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => {
                        let Count { all, ready } = *counts.borrow();
                        eprintln!("waiting for {what}: of {all} {} {ready} are Ready", self.kind);
                        break;
                    }
                    changed = counts.changed() => {
                        changed?;
                        if right(*counts.borrow()) { break }
                    }
                }
            }
        }
    }

    /// Waits until one object is Ready in this generation, and says when that was.
    pub(crate) async fn wait_for(
        &self,
        place: (String, String),
        generation: i64,
        limit: Duration,
    ) -> Result<Instant> {
        let book = Arc::clone(&self.book);
        let what = format!("{}/{} to be Ready", place.0, place.1);
        self.wait(&what, limit, move |_| {
            let book = book.lock().unwrap_or_else(PoisonError::into_inner);
            book.entries.get(&place).is_some_and(|(_, ready)| ready.is_some_and(|ready| ready >= generation))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, generation: i64, observed: i64, ready: &str) -> Entry {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "pinnace.dev/v1alpha1", "kind": "Topic",
            "metadata": {"name": name, "namespace": "shop", "generation": generation},
            "spec": {},
            "status": {"observedGeneration": observed, "conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    /// Goal: Ready counts when it speaks of the latest spec, once for each object, and not for one that is gone.
    #[test]
    fn the_latest_spec_counts() {
        let mut book = Book::default();
        book.note(&entry("a", 1, 1, "True"));
        book.note(&entry("b", 1, 1, "False"));
        assert_eq!(book.count(), Count { all: 2, ready: 1 });
        book.note(&entry("a", 2, 1, "True"));
        assert_eq!(book.count(), Count { all: 2, ready: 0 });
        book.note(&entry("a", 2, 2, "True"));
        book.note(&entry("a", 2, 2, "True"));
        assert_eq!(book.count(), Count { all: 2, ready: 1 });
        book.forget(&entry("a", 2, 2, "True"));
        book.forget(&entry("a", 2, 2, "True"));
        assert_eq!(book.count(), Count { all: 1, ready: 0 });
    }
}
