//! Many groups on a real table: each has one place in the order of deadlines, and is there again after a crash.

use std::{path::Path, sync::Arc};

use kafka_wire::ErrorCode;
use prometheus::Registry;
use runtime::{shutdown::Shutdown, tasks::Tasks};

use super::{Coordinator, Limits};
use crate::{
    commit::{self, CommitThread, Committer},
    disk::DiskStorage,
    dynamic_config::DynamicConfigs,
    groups::{
        assignor::Assignment,
        consumer_group::{self, Answer, Beat, TopicsView},
        group,
        offsets::Committed,
        pending::Pending,
    },
    metrics::Metrics,
    settings::ConsumerGroupSettings,
    store::Store,
};

const LIMITS: Limits = Limits {
    classic: group::Limits {
        initial_delay_ms: 0,
        session_timeout_ms_min: 1,
        session_timeout_ms_max: 100_000,
        size_max: 10,
    },
    consumer: consumer_group::Limits {
        session_timeout_ms: 45_000,
        heartbeat_interval_ms: 5_000,
        size_max: 10,
    },
};
const GROUPS: usize = 40;

fn open(folder: &Path) -> (Coordinator, Metrics, CommitThread) {
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let journal = commit::settings(1 << 22, u64::MAX);
    let commit = Committer::start(DiskStorage::new(folder, 64), journal, metrics.clone()).unwrap();
    let store = Store::open(DiskStorage::new(folder, 64), commit.committer()).unwrap();
    let tasks = Tasks::new(Shutdown::new());
    let configs = Arc::new(DynamicConfigs::open(&store, ConsumerGroupSettings::default()).unwrap());
    (Coordinator::open(&store, (LIMITS, &configs), tasks, metrics.clone()).unwrap(), metrics, commit)
}

async fn beat(coordinator: &Coordinator, group: &str, epoch: i32) -> Answer {
    let beat = Beat {
        member: "m".to_owned(),
        epoch,
        rebalance_timeout_ms: if epoch == 0 { 30_000 } else { -1 },
        names: (epoch == 0).then(|| vec!["topic".to_owned()]),
        owned: (epoch == 0).then(Assignment::new),
        ..Beat::default()
    };
    let topics = TopicsView::default();
    coordinator.heartbeat(group, &beat, &topics, &|_| true).await.unwrap().0
}

fn check_timers(coordinator: &Coordinator, count: usize) {
    let inner = coordinator.lock();
    assert_eq!((inner.groups.len(), inner.timers.len()), (count, count));
    for (id, entry) in &inner.groups {
        let timer_ms = entry.timer_ms.expect("a group with members has a deadline");
        assert!(inner.timers.contains(&(timer_ms, Arc::clone(id))), "{id}");
        assert!(entry.kind.poll_timeout().is_some_and(|at_ms| timer_ms <= at_ms), "{id} would be late");
    }
}

/// Goal: a group has one deadline in the order, however often its members are heard; all are there again after a
/// crash; and what is deleted leaves nothing behind.
#[tokio::test]
async fn each_group_has_one_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let ids: Vec<String> = (0..GROUPS).map(|number| format!("group-{number}")).collect();
    {
        let (coordinator, metrics, _commit) = open(folder.path());
        for id in &ids {
            assert_eq!(beat(&coordinator, id, 0).await.epoch, 1);
            beat(&coordinator, id, 1).await;
        }
        check_timers(&coordinator, GROUPS);
        assert_eq!((metrics.groups.get(), metrics.group_members.get()), (40, 40));
    }
    let (coordinator, metrics, _commit) = open(folder.path());
    check_timers(&coordinator, GROUPS);
    let pending = Pending::open(&coordinator.store).unwrap();
    for id in &ids {
        assert_eq!(beat(&coordinator, id, 1).await.assignment, None, "nobody has to start again");
        assert_eq!(coordinator.delete(id, &pending).await, Err(ErrorCode::NonEmptyGroup));
        beat(&coordinator, id, -1).await;
        assert_eq!(coordinator.delete(id, &pending).await, Ok(()));
        assert_eq!(coordinator.delete(id, &pending).await, Err(ErrorCode::GroupIdNotFound));
    }
    let inner = coordinator.lock();
    assert_eq!((inner.groups.len(), inner.timers.len(), inner.members), (0, 0, 0));
    assert_eq!((metrics.groups.get(), metrics.group_members.get()), (0, 0));
}

/// Goal: an empty group is forgotten with time, but not while a transaction that is open has offsets for it.
#[tokio::test]
async fn open_transactions_keep_a_group() {
    let folder = tempfile::tempdir().unwrap();
    let (coordinator, _, _commit) = open(folder.path());
    let pending = Pending::open(&coordinator.store).unwrap();
    for id in ["kept", "gone"] {
        beat(&coordinator, id, 0).await;
        beat(&coordinator, id, -1).await;
    }
    let committed =
        Committed { offset: 1, leader_epoch: 0, metadata: String::new(), committed_ms: 0, expire_ms: None };
    let changes = pending.add("kept", 1, vec![(("topic".to_owned(), 0), committed)]).unwrap();
    coordinator.store.write(changes).unwrap().await.unwrap();
    coordinator.expire(0, &pending).await;
    let left: Vec<_> = coordinator.lock().groups.keys().map(ToString::to_string).collect();
    assert_eq!((left, pending.has_group("kept")), (vec!["kept".to_owned()], true));
}
