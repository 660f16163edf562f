//! Pods without their sidecar: what is told to whom, and that it is told once.

use super::{
    missed::{REASONS, reason, reports},
    upgrade::{Amount, Mode, Policy},
};
use crate::{
    cluster::{Cluster, LabelledPod},
    metrics::{Sidecars, UninjectedPods},
    scope::Scope,
    testing::{FakeApi, FakeBrokers, Objects, context_over},
};
use prometheus::Registry;
use runtime::{shutdown::Shutdown, tasks::Tasks};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// Time in which everything has come to rest.
const REST: Duration = Duration::from_secs(60);

fn pod(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-{name}"),
            "labels": {"pinnace.dev/inject": "true"},
        },
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
        "status": {"phase": "Running"},
    });
    change(&mut pod);
    pod
}

fn of_replica_set(pod: &mut Value) {
    pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "set", "controller": true}]);
}

fn decoded(pod: Value) -> LabelledPod {
    serde_json::from_value(pod).unwrap()
}

/// Goal: each reason is told apart, and a Pod that has its sidecar, did not ask, or runs no more is no case.
#[test]
fn reasons_are_told_apart() {
    let set = |path: &'static str, value: Value| {
        move |pod: &mut Value| {
            let (parent, key) = path.rsplit_once('/').unwrap();
            pod.pointer_mut(parent).unwrap()[key] = value;
        }
    };
    let sidecar = json!([{"name": "pinnace-sidecar", "restartPolicy": "Always"}]);
    let mut seen = Vec::new();
    for (change, expected) in [
        (set("/spec/hostNetwork", json!(true)), Some("host_network")),
        (set("/metadata/namespace", json!("kube-system")), Some("namespace_excluded")),
        (set("/metadata/annotations", json!({"kubernetes.io/config.mirror": "x"})), Some("static_pod")),
        (set("/metadata/annotations", json!({"pinnace.dev/log-level": "loud"})), Some("refused")),
        (set("/spec/volumes", json!([{"name": "pinnace-run"}])), Some("refused")),
        (set("/spec/dnsPolicy", json!("ClusterFirst")), Some("not_seen")),
        (set("/spec/initContainers", sidecar), None),
        (set("/metadata/labels", json!({"pinnace.dev/inject": "no"})), None),
        (set("/status/phase", json!("Succeeded")), None),
        (set("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z")), None),
    ] {
        let pod = pod("a", change);
        let found = reason(&decoded(pod.clone()), &["kube-system".to_owned()]);
        assert_eq!(found, expected, "{pod}");
        seen.extend(found);
    }
    assert!(REASONS.iter().all(|reason| seen.contains(reason)), "{seen:?}");
}

/// Goal: Pods of one controller and one cause are one report, which names some of them, the field to change, and fits
/// into an Event; a Pod of nobody is told itself.
#[test]
fn a_workload_is_told_once_for_each_cause() {
    let mut pods: Vec<LabelledPod> =
        (0..5).map(|n| decoded(pod(&format!("web-{n}"), of_replica_set))).collect();
    pods.push(decoded(pod("host", |pod| {
        of_replica_set(pod);
        pod["spec"]["hostNetwork"] = json!(true);
    })));
    pods.push(decoded(pod("bare", |pod| {
        let mounts: Vec<Value> =
            (0..100).map(|n| json!({"name": format!("own-{n}"), "mountPath": "/run/pinnace"})).collect();
        pod["spec"]["containers"][0]["volumeMounts"] = json!(mounts);
    })));
    let reports = reports(pods.iter(), &[]);
    let told: Vec<_> = reports
        .iter()
        .map(|(cause, report)| {
            (cause.uid.as_str(), cause.reason, report.made_by.kind.as_str(), report.pods.len())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("set", "host_network", "ReplicaSet", 1),
            ("set", "not_seen", "ReplicaSet", 5),
            ("uid-bare", "refused", "Pod", 1),
        ]
    );
    let notes: Vec<String> = reports.values().map(|report| report.event().note.unwrap()).collect();
    assert!(notes[0].contains("spec.hostNetwork is true"), "{}", notes[0]);
    assert!(notes[1].starts_with("web-0, web-1, web-2 and 2 more: "), "{}", notes[1]);
    assert!(notes[1].contains("rollout restart"), "{}", notes[1]);
    assert!(notes[2].len() <= 1024 && notes[2].contains("own-0"), "{}", notes[2]);
}

fn cluster() -> FakeApi {
    let api = FakeApi::with_yaml(
        "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web-1, namespace: shop, uid: set, ownerReferences: [
          {apiVersion: apps/v1, kind: Deployment, name: web, uid: deployment, controller: true}]}}",
    );
    api.put(pod("web-a", of_replica_set));
    api.put(pod("web-b", of_replica_set));
    api.put(pod("bare", |_| {}));
    api.put(pod("quiet", |pod| pod["metadata"]["labels"] = json!({})));
    api
}

async fn lead(api: &FakeApi) -> Tasks {
    let tasks = Tasks::new(Shutdown::new());
    let cluster = Cluster::watch(&api.client(), &Scope::Cluster, &tasks);
    super::start(&Arc::new(context_over(cluster, api.client(), &FakeBrokers::default())), &tasks);
    tokio::time::sleep(REST).await;
    tasks
}

async fn end(tasks: Tasks) {
    tasks.shutdown().begin();
    assert_eq!(tasks.drain(REST).await, 0);
}

/// Goal: the Deployment is told, not its ReplicaSet; once, whatever happens to the Pods, how often the watch lists again and
/// who leads; another cause, and another Pod of nobody, are told again.
#[tokio::test(start_paused = true)]
async fn what_is_told_is_not_repeated() {
    let api = cluster();
    let first = lead(&api).await;
    let told = |api: &FakeApi| {
        let regarding = |event: &Value| {
            (
                event["regarding"]["kind"].as_str().unwrap().to_owned(),
                event["regarding"]["name"].as_str().unwrap().to_owned(),
                event["regarding"]["uid"].as_str().unwrap().to_owned(),
            )
        };
        let mut told: Vec<_> = api.events().iter().map(regarding).collect();
        told.sort();
        told
    };
    let one = |kind: &str, name: &str, uid: &str| (kind.to_owned(), name.to_owned(), uid.to_owned());
    let both = [one("Deployment", "web", "deployment"), one("Pod", "bare", "uid-bare")];
    assert_eq!(told(&api), both);
    api.take_writes();
    for round in 0..20 {
        api.edit("Pod", "web-a", |pod| pod["status"]["round"] = json!(round));
        api.put(pod(&format!("web-{round}"), of_replica_set));
        api.expire();
        tokio::time::sleep(REST).await;
    }
    assert_eq!((told(&api), api.take_writes()), (both.to_vec(), Vec::new()));
    end(first).await;

    let second = lead(&api).await;
    assert_eq!(told(&api), both, "the next leader says it again");
    api.put(pod("other", |_| {}));
    api.edit("Pod", "web-b", |pod| pod["spec"]["hostNetwork"] = json!(true));
    tokio::time::sleep(REST).await;
    assert_eq!(told(&api).len(), 4, "{:?}", told(&api));
    end(second).await;
}

/// Goal: what the API server does not take is tried again, and keeps nobody else from being told.
#[tokio::test(start_paused = true)]
async fn a_refused_event_is_tried_again() {
    let api = cluster();
    let line = crate::testing::Line::default();
    line.disturb(Some(Arc::new(|request: &str| {
        request.starts_with("POST").then_some(crate::testing::Fault::Refused(403))
    })));
    let tasks = Tasks::new(Shutdown::new());
    let cluster = Cluster::watch(&api.client(), &Scope::Cluster, &tasks);
    let context = context_over(cluster, api.client_over(&line), &FakeBrokers::default());
    super::start(&Arc::new(context), &tasks);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(api.events(), Vec::<Value>::new());
    line.disturb(None);
    tokio::time::sleep(Duration::from_secs(700)).await;
    assert_eq!(api.events().len(), 2);
    end(tasks).await;
}

/// Goal: Pods without their sidecar are counted by namespace and reason, and no others.
#[test]
fn uninjected_pods_are_counted() {
    let registry = Registry::new();
    let yaml = cluster().objects().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n---\n");
    // The store is of labelled Pods alone; the API server selects them.
    let metric = UninjectedPods::new(Objects::from_yaml(&yaml).cluster(), Vec::new()).unwrap();
    registry.register(Box::new(metric)).unwrap();
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, [r#"pinnace_uninjected_pods{namespace="shop",reason="not_seen"} 3"#]);
}

/// Goal: sidecars are counted by their state, each state is there, and those with other settings are counted apart.
#[test]
fn sidecars_are_counted() {
    let injected = |name: &str, image: &str, settings: &str| {
        pod(name, |pod| {
            pod["metadata"]["labels"]["pinnace.dev/injected"] = json!("true");
            pod["metadata"]["labels"]["pinnace.dev/sidecar-settings"] = json!(settings);
            pod["spec"]["initContainers"] =
                json!([{"name": "pinnace-sidecar", "image": image, "restartPolicy": "Always"}]);
        })
    };
    let pods = [
        injected("a", "old", "now"),
        injected("b", "new", "before"),
        injected("c", "new", "now"),
        pod("d", |_| {}),
    ];
    let yaml = pods.map(|pod| pod.to_string()).join("\n---\n");
    let policy = Policy {
        mode: Mode::InPlace,
        image: "new".into(),
        max_unavailable: Amount::Pods(1),
        at_once_max: 1,
        deadline: REST,
        settings: "now".into(),
    };
    let registry = Registry::new();
    registry.register(Box::new(Sidecars::new(Objects::from_yaml(&yaml).cluster(), policy).unwrap())).unwrap();
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        lines,
        [
            r#"pinnace_sidecars{state="current"} 2"#,
            r#"pinnace_sidecars{state="failed"} 0"#,
            r#"pinnace_sidecars{state="kept"} 0"#,
            r#"pinnace_sidecars{state="upgrading"} 0"#,
            r#"pinnace_sidecars{state="waiting"} 1"#,
            "pinnace_sidecars_with_older_settings 1",
        ]
    );
}
