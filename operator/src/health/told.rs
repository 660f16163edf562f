//! What engines said last, by Broker, and whose word is news. Bounded by the number of Brokers.

use super::Health;
use control::ObjectName;
use futures::stream::{self, BoxStream, StreamExt as _};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// What an engine said last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Said {
    /// Nothing, since this replica leads or the node is ready: it has hardly been asked.
    #[default]
    NotYet,
    /// That it is so.
    So(Health),
    /// Nothing, though it was asked for a while.
    Silent {
        /// One word, the same while the cause is.
        kind: &'static str,
        /// For people.
        why: String,
    },
}

impl Said {
    /// Whether a person would be told something else. That it is still silent for the same cause is nothing.
    fn is_news(&self, before: &Self) -> bool {
        match (self, before) {
            (Self::Silent { kind, .. }, Self::Silent { kind: before, .. }) => kind != before,
            _ => self != before,
        }
    }
}

/// See the module. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    said: BTreeMap<ObjectName, Said>,
    news: BTreeSet<ObjectName>,
}

impl Told {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the engine of a Broker said.
    #[must_use]
    pub fn of(&self, broker: &ObjectName) -> Said {
        self.lock().said.get(broker).cloned().unwrap_or_default()
    }

    /// The engine of a Broker says so.
    pub(crate) fn note(&self, broker: &ObjectName, said: Said) {
        let mut state = self.lock();
        let before = state.said.get(broker).cloned().unwrap_or_default();
        if !said.is_news(&before) {
            return;
        }
        state.said.insert(broker.clone(), said);
        state.news.insert(broker.clone());
        drop(state);
        self.0.changed.notify_one();
    }

    /// Nobody listens to it any more. Who stopped has another reason to look at the Broker.
    pub(crate) fn forget(&self, broker: &ObjectName) {
        let mut state = self.lock();
        state.said.remove(broker);
        state.news.remove(broker);
    }

    /// The Brokers whose engine said something new. For one reader.
    pub(crate) fn news(&self) -> BoxStream<'static, ObjectName> {
        stream::unfold(self.clone(), |told| async move {
            loop {
                let news = std::mem::take(&mut told.lock().news);
                if !news.is_empty() {
                    return Some((stream::iter(news), told));
                }
                told.0.changed.notified().await;
            }
        })
        .flatten()
        .boxed()
    }
}
