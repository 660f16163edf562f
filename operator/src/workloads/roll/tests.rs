//! Sidecars get their image from a leader that reads a store and writes to an API server, beside a kubelet.

use crate::{
    cluster::Cluster,
    context::Context,
    scope::Scope,
    testing::{FakeApi, FakeBrokers, Fault, Line, context_over},
};
use runtime::{shutdown::Shutdown, tasks::Tasks};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const OLD: &str = "ghcr.io/pinnace/sidecar:1";
/// What the context of tests wants.
const NEW: &str = "ghcr.io/pinnace/sidecar:2";
/// Longer than a new leader waits.
const BEGIN: Duration = Duration::from_secs(60);
const KUBELET: Duration = Duration::from_secs(3);

fn pod(set: &str, number: usize) -> Value {
    let name = format!("{set}-{number}");
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-{name}"),
            "labels": {"pinnace.dev/inject": "true", "pinnace.dev/injected": "true"},
            "annotations": {"theirs": "kept", "pinnace.dev/sidecar-image": OLD},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": set, "uid": set, "controller": true},
            ],
        },
        "spec": {
            "initContainers": [
                {"name": "pinnace-sidecar", "image": OLD, "restartPolicy": "Always", "args": ["a"]},
                {"name": "migrate", "image": "migrate:1"},
            ],
            "containers": [{"name": "app", "image": "app:1"}],
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "initContainerStatuses": [
                {"name": "pinnace-sidecar", "restartCount": 0, "image": OLD},
                {"name": "migrate", "restartCount": 0},
            ],
        },
    })
}

fn cluster() -> FakeApi {
    runtime::clock::hold(Duration::from_secs(1_800_000_000));
    let api = FakeApi::default();
    for set in ["web", "jobs"] {
        (0..3).for_each(|number| api.put(pod(set, number)));
    }
    api
}

fn image(pod: &Value) -> &str {
    pod["spec"]["initContainers"][0]["image"].as_str().unwrap()
}

fn pods(api: &FakeApi) -> Vec<Value> {
    api.objects().into_iter().filter(|object| object["kind"] == "Pod").collect()
}

/// Whether a Pod was changed and its kubelet has not made it Ready again.
fn is_down(pod: &Value) -> bool {
    image(pod) == NEW && pod["status"]["initContainerStatuses"][0]["image"] != NEW
}

/// Restarts sidecars whose image changed; looks at every moment how many of a set are down.
async fn kubelet(api: FakeApi, most_down: Arc<AtomicUsize>) {
    loop {
        tokio::time::sleep(KUBELET).await;
        for set in ["web", "jobs"] {
            let down: Vec<Value> = pods(&api)
                .into_iter()
                .filter(|pod| pod["metadata"]["ownerReferences"][0]["uid"] == set && is_down(pod))
                .collect();
            most_down.fetch_max(down.len(), Ordering::Relaxed);
            for pod in down {
                api.edit("Pod", pod["metadata"]["name"].as_str().unwrap(), |pod| {
                    let status = &mut pod["status"]["initContainerStatuses"][0];
                    let restarts = status["restartCount"].as_u64().unwrap();
                    (status["restartCount"], status["image"]) = (json!(restarts + 1), json!(NEW));
                });
            }
        }
    }
}

/// A kubelet, and how many Pods of a set it ever saw down.
fn node(api: &FakeApi) -> (Tasks, Arc<AtomicUsize>) {
    let (tasks, most_down) = (Tasks::new(Shutdown::new()), Arc::<AtomicUsize>::default());
    drop(tasks.spawn_until_shutdown("kubelet", kubelet(api.clone(), Arc::clone(&most_down))));
    (tasks, most_down)
}

/// A leader whose watches come over `watches` and whose writes go over `writes`.
async fn lead(api: &FakeApi, (watches, writes): (&Line, &Line)) -> (Tasks, Arc<Context>) {
    let tasks = Tasks::new(Shutdown::new());
    let cluster = Cluster::watch(&api.client_over(watches), &Scope::Cluster, &tasks);
    cluster.pods.ready().await.unwrap();
    let context = Arc::new(context_over(cluster, api.client_over(writes), &FakeBrokers::default()));
    crate::workloads::start(&context, &tasks);
    (tasks, context)
}

async fn end(tasks: Tasks) {
    tasks.shutdown().begin();
    assert_eq!(tasks.drain(BEGIN).await, 0);
}

fn outcomes(context: &Context) -> [u64; 4] {
    ["begun", "done", "failed", "refused"]
        .map(|outcome| context.metrics.sidecar_upgrades.with_label_values(&[outcome]).get())
}

fn moved(api: &FakeApi) -> usize {
    pods(api).iter().filter(|pod| image(pod) == NEW).count()
}

/// Goal: all sidecars get the image and nothing else of their Pods changes but our mark; never two of a set are down at a
/// time, though the store is behind; a leader that ends in the middle is followed by one that goes on; and then nothing is
/// written, whatever happens to the Pods.
#[tokio::test(start_paused = true)]
async fn all_sidecars_move_and_then_nothing_is_written() {
    let api = cluster();
    let before = pods(&api);
    let (node, most_down) = node(&api);
    let late = Line::default();
    late.delay(Duration::from_secs(5));
    let (first, _) = lead(&api, (&late, &Line::default())).await;
    while moved(&api) < 3 {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    end(first).await;
    assert!(moved(&api) < 6, "the first leader was not ended in the middle");
    let (second, context) = lead(&api, (&late, &Line::default())).await;
    tokio::time::sleep(BEGIN * 5).await;
    for (pod, before) in pods(&api).into_iter().zip(before) {
        let mut expected = before;
        expected["spec"]["initContainers"][0]["image"] = json!(NEW);
        assert_eq!(pod["spec"], expected["spec"]);
        assert_eq!(pod["metadata"]["annotations"]["theirs"], "kept");
        assert_eq!(pod["status"]["initContainerStatuses"][0]["restartCount"], 1, "{pod}");
    }
    assert_eq!(outcomes(&context)[2..], [0, 0]);
    assert_eq!(
        api.take_writes().len(),
        6,
        "a Pod is written once, and its change is remembered until the store has it"
    );
    for round in 0..10 {
        api.edit("Pod", "web-0", |pod| pod["status"]["round"] = json!(round));
        api.expire();
        tokio::time::sleep(BEGIN).await;
    }
    assert_eq!(api.take_writes(), Vec::<String>::new());
    assert_eq!(most_down.load(Ordering::Relaxed), 1, "so many of a set were down");
    end(second).await;
    end(node).await;
}

/// Goal: a Pod that does not come back stops its set, which is told once, and is counted; the others go on.
#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_come_back_is_told() {
    let api = cluster();
    api.put({
        let mut pod = pod("proof", 0);
        pod["spec"]["initContainers"][0]["image"] = json!(NEW);
        pod["metadata"]["annotations"]["pinnace.dev/sidecar-image"] = json!(NEW);
        pod
    });
    let (tasks, context) = lead(&api, (&Line::default(), &Line::default())).await;
    tokio::time::sleep(BEGIN + Duration::from_secs(240)).await;
    assert_eq!((moved(&api), api.events().len()), (3, 0), "one of each set is down");
    tokio::time::sleep(BEGIN * 60).await;
    assert_eq!(moved(&api), 3);
    let told: Vec<Value> = api.events().iter().map(|event| event["regarding"]["name"].clone()).collect();
    assert_eq!(told, ["jobs", "web"]);
    let note = api.events()[0]["note"].as_str().unwrap().to_owned();
    assert!(note.starts_with("Pod jobs-0 is not Ready") && note.contains(NEW), "{note}");
    assert_eq!(outcomes(&context), [2, 0, 2, 0]);
    end(tasks).await;
}

/// Goal: a Pod that the API server does not let us change is tried again ever more seldom, and keeps nobody else waiting.
#[tokio::test(start_paused = true)]
async fn a_refusal_keeps_nobody_else_waiting() {
    let api = cluster();
    let (node, most_down) = node(&api);
    let writes = Line::default();
    writes.disturb(Some(Arc::new(|request: &str| {
        (request.starts_with("PATCH") && request.contains("/jobs-")).then_some(Fault::Refused(403))
    })));
    let (tasks, context) = lead(&api, (&Line::default(), &writes)).await;
    tokio::time::sleep(BEGIN * 60).await;
    assert_eq!(moved(&api), 3, "the other set moved");
    let refused = outcomes(&context)[3];
    assert!((5..20).contains(&refused), "{refused} tries in an hour");
    writes.disturb(None);
    tokio::time::sleep(BEGIN * 15).await;
    assert_eq!(moved(&api), 6);
    assert_eq!(most_down.load(Ordering::Relaxed), 1);
    end(tasks).await;
    end(node).await;
}

/// Goal: a Pod that changed after it was looked at is not changed: it may be about to end.
#[tokio::test(start_paused = true)]
async fn only_what_was_seen_is_changed() {
    let api = cluster();
    let (node, _) = node(&api);
    let late = Line::default();
    late.delay(Duration::from_secs(5));
    let (tasks, context) = lead(&api, (&late, &Line::default())).await;
    for round in 0..180 {
        for pod in pods(&api) {
            api.edit("Pod", pod["metadata"]["name"].as_str().unwrap(), |pod| {
                pod["status"]["round"] = json!(round)
            });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(api.take_writes().len() > 1, "nothing was tried");
    assert_eq!((moved(&api), outcomes(&context)), (0, [0; 4]));
    tokio::time::sleep(BEGIN * 15).await;
    assert_eq!(moved(&api), 6);
    end(tasks).await;
    end(node).await;
}
