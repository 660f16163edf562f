//! A stream of the objects that changed in a way that matters to its reader. It never blocks the watch: who
//! falls behind looks at the whole store again.

use super::{Kind, Notice, name_of};
use control::ObjectName;
use kube::Resource;
use serde::de::DeserializeOwned;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt::Debug,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};
use tokio::sync::broadcast::{self, error::RecvError};

/// An object that changed.
#[derive(Debug)]
pub enum Change<R> {
    /// It is new, or differs from when it was last seen.
    Applied(Arc<R>),
    /// It is gone.
    Gone(ObjectName),
}

impl<R: Resource> Change<R> {
    /// Whose change it is.
    #[must_use]
    pub fn name(&self) -> ObjectName {
        match self {
            Self::Applied(object) => name_of(object.as_ref()),
            Self::Gone(name) => name.clone(),
        }
    }
}

/// See the module. Endless while the watch runs.
#[derive(Debug)]
pub struct Follow<R: Resource<DynamicType = ()> + 'static> {
    kind: Kind<R>,
    notices: broadcast::Receiver<Notice>,
    print: fn(&R) -> u64,
    known: HashMap<ObjectName, u64>,
    pending: VecDeque<ObjectName>,
    started: bool,
}

/// A short print of a value, to tell versions apart within this process.
pub fn fingerprint(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl<R> Follow<R>
where
    R: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    pub(super) fn new(kind: Kind<R>, notices: broadcast::Receiver<Notice>, print: fn(&R) -> u64) -> Self {
        Self { kind, notices, print, known: HashMap::new(), pending: VecDeque::new(), started: false }
    }

    /// The next change; `None` when the watch ended.
    pub async fn next(&mut self) -> Option<Change<R>> {
        if !self.started {
            self.kind.ready().await.ok()?;
            self.started = true;
            self.look_at_all();
        }
        loop {
            while let Some(name) = self.pending.pop_front() {
                if let Some(change) = self.look_at(name) {
                    return Some(change);
                }
            }
            match self.notices.recv().await {
                Ok(Notice::One(name)) => self.pending.push_back(name),
                Ok(Notice::Any) | Err(RecvError::Lagged(_)) => self.look_at_all(),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// The same as a stream.
    pub fn into_stream(self) -> impl futures::Stream<Item = Change<R>> + Send {
        futures::stream::unfold(self, |mut follow| async move {
            let change = follow.next().await?;
            Some((change, follow))
        })
    }

    fn look_at_all(&mut self) {
        let present: HashSet<ObjectName> =
            self.kind.all().iter().map(|object| name_of(object.as_ref())).collect();
        let gone = self.known.keys().filter(|name| !present.contains(*name));
        let mut all: Vec<ObjectName> = gone.cloned().chain(present.iter().cloned()).collect();
        all.sort();
        self.pending = all.into();
    }

    fn look_at(&mut self, name: ObjectName) -> Option<Change<R>> {
        let Some(object) = self.kind.get(&name) else {
            return self.known.remove(&name).map(|_| Change::Gone(name));
        };
        let print = (self.print)(&object);
        let before = self.known.insert(name, print);
        (before != Some(print)).then_some(Change::Applied(object))
    }
}
