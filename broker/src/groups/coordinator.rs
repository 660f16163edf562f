//! Drives the groups: gives them time, stores them, and hands their answers to whoever waits.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kafka_wire::ErrorCode;
use runtime::{
    clock::{self, Instant},
    tasks::{OnError, Tasks},
};
use tokio::sync::{Notify, oneshot};

use super::{
    group::{Group, Join, Joined, Limits, Output, State, StoredGroup, Sync, Synced},
    offsets::Offsets,
};
use crate::{
    metrics::Metrics,
    store::{Store, StoreError, json_change},
};

const PREFIX: &str = "group/";
/// Groups at a time.
const GROUPS_MAX: usize = 50_000;

type JoinAnswer = Result<Joined, (ErrorCode, String)>;
type SyncAnswer = Result<Synced, ErrorCode>;
type Stored = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

enum Waiting {
    Join(oneshot::Sender<JoinAnswer>),
    Sync(oneshot::Sender<SyncAnswer>),
}

/// What is to be done outside of the lock, in order.
enum Step {
    Join(oneshot::Sender<JoinAnswer>, JoinAnswer),
    Sync(oneshot::Sender<SyncAnswer>, SyncAnswer),
    /// What follows is said only when this ended well.
    Stored(Stored),
}

struct Entry {
    group: Group,
    /// When it last had members, milliseconds since 1970.
    used_ms: i64,
}

#[derive(Default)]
struct Inner {
    groups: HashMap<String, Entry>,
    waiting: HashMap<u64, Waiting>,
    next_ticket: u64,
}

/// All groups.
pub(crate) struct Coordinator {
    inner: Mutex<Inner>,
    wake: Notify,
    started: Instant,
    limits: Limits,
    store: Arc<Store>,
    tasks: Tasks,
    metrics: Metrics,
    pub(crate) offsets: Offsets,
}

impl Coordinator {
    pub(crate) fn open(
        store: &Arc<Store>,
        limits: Limits,
        tasks: Tasks,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        let mut inner = Inner::default();
        let used_ms = clock::unix_ms();
        for (id, stored) in store.load::<StoredGroup>(PREFIX)? {
            inner.groups.insert(id, Entry { group: Group::from_stored(limits, stored, 0), used_ms });
        }
        let coordinator = Self {
            inner: Mutex::new(inner),
            wake: Notify::new(),
            started: clock::now(),
            limits,
            store: Arc::clone(store),
            tasks,
            metrics,
            offsets: Offsets::new(store),
        };
        coordinator.count(&coordinator.lock());
        Ok(coordinator)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn count(&self, inner: &Inner) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.groups.set(gauge(inner.groups.len()));
        let members = inner.groups.values().map(|entry| entry.group.members().count()).sum();
        self.metrics.group_members.set(gauge(members));
    }

    /// Gives the groups time, until the process ends.
    pub(crate) async fn run(&self) {
        loop {
            let next_ms = self.lock().groups.values().filter_map(|entry| entry.group.poll_timeout()).min();
            let sleep = async {
                match next_ms {
                    Some(at_ms) => {
                        let wait_ms = at_ms.saturating_sub(self.now_ms()).max(1);
                        tokio::time::sleep(std::time::Duration::from_millis(wait_ms)).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = sleep => self.pass_time(),
                () = self.wake.notified() => {}
            }
        }
    }

    fn pass_time(&self) {
        let now_ms = self.now_ms();
        let mut inner = self.lock();
        let due = |entry: &Entry| entry.group.poll_timeout().is_some_and(|at_ms| at_ms <= now_ms);
        let ids: Vec<String> =
            inner.groups.iter().filter(|(_, entry)| due(entry)).map(|(id, _)| id.clone()).collect();
        let mut steps = Vec::new();
        for id in ids {
            if let Some(entry) = inner.groups.get_mut(&id) {
                entry.group.handle_timeout(now_ms);
            }
            steps.extend(self.collect(&mut inner, &id));
        }
        drop(inner);
        self.perform(steps);
    }

    /// What a group wants done; forgets it when it never came to anything.
    fn collect(&self, inner: &mut Inner, id: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some(entry) = inner.groups.get_mut(id) else { return steps };
        if !entry.group.is_empty() {
            entry.used_ms = clock::unix_ms();
        }
        while let Some(output) = entry.group.poll_output() {
            let step = match output {
                Output::Store => Some(Step::Stored(self.store_group(id, &entry.group))),
                Output::Join(ticket, answer) => match inner.waiting.remove(&ticket) {
                    Some(Waiting::Join(sender)) => Some(Step::Join(sender, answer)),
                    _ => None,
                },
                Output::Sync(ticket, answer) => match inner.waiting.remove(&ticket) {
                    Some(Waiting::Sync(sender)) => Some(Step::Sync(sender, answer)),
                    _ => None,
                },
            };
            steps.extend(step);
        }
        let came_to_nothing = entry.group.is_empty() && entry.group.generation() == 0;
        if came_to_nothing {
            inner.groups.remove(id);
        }
        if came_to_nothing || !steps.is_empty() {
            self.count(inner);
        }
        steps
    }

    /// Lets `work` change a group, and wakes the one who gives time when there is less of it now. Heartbeats only
    /// push ends further away: they wake nobody.
    fn change<T>(
        &self,
        inner: &mut Inner,
        id: &str,
        work: impl FnOnce(&mut Group, u64) -> T,
    ) -> Option<(T, Vec<Step>)> {
        let now_ms = self.now_ms();
        let group = &mut inner.groups.get_mut(id)?.group;
        let before = group.poll_timeout();
        let result = work(group, now_ms);
        let after = group.poll_timeout();
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.wake.notify_one();
        }
        let steps = self.collect(inner, id);
        Some((result, steps))
    }

    fn store_group(&self, id: &str, group: &Group) -> Stored {
        let change = json_change(format!("{PREFIX}{id}"), &group.to_stored());
        match change.and_then(|change| self.store.write(vec![change])) {
            Ok(stored) => Box::pin(stored),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    /// Does the steps in order. What has to wait for the disk goes on by itself: whoever caused it may be
    /// gone before, and others wait for it.
    fn perform(&self, steps: Vec<Step>) {
        if steps.iter().any(|step| matches!(step, Step::Stored(_))) {
            drop(self.tasks.spawn("group answers", OnError::Log, async move {
                perform(steps).await;
                Ok::<_, std::convert::Infallible>(())
            }));
            return;
        }
        for step in steps {
            step.say(true);
        }
    }

    /// Joins, and waits for the others.
    pub(crate) async fn join(&self, group: &str, join: Join) -> JoinAnswer {
        let (sender, receiver) = oneshot::channel();
        let steps = {
            let mut inner = self.lock();
            if !inner.groups.contains_key(group) {
                if !join.member.is_empty() {
                    return Err((ErrorCode::UnknownMemberId, join.member));
                }
                if inner.groups.len() >= GROUPS_MAX {
                    return Err((ErrorCode::GroupMaxSizeReached, join.member));
                }
            }
            let ticket = inner.ticket(Waiting::Join(sender));
            inner.make_if_missing(group, self.limits);
            let joined = |group: &mut Group, now_ms| group.handle_join(join, ticket, now_ms);
            self.change(&mut inner, group, joined).map_or_else(Vec::new, |((), steps)| steps)
        };
        self.perform(steps);
        receiver.await.unwrap_or(Err((ErrorCode::CoordinatorNotAvailable, String::new())))
    }

    /// Syncs, and waits for the leader.
    pub(crate) async fn sync(&self, group: &str, sync: Sync) -> SyncAnswer {
        let (sender, receiver) = oneshot::channel();
        let steps = {
            let mut inner = self.lock();
            if !inner.groups.contains_key(group) {
                return Err(ErrorCode::UnknownMemberId);
            }
            let ticket = inner.ticket(Waiting::Sync(sender));
            let synced = |group: &mut Group, now_ms| group.handle_sync(sync, ticket, now_ms);
            self.change(&mut inner, group, synced).map_or_else(Vec::new, |((), steps)| steps)
        };
        self.perform(steps);
        receiver.await.unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))
    }

    /// Does something with a group that is there.
    pub(crate) fn with_group<T>(&self, group: &str, work: impl FnOnce(&mut Group, u64) -> T) -> Option<T> {
        let (result, steps) = self.change(&mut self.lock(), group, work)?;
        self.perform(steps);
        Some(result)
    }

    /// The groups with members or a past, and those that only committed offsets.
    pub(crate) fn list(&self) -> Vec<(String, State, String)> {
        let mut listed: Vec<_> = {
            let inner = self.lock();
            let all = inner.groups.iter();
            all.map(|(id, entry)| (id.clone(), entry.group.state(), entry.group.protocol_type().to_owned()))
                .collect()
        };
        for id in self.offsets.groups() {
            if !listed.iter().any(|(known, ..)| *known == id) {
                listed.push((id, State::Empty, String::new()));
            }
        }
        listed
    }

    /// Deletes a group that has no members, with its offsets.
    pub(crate) async fn delete(&self, group: &str) -> Result<(), ErrorCode> {
        let known = {
            let mut inner = self.lock();
            match inner.groups.get(group) {
                Some(entry) if !entry.group.is_empty() => return Err(ErrorCode::NonEmptyGroup),
                Some(_) => {
                    inner.groups.remove(group);
                    self.count(&inner);
                    true
                }
                None => false,
            }
        };
        let places: Vec<_> = self.offsets.of_group(group).into_iter().map(|(place, _)| place).collect();
        if !known && places.is_empty() {
            return Err(ErrorCode::GroupIdNotFound);
        }
        let mut changes = Offsets::removal(group, &places);
        changes.push((format!("{PREFIX}{group}"), None));
        let written = self.store.write(changes).map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
        written.await.map_err(|_| ErrorCode::CoordinatorNotAvailable)
    }

    /// Forgets the offsets of groups that have been empty for longer than `retention_ms`.
    pub(crate) async fn expire(&self, retention_ms: i64) {
        let before_ms = clock::unix_ms().saturating_sub(retention_ms);
        let mut ids = self.offsets.groups();
        ids.extend(self.lock().groups.keys().cloned());
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let in_use = self
                .lock()
                .groups
                .get(&id)
                .is_some_and(|entry| !entry.group.is_empty() || entry.used_ms >= before_ms);
            let newest =
                self.offsets.of_group(&id).into_iter().map(|(_, committed)| committed.committed_ms).max();
            if in_use || newest.is_some_and(|committed_ms| committed_ms >= before_ms) {
                continue;
            }
            if let Err(code) = self.delete(&id).await {
                tracing::warn!(group = id, %code, "cannot forget a group that is long empty");
            } else {
                tracing::info!(group = id, "forgot a group that was long empty");
            }
        }
    }
}

impl Inner {
    fn ticket(&mut self, waiting: Waiting) -> u64 {
        self.next_ticket += 1;
        self.waiting.insert(self.next_ticket, waiting);
        self.next_ticket
    }

    fn make_if_missing(&mut self, group: &str, limits: Limits) {
        let fresh = || Entry { group: Group::new(limits), used_ms: clock::unix_ms() };
        self.groups.entry(group.to_owned()).or_insert_with(fresh);
    }
}

impl Step {
    /// Answers; the one who waits may be gone.
    fn say(self, stored: bool) {
        match self {
            Self::Join(sender, answer) => drop(sender.send(if stored {
                answer
            } else {
                Err((ErrorCode::CoordinatorNotAvailable, String::new()))
            })),
            Self::Sync(sender, answer) => {
                drop(sender.send(if stored { answer } else { Err(ErrorCode::CoordinatorNotAvailable) }));
            }
            Self::Stored(_) => {}
        }
    }
}

async fn perform(steps: Vec<Step>) {
    let mut stored = true;
    for step in steps {
        if let Step::Stored(writing) = step {
            let outcome = writing.await;
            stored = outcome.is_ok();
            if let Err(error) = outcome {
                tracing::error!(error = crate::error_text(&error), "cannot store a group");
            }
        } else {
            step.say(stored);
        }
    }
}
