//! Two replicas, one Lease, a clock that the test holds.

use super::*;
use crate::testing::FakeApi;
use prometheus::IntGauge;
use runtime::tasks::{OnError, Tasks};

fn elector(api: &FakeApi, identity: &str) -> (Elector, Leadership) {
    let leadership = Leadership::new();
    let elector = Elector {
        leases: Api::namespaced(api.client(), "pinnace-system"),
        name: "pinnace-operator".into(),
        identity: identity.into(),
        leadership: leadership.clone(),
        gauge: IntGauge::new("test", "test").unwrap(),
    };
    (elector, leadership)
}

fn start(elector: Elector) -> Tasks {
    let tasks = Tasks::new(Shutdown::new());
    let shutdown = tasks.shutdown().clone();
    drop(tasks.spawn("lease", OnError::Shutdown, elector.run(shutdown)));
    tasks
}

async fn settle(seconds: u64) {
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn holder_in(api: &FakeApi) -> Option<String> {
    api.find("Lease", "pinnace-operator")?["spec"]["holderIdentity"].as_str().map(str::to_owned)
}

/// Goal: one of two holds the Lease; when it ends in order, the other takes over at once.
#[tokio::test(start_paused = true)]
async fn the_lease_is_given_back() {
    let api = FakeApi::default();
    let (first, first_leads) = elector(&api, "one");
    let (second, second_leads) = elector(&api, "two");
    let first = start(first);
    first_leads.acquired().await;
    let _second = start(second);
    settle(60).await;
    assert!(first_leads.is_leader() && !second_leads.is_leader());
    first.shutdown().begin();
    assert_eq!(first.drain(Duration::from_secs(5)).await, 0);
    assert_eq!(first_leads.check(), Err(NotLeader));
    settle(4).await;
    assert!(second_leads.is_leader());
    assert_eq!(holder_in(&api).as_deref(), Some("two"));
}

/// Goal: a holder that vanished is followed after the Lease's end, not before; if it comes back it ends itself.
#[tokio::test(start_paused = true)]
async fn a_vanished_holder_is_followed() {
    let api = FakeApi::default();
    let (dead, _) = elector(&api, "dead");
    let mut sighting = Sighting { record: None, since: clock::now() };
    assert_eq!(dead.step(&mut sighting).await.unwrap(), None);
    let (second, second_leads) = elector(&api, "two");
    let _second = start(second);
    settle(14).await;
    assert!(!second_leads.is_leader());
    settle(8).await;
    assert!(second_leads.is_leader());
    assert_eq!(dead.step(&mut sighting).await.unwrap().as_deref(), Some("two"));
}

/// Goal: writing stops before anybody else may take the Lease, even when nobody says so.
#[tokio::test(start_paused = true)]
async fn writing_stops_without_renewal() {
    let leadership = Leadership::new();
    assert_eq!(leadership.check(), Err(NotLeader));
    leadership.renewed_at(Some(clock::now()));
    settle(9).await;
    assert_eq!(leadership.check(), Ok(()));
    settle(1).await;
    assert_eq!(leadership.check(), Err(NotLeader));
    assert!(WRITE_WINDOW < LEASE_DURATION);
}

/// Goal: a replica whose Lease was taken ends.
#[tokio::test(start_paused = true)]
async fn a_taken_lease_ends_the_replica() {
    let api = FakeApi::default();
    let (first, first_leads) = elector(&api, "one");
    let tasks = start(first);
    first_leads.acquired().await;
    let mut lease = api.find("Lease", "pinnace-operator").unwrap();
    lease["spec"]["holderIdentity"] = "two".into();
    api.put(lease);
    settle(4).await;
    assert!(tasks.shutdown().has_begun());
    assert!(!first_leads.is_leader());
}
