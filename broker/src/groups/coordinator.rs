//! Drives the groups of both kinds: gives them time, stores them, and hands their answers to whoever waits.
//!
//! What groups decide is in their own state machines. Time costs what is due, not what there is: deadlines are
//! kept in order, and a deadline that moved away is noticed only when it comes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use kafka_wire::ErrorCode;
use runtime::{
    clock::{self, Instant},
    tasks::{OnError, Tasks},
};
use tokio::sync::{Notify, oneshot};

use super::{
    consumer_group::{self, ConsumerGroup},
    group::{self, Group, Joined, Output, Synced},
    offsets::Offsets,
};
use crate::{
    dynamic_config::DynamicConfigs,
    metrics::Metrics,
    store::{Change, Store, StoreError},
};

mod classic;
mod consumer;
mod keep;
mod list;
mod steps;

pub(crate) use consumer::Committer;
use steps::{Step, perform};

/// Groups at a time.
const GROUPS_MAX: usize = 50_000;

type JoinAnswer = Result<Joined, (ErrorCode, String)>;
type SyncAnswer = Result<Synced, ErrorCode>;

/// What groups of the two kinds allow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) classic: group::Limits,
    pub(crate) consumer: consumer_group::Limits,
}

enum Waiting {
    Join(oneshot::Sender<JoinAnswer>),
    Sync(oneshot::Sender<SyncAnswer>),
}

enum Kind {
    Classic(Group),
    Consumer(ConsumerGroup),
}

impl Kind {
    fn poll_timeout(&self) -> Option<u64> {
        match self {
            Self::Classic(group) => group.poll_timeout(),
            Self::Consumer(group) => group.poll_timeout(),
        }
    }

    fn handle_timeout(&mut self, now_ms: u64) {
        match self {
            Self::Classic(group) => group.handle_timeout(now_ms),
            Self::Consumer(group) => group.handle_timeout(now_ms),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_empty(),
            Self::Consumer(group) => group.is_empty(),
        }
    }

    /// Nobody is in it, and nobody ever was.
    fn came_to_nothing(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_empty() && group.generation() == 0,
            Self::Consumer(group) => group.is_empty() && group.epoch() == 0,
        }
    }

    fn member_count(&self) -> usize {
        match self {
            Self::Classic(group) => group.members().count(),
            Self::Consumer(group) => group.member_count(),
        }
    }
}

struct Entry {
    kind: Kind,
    /// When it last had members, milliseconds since 1970.
    used_ms: i64,
    /// Its place in the order of deadlines; never too late, maybe too early.
    timer_ms: Option<u64>,
    /// Members that are in the sum of all.
    counted: usize,
    /// What could not be written when it changed, for want of room: it goes with the next change, and nobody is told
    /// anything before.
    unwritten: BTreeMap<String, Option<Bytes>>,
}

impl Entry {
    fn new(kind: Kind, used_ms: i64) -> Self {
        Self { kind, used_ms, timer_ms: None, counted: 0, unwritten: BTreeMap::new() }
    }
}

#[derive(Default)]
struct Inner {
    groups: HashMap<Arc<str>, Entry>,
    /// The deadlines of the groups, the first one first.
    timers: BTreeSet<(u64, Arc<str>)>,
    members: usize,
    waiting: HashMap<u64, Waiting>,
    next_ticket: u64,
}

/// All groups.
pub(crate) struct Coordinator {
    inner: Mutex<Inner>,
    wake: Notify,
    started: Instant,
    limits: Limits,
    configs: Arc<DynamicConfigs>,
    store: Arc<Store>,
    tasks: Tasks,
    metrics: Metrics,
    pub(crate) offsets: Offsets,
}

impl Coordinator {
    pub(crate) fn open(
        store: &Arc<Store>,
        (limits, configs): (Limits, &Arc<DynamicConfigs>),
        tasks: Tasks,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        let coordinator = Self {
            inner: Mutex::default(),
            wake: Notify::new(),
            started: clock::now(),
            limits,
            configs: Arc::clone(configs),
            store: Arc::clone(store),
            tasks,
            metrics,
            offsets: Offsets::new(store),
        };
        let mut groups = keep::load_classic(store, limits.classic)?;
        groups.extend(keep::load_consumer(store, &|id| coordinator.consumer_limits(id))?);
        {
            let mut inner = coordinator.lock();
            for (id, entry) in groups {
                let id: Arc<str> = Arc::from(id);
                inner.groups.insert(Arc::clone(&id), entry);
                coordinator.note(&mut inner, &id);
            }
        }
        Ok(coordinator)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a consumer group allows, with what was set for it alone.
    fn consumer_limits(&self, group: &str) -> consumer_group::Limits {
        let (session_timeout_ms, heartbeat_interval_ms) = self.configs.consumer_group(group);
        consumer_group::Limits { session_timeout_ms, heartbeat_interval_ms, ..self.limits.consumer }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Gives the groups time, until the process ends.
    pub(crate) async fn run(&self) {
        loop {
            let next_ms = self.lock().timers.first().map(|(at_ms, _)| *at_ms);
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
        let mut due = Vec::new();
        while let Some((_, id)) = inner.timers.first().filter(|(at_ms, _)| *at_ms <= now_ms).cloned() {
            inner.timers.pop_first();
            due.push(id);
        }
        let mut steps = Vec::new();
        for id in due {
            if let Some(entry) = inner.groups.get_mut(&id) {
                entry.timer_ms = None;
                entry.kind.handle_timeout(now_ms);
            }
            steps.extend(self.collect(&mut inner, &id));
        }
        drop(inner);
        self.perform(steps);
    }

    /// What a group wants done; forgets it when it never came to anything.
    fn collect(&self, inner: &mut Inner, id: &Arc<str>) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some(entry) = inner.groups.get_mut(id) else { return steps };
        if !entry.kind.is_empty() {
            entry.used_ms = clock::unix_ms();
        }
        if !entry.unwritten.is_empty() {
            steps.push(self.stored(&mut entry.unwritten, Ok(Vec::new())));
        }
        match &mut entry.kind {
            Kind::Classic(group) => {
                while let Some(output) = group.poll_output() {
                    let step = match output {
                        Output::Store => {
                            let changes = keep::classic_changes(id, group, entry.used_ms);
                            Some(self.stored(&mut entry.unwritten, changes))
                        }
                        Output::Join(ticket, answer) => match inner.waiting.remove(&ticket) {
                            Some(Waiting::Join(sender)) => Some(Step::Join(sender, answer)),
                            _ => None,
                        },
                        Output::Sync(ticket, answer) => {
                            // The leader's part may still be on its way to the disk when a follower asks: no
                            // assignment is given that a crash could take back.
                            if steps.is_empty()
                                && let Some(stored) = self.store.unsettled()
                            {
                                steps.push(Step::Stored(Box::pin(stored)));
                            }
                            match inner.waiting.remove(&ticket) {
                                Some(Waiting::Sync(sender)) => Some(Step::Sync(sender, answer)),
                                _ => None,
                            }
                        }
                    };
                    steps.extend(step);
                }
            }
            Kind::Consumer(group) => {
                match keep::consumer_changes(id, group, entry.used_ms).transpose() {
                    Some(changes) => steps.push(self.stored(&mut entry.unwritten, changes)),
                    // What an earlier call changed may still be on its way to the disk, or not get there.
                    None => {
                        let unsettled = self.store.unsettled();
                        steps.extend(unsettled.map(|stored| Step::Stored(Box::pin(stored))));
                    }
                }
            }
        }
        if entry.kind.came_to_nothing() {
            self.forget(inner, id);
        } else {
            self.note(inner, id);
        }
        steps
    }

    /// Writes changes now, with those that could not be written before; the step ends when they are durable.
    fn stored(
        &self,
        unwritten: &mut BTreeMap<String, Option<Bytes>>,
        changes: Result<Vec<Change>, StoreError>,
    ) -> Step {
        let written = changes.and_then(|changes| {
            unwritten.extend(changes);
            self.store.write(unwritten.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
        });
        match written {
            Ok(stored) => {
                unwritten.clear();
                Step::Stored(Box::pin(stored))
            }
            Err(error) => Step::Stored(Box::pin(std::future::ready(Err(error)))),
        }
    }

    /// Brings the order of deadlines and the counts up to a group. A deadline that moved away stays where it is,
    /// so that heartbeats cost nothing.
    fn note(&self, inner: &mut Inner, id: &Arc<str>) {
        let Some(entry) = inner.groups.get_mut(id) else { return };
        if let Some(at_ms) = entry.kind.poll_timeout()
            && entry.timer_ms.is_none_or(|before_ms| at_ms < before_ms)
        {
            if let Some(before_ms) = entry.timer_ms.replace(at_ms) {
                inner.timers.remove(&(before_ms, Arc::clone(id)));
            }
            inner.timers.insert((at_ms, Arc::clone(id)));
            if inner.timers.first().is_some_and(|(_, first)| first == id) {
                self.wake.notify_one();
            }
        }
        let count = entry.kind.member_count();
        inner.members = (inner.members + count).saturating_sub(entry.counted);
        entry.counted = count;
        self.gauge(inner);
    }

    /// Takes a group out.
    fn forget(&self, inner: &mut Inner, id: &str) -> Option<Entry> {
        let (id, entry) = inner.groups.remove_entry(id)?;
        if let Some(at_ms) = entry.timer_ms {
            inner.timers.remove(&(at_ms, id));
        }
        inner.members = inner.members.saturating_sub(entry.counted);
        self.gauge(inner);
        Some(entry)
    }

    fn gauge(&self, inner: &Inner) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.groups.set(gauge(inner.groups.len()));
        self.metrics.group_members.set(gauge(inner.members));
    }

    /// Does the steps in order. What has to wait for the disk goes on by itself: whoever caused it may be
    /// gone before, and others wait for it.
    fn perform(&self, steps: Vec<Step>) {
        if steps.iter().any(|step| matches!(step, Step::Stored(_))) {
            drop(self.tasks.spawn("group answers", OnError::Log, async move {
                let _stored = perform(steps).await;
                Ok::<_, std::convert::Infallible>(())
            }));
            return;
        }
        for step in steps {
            step.say(true);
        }
    }
}

impl Inner {
    fn ticket(&mut self, waiting: Waiting) -> u64 {
        self.next_ticket += 1;
        self.waiting.insert(self.next_ticket, waiting);
        self.next_ticket
    }

    /// The group's own name for itself, which costs no copy.
    fn name(&self, id: &str) -> Option<Arc<str>> {
        self.groups.get_key_value(id).map(|(id, _)| Arc::clone(id))
    }
}

#[cfg(test)]
mod tests;
