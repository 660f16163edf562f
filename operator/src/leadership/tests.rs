//! Several replicas, one Lease, a clock and lines to the API server that the test holds.

mod simulation;
mod timing;

use super::*;
use crate::testing::{FakeApi, Line};
use kube::Api;
use prometheus::IntGauge;
use runtime::{
    shutdown::Shutdown,
    tasks::{OnError, Tasks},
};
use tokio::task::JoinHandle;

/// How often it is looked who may write.
const GRAIN: Duration = Duration::from_millis(5);

/// One process of the operator, as far as the Lease is concerned.
struct Replica {
    line: Line,
    leadership: Leadership,
    tasks: Tasks,
    elector: JoinHandle<()>,
}

impl Replica {
    fn start(api: &FakeApi, identity: &str) -> Self {
        let (line, leadership) = (Line::default(), Leadership::new());
        let elector = Elector {
            leases: Api::namespaced(api.client_over(&line), "pinnace-system"),
            name: "pinnace-operator".into(),
            identity: identity.into(),
            leadership: leadership.clone(),
            gauge: IntGauge::new("test", "test").unwrap(),
        };
        let tasks = Tasks::new(Shutdown::new());
        let elector = tasks.spawn("lease", OnError::Shutdown, elector.run(tasks.shutdown().clone()));
        Self { line, leadership, tasks, elector }
    }

    fn leads(&self) -> bool {
        self.leadership.is_leader()
    }

    /// Nothing of it is left, and nobody is told.
    fn kill(self) {
        self.elector.abort();
    }

    async fn stop(&self) {
        self.tasks.shutdown().begin();
        assert_eq!(self.tasks.drain(Duration::from_secs(5)).await, 0);
    }
}

fn holder_in(api: &FakeApi) -> Option<String> {
    api.find("Lease", "pinnace-operator")?["spec"]["holderIdentity"].as_str().map(str::to_owned)
}

/// Lets time pass, looking all the time that at most one may write.
async fn pass(replicas: &[&Replica], time: Duration) {
    let until = clock::now() + time;
    while clock::now() < until {
        tokio::time::sleep(GRAIN).await;
        let leaders = replicas.iter().filter(|replica| replica.leads()).count();
        assert!(leaders <= 1, "{leaders} may write");
    }
}

/// How long it takes until the last one may write.
async fn until_leads(replicas: &[&Replica]) -> Duration {
    let from = clock::now();
    let last = replicas.last().unwrap();
    while !last.leads() {
        pass(replicas, GRAIN).await;
        assert!(from.elapsed() < Duration::from_secs(120), "nobody leads");
    }
    from.elapsed()
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Goal: what is being written when the window closes is dropped where it stands, and nothing begins afterwards.
#[tokio::test(start_paused = true)]
async fn a_write_ends_with_its_window() {
    let leadership = Leadership::new();
    assert_eq!(leadership.write(async { 1 }).await, Err(NotLeader));
    leadership.renewed(Renewal::now());
    assert_eq!(leadership.write(async { 1 }).await, Ok(1));
    let from = clock::now();
    let endless = leadership.write(std::future::pending::<()>());
    assert_eq!(endless.await, Err(NotLeader));
    assert!(from.elapsed() >= WRITE_WINDOW && from.elapsed() < WRITE_WINDOW + millis(10));
    assert_eq!(leadership.write(async { 1 }).await, Err(NotLeader));
    // A renewal meanwhile gives it more time; the end of the term takes it all.
    leadership.renewed(Renewal::now());
    let (writing, renewing) = (leadership.clone(), leadership.clone());
    let from = clock::now();
    let (outcome, ()) = tokio::join!(writing.write(std::future::pending::<()>()), async {
        tokio::time::sleep(seconds(2)).await;
        renewing.renewed(Renewal::now());
        tokio::time::sleep(seconds(2)).await;
        assert!(renewing.is_leader());
        renewing.end();
    });
    assert_eq!(outcome, Err(NotLeader));
    assert!(from.elapsed() >= seconds(4) && from.elapsed() < seconds(5));
}

/// Goal: the constants keep the promise: one second between two leaders, and a killed one followed within five.
#[test]
fn the_arithmetic_holds() {
    assert!(WRITE_WINDOW + seconds(1) <= LEASE_DURATION);
    assert!(LOOK_PERIOD + LEASE_DURATION + millis(500) < seconds(5));
    assert!(RENEW_PERIOD + REQUEST_DEADLINE < WRITE_WINDOW, "one renewal that fails is none too many");
    assert!(LOOK_PERIOD + millis(500) < seconds(1));
}
