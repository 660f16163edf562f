//! Many things go wrong at once: three replicas that write all the time, and a judge at the API server who knows whose
//! Lease it was when each write arrived.

use super::*;
use crate::testing::Fault;
use k8s_openapi::api::core::v1::ConfigMap;
use runtime::random;
use std::sync::Arc;

const NAMES: [&str; 3] = ["one", "two", "three"];
const STEPS: usize = 80;
const SEEDS: u64 = 10;

fn below(bound: u64) -> u64 {
    random::number() % bound
}

/// Writes as fast as it may, until it is dropped.
async fn write_always(api: Api<ConfigMap>, leadership: Leadership, name: &'static str) {
    let mut count = 0_u64;
    loop {
        count += 1;
        let part: ConfigMap = serde_json::from_value(serde_json::json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"count": count.to_string()},
        }))
        .unwrap();
        drop(leadership.write(crate::apply::apply_part(&api, &part, name)).await);
        tokio::time::sleep(millis(7)).await;
    }
}

struct Process {
    name: &'static str,
    replica: Replica,
    writer: JoinHandle<()>,
}

impl Process {
    fn start(api: &FakeApi, name: &'static str) -> Self {
        let replica = Replica::start(api, name);
        let config_maps = Api::namespaced(api.client_over(&replica.line), "pinnace-system");
        let writing = write_always(config_maps, replica.leadership.clone(), name);
        let writer = replica.tasks.spawn_until_shutdown("writer", writing);
        Self { name, replica, writer }
    }

    /// In order or not; another one of the same Pod or of another follows.
    async fn end(self, in_order: bool) {
        if in_order {
            self.replica.stop().await;
        }
        self.writer.abort();
        self.replica.kill();
    }
}

/// A write that arrives while somebody else holds the Lease, or nobody, is one of two writers. Returns how many there were.
fn judge(api: &FakeApi, seed: u64) -> usize {
    let (mut holder, mut writes) = (String::new(), 0);
    for (_, event) in api.history() {
        let object = &event["object"];
        match (object["kind"].as_str(), event["type"].as_str()) {
            // Whoever had one that was deleted goes on for its window.
            (Some("Lease"), Some("DELETED")) => {}
            (Some("Lease"), _) if object["spec"]["holderIdentity"] == sighting::NOBODY => {}
            (Some("Lease"), _) => {
                object["spec"]["holderIdentity"].as_str().unwrap_or_default().clone_into(&mut holder);
            }
            _ => {
                assert_eq!(
                    object["metadata"]["name"], holder,
                    "seed {seed}: wrote in the term of {holder:?}"
                );
                writes += 1;
            }
        }
    }
    writes
}

async fn disturb(api: &FakeApi, processes: &mut Vec<Process>) {
    let index = usize::try_from(below(3)).unwrap();
    let line = processes[index].replica.line.clone();
    match below(10) {
        0 | 1 => line.cut(true),
        2..=4 => line.cut(false),
        5 => line.delay(millis(below(300))),
        6 => api.delete("Lease", "pinnace-operator"),
        7 => {
            let losing = |_: &str| match below(6) {
                0 | 1 => Some(Fault::AnswerLost),
                2 => Some(Fault::Refused(500)),
                _ => None,
            };
            line.disturb((below(2) == 0).then(|| Arc::new(losing) as _));
        }
        8 => {
            let name = processes[index].name;
            processes.remove(index).end(below(2) == 0).await;
            processes.insert(index, Process::start(api, name));
        }
        _ => clock::hold(seconds(1_700_000_000 + below(100_000))),
    }
}

async fn storm(seed: u64) -> usize {
    let api = FakeApi::default();
    clock::hold(seconds(1_700_000_000));
    let mut processes: Vec<Process> = NAMES.iter().map(|name| Process::start(&api, name)).collect();
    for _ in 0..STEPS {
        disturb(&api, &mut processes).await;
        let until = clock::now() + millis(below(1500));
        while clock::now() < until {
            tokio::time::sleep(GRAIN).await;
            let leaders = processes.iter().filter(|process| process.replica.leads()).count();
            assert!(leaders <= 1, "seed {seed}: {leaders} may write");
        }
    }
    for process in &processes {
        process.replica.line.cut(false);
        process.replica.line.delay(Duration::ZERO);
        process.replica.line.disturb(None);
    }
    tokio::time::sleep(seconds(7)).await;
    let leaders = processes.iter().filter(|process| process.replica.leads()).count();
    assert_eq!(leaders, 1, "seed {seed}: nobody leads though all is well");
    judge(&api, seed)
}

/// Goal: whatever happens to lines, clocks, processes and the Lease itself, no two replicas may write at one moment, no
/// write arrives in somebody else's term, and when all is well somebody leads.
#[test]
fn never_two_writers() {
    let mut writes = 0;
    for seed in 0..SEEDS {
        random::seed(seed);
        let builder = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        writes += builder.unwrap().block_on(storm(seed));
    }
    // Without many writes nothing would be proven.
    assert!(writes > 10_000, "{writes} writes");
}
