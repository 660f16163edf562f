//! The plan over whole histories: a cluster of made-up Pods whose kubelets do what they are told, late, or badly.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const OLD: &str = "sidecar:1";
const NEW: &str = "sidecar:2";
const NEWER: &str = "sidecar:3";
const BAD: &str = "sidecar:bad";
const DEADLINE: Duration = Duration::from_secs(300);
const START_MS: i64 = 1_800_000_000_000;

fn policy(image: &str) -> Policy {
    Policy {
        mode: Mode::InPlace,
        image: image.to_owned(),
        max_unavailable: Amount::Pods(1),
        at_once_max: 10,
        deadline: DEADLINE,
        settings: String::new(),
    }
}

/// A Pod, and what its kubelet is about to do.
#[derive(Clone, Debug)]
struct Made {
    name: String,
    owner: &'static str,
    workload: usize,
    image: String,
    begun: Option<Begun>,
    restarts: u64,
    is_ready: bool,
    ready_changed_ms: i64,
    started_ms: Option<i64>,
    disabled: bool,
    phase: &'static str,
    /// How long the kubelet takes to restart the sidecar, and this to become Ready.
    lag_ms: (i64, i64),
}

impl Made {
    fn new(workload: usize, number: usize) -> Self {
        Self {
            name: format!("app-{workload}-{number}"),
            owner: "ReplicaSet",
            workload,
            image: OLD.to_owned(),
            begun: None,
            restarts: 0,
            is_ready: true,
            ready_changed_ms: 0,
            started_ms: None,
            disabled: false,
            phase: "Running",
            lag_ms: (1000, 2000),
        }
    }

    fn decoded(&self) -> LabelledPod {
        let version = match self.owner {
            "Job" => "batch/v1",
            _ => "apps/v1",
        };
        let mut annotations = json!({});
        if let Some(begun) = &self.begun {
            annotations["pinnace.dev/sidecar-upgrade-begun"] = json!(serde_json::to_string(begun).unwrap());
        }
        if self.disabled {
            annotations["pinnace.dev/sidecar-upgrade"] = json!("disabled");
        }
        let changed = jiff::Timestamp::from_millisecond(START_MS + self.ready_changed_ms).unwrap();
        let ready = if self.is_ready { "True" } else { "False" };
        let state = self.started_ms.map_or_else(
            || json!({}),
            |started_ms| {
                let started = jiff::Timestamp::from_millisecond(START_MS + started_ms).unwrap();
                json!({"running": {"startedAt": started.to_string()}})
            },
        );
        let pod: Value = json!({
            "metadata": {
                "name": self.name, "namespace": "shop", "uid": self.name, "resourceVersion": "7",
                "labels": {"pinnace.dev/inject": "true", "pinnace.dev/injected": "true"},
                "annotations": annotations,
                "ownerReferences": [{
                    "apiVersion": version, "kind": self.owner, "controller": true,
                    "name": format!("app-{}", self.workload), "uid": format!("set-{}", self.workload),
                }],
            },
            "spec": {"initContainers": [
                {"name": "other", "image": "other:1"},
                {"name": "pinnace-sidecar", "image": self.image, "restartPolicy": "Always"},
            ]},
            "status": {
                "phase": self.phase,
                "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": changed.to_string()}],
                "initContainerStatuses": [{"name": "pinnace-sidecar", "restartCount": self.restarts, "state": state}],
            },
        });
        serde_json::from_value(pod).unwrap()
    }

    fn turn(&mut self, is_ready: bool, now_ms: i64) {
        if self.is_ready != is_ready {
            (self.is_ready, self.ready_changed_ms) = (is_ready, now_ms);
        }
    }

    /// What its kubelet did by now.
    fn live(&mut self, now_ms: i64) {
        let Some(begun) = self.begun.clone() else { return };
        let since = now_ms - (begun.at.as_millisecond() - START_MS);
        if self.restarts > begun.restarts && self.is_ready {
            return;
        }
        if since >= self.lag_ms.0 {
            self.turn(false, now_ms);
            if self.image != BAD {
                self.restarts = begun.restarts + 1;
            }
        }
        if since >= self.lag_ms.0 + self.lag_ms.1 && self.image != BAD {
            self.turn(true, now_ms);
        }
    }

    fn is_left_alone(&self) -> bool {
        self.disabled || self.owner == "Job" || self.phase != "Running"
    }
}

#[derive(Clone, Debug)]
struct World {
    pods: Vec<Made>,
    now_ms: i64,
    /// Pods that were ever changed.
    patched: BTreeSet<String>,
}

impl World {
    fn new(pods: Vec<Made>) -> Self {
        Self { pods, now_ms: 0, patched: BTreeSet::new() }
    }

    fn plan(&self, policy: &Policy) -> Plan {
        let pods: Vec<LabelledPod> = self.pods.iter().map(Made::decoded).collect();
        plan(pods.iter(), policy, &BTreeSet::new(), START_MS + self.now_ms)
    }

    fn states(&self, policy: &Policy) -> Vec<Option<State>> {
        let state = |pod: &Made| state(&pod.decoded(), policy, START_MS + self.now_ms);
        self.pods.iter().map(state).collect()
    }

    fn down(&self, workload: usize, policy: &Policy) -> usize {
        let pods = self.pods.iter().filter(|pod| pod.workload == workload && pod.phase == "Running");
        pods.filter(|pod| {
            let decoded = pod.decoded();
            let sidecar = decoded.sidecar.as_ref().unwrap();
            progress(sidecar, policy.deadline, START_MS + self.now_ms) != Progress::Over || !pod.is_ready
        })
        .count()
    }

    /// Does what the plan says, and looks whether it may.
    fn step(&mut self, policy: &Policy) -> Plan {
        let plan = self.plan(policy);
        for patch in &plan.patches {
            let workload = self.pods.iter().find(|pod| pod.name == patch.pod.name).unwrap().workload;
            let size =
                self.pods.iter().filter(|pod| pod.workload == workload && pod.phase == "Running").count();
            let before = self.down(workload, policy);
            let pod = self.pods.iter_mut().find(|pod| pod.name == patch.pod.name).unwrap();
            assert!(!pod.is_left_alone() && pod.image != policy.image, "{pod:?} was not to be changed");
            assert!(pod.is_ready || pod.begun.is_some(), "{pod:?} is not Ready for another reason");
            pod.image = policy.image.clone();
            pod.begun = Some(patch.begun.clone());
            self.patched.insert(patch.pod.name.clone());
            let after = self.down(workload, policy);
            assert!(after <= before.max(policy.max_unavailable.of(size)), "{after} of {size} are down");
        }
        let upgrading = self.states(policy).iter().filter(|state| **state == Some(State::Upgrading)).count();
        assert!(upgrading <= policy.at_once_max, "{upgrading} at once");
        self.now_ms += 500;
        let now_ms = self.now_ms;
        self.pods.iter_mut().for_each(|pod| pod.live(now_ms));
        plan
    }

    fn run(&mut self, policy: &Policy, time: Duration) {
        let until_ms = self.now_ms + i64::try_from(time.as_millis()).unwrap();
        while self.now_ms < until_ms {
            self.step(policy);
            let plan = self.plan(policy);
            if plan.patches.is_empty() {
                // Nothing but kubelets and a deadline are waited for; or nothing at all.
                let Some(again_ms) = plan.again_ms else { return };
                self.now_ms += 9500.min(again_ms - START_MS - self.now_ms).max(0);
            }
        }
    }
}

fn set(workloads: usize, pods: usize) -> Vec<Made> {
    (0..workloads).flat_map(|workload| (0..pods).map(move |number| Made::new(workload, number))).collect()
}

/// Goal: the first Pod of the cluster goes alone; then one of each workload at a time; each only when the one before it is
/// Ready with the new image.
#[test]
fn one_after_the_other() {
    let mut world = World::new(set(3, 2));
    let policy = policy(NEW);
    let names = |plan: &Plan| plan.patches.iter().map(|patch| patch.pod.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&world.step(&policy)), ["app-0-0"]);
    while !world.pods[0].is_ready || world.pods[0].restarts == 0 {
        assert_eq!(names(&world.step(&policy)), Vec::<String>::new());
    }
    let settled_ms = world.pods[0].ready_changed_ms + i64::try_from(READY_MIN.as_millis()).unwrap();
    while world.now_ms < settled_ms {
        assert_eq!(names(&world.step(&policy)), Vec::<String>::new());
    }
    assert_eq!(names(&world.step(&policy)), ["app-0-1", "app-1-0", "app-2-0"]);
    world.run(&policy, Duration::from_secs(60));
    assert!(world.states(&policy).iter().all(|state| *state == Some(State::Current)));
    assert_eq!(world.plan(&policy), Plan::default(), "and then nothing more");
}

/// Goal: a Pod whose kubelet calls it Ready in the moment in which its sidecar starts again is not taken for Ready, and the
/// plan comes again when it may be; a node whose clock is ahead holds nobody up.
#[test]
fn ready_for_a_moment_is_not_ready() {
    let mut world = World::new(set(1, 2));
    let policy = policy(NEW);
    world.step(&policy);
    // It never said that it is not Ready.
    (world.now_ms, world.pods[0].restarts) = (60_000, 1);
    world.pods[0].started_ms = Some(60_000);
    let plan = world.plan(&policy);
    assert_eq!((plan.patches, plan.again_ms), (Vec::new(), Some(START_MS + 65_000)));
    world.now_ms = 65_000;
    assert_eq!(world.plan(&policy).patches.len(), 1);
    world.pods[0].started_ms = Some(600_000);
    assert_eq!(world.plan(&policy).patches.len(), 1);
}

/// Goal: a Pod that stays down stops its workload, which is told with the kubelet's reason, and not the others; too many stop
/// all; an image that works is given to what is down first, and then to all.
#[test]
fn an_image_that_does_not_work_stops_it() {
    let mut world = World::new(set(8, 3));
    let bad = policy(BAD);
    world.run(&bad, DEADLINE * 20);
    assert_eq!(world.patched.len(), FAILED_MAX + 1, "{:?}", world.patched);
    let plan = world.plan(&bad);
    assert!(plan.is_stopped && plan.patches.is_empty());
    assert_eq!(plan.stuck.len(), FAILED_MAX + 1);
    assert_eq!(plan.stuck[0].made_by.name, "app-0");
    // No Pod proves the image, so even what is down is tried one at a time.
    let good = policy(NEW);
    let first = world.step(&good);
    assert_eq!(first.patches.len(), 1);
    assert!(world.patched.contains(&first.patches[0].pod.name), "one that is down comes first");
    world.run(&good, DEADLINE);
    assert!(world.states(&good).iter().all(|state| *state == Some(State::Current)));
}

/// Goal: with the image proven, one workload that fails stops alone.
#[test]
fn one_workload_fails_alone() {
    let mut pods = set(3, 2);
    pods[0].lag_ms = (1000, i64::MAX / 4);
    let mut world = World::new(pods);
    world.pods.push(Made { image: NEW.to_owned(), ..Made::new(9, 0) });
    let policy = policy(NEW);
    world.run(&policy, DEADLINE * 3);
    let states: Vec<_> = world.states(&policy).into_iter().map(Option::unwrap).collect();
    use State::{Current, Failed, Waiting};
    assert_eq!(states, [Failed, Waiting, Current, Current, Current, Current, Current]);
    assert!(!world.plan(&policy).is_stopped);
    // It comes back late: the workload goes on.
    world.pods[0].lag_ms = (1000, 0);
    world.run(&policy, Duration::from_secs(60));
    assert!(world.states(&policy).iter().all(|state| *state == Some(Current)));
}

/// Goal: a Pod that was upgraded well and is ill later is not a failed upgrade, and nobody of its workload is taken down
/// beside it.
#[test]
fn later_illness_is_not_ours() {
    let mut world = World::new(set(1, 2));
    let upgraded = policy(NEW);
    world.run(&upgraded, DEADLINE * 2);
    world.now_ms += i64::try_from(DEADLINE.as_millis()).unwrap();
    let now_ms = world.now_ms;
    world.pods[0].turn(false, now_ms);
    assert_eq!(world.states(&upgraded), [Some(State::Current), Some(State::Current)]);
    assert_eq!(world.plan(&policy(NEWER)).patches, []);
    world.pods[0].turn(true, now_ms);
    assert_eq!(world.plan(&policy(NEWER)).patches.len(), 1);
}

/// Goal: who is not to be changed is not; the same bytes under another name are no other image; a mark that was copied from
/// another Pod means nothing; a workload that rests is left alone.
#[test]
fn who_keeps_its_sidecar() {
    let policy = policy(NEW);
    let kept = |change: fn(&mut Made)| {
        let mut pod = Made::new(0, 0);
        change(&mut pod);
        let world = World::new(vec![pod]);
        assert_eq!(world.plan(&policy).patches, []);
        world.states(&policy)[0]
    };
    assert_eq!(kept(|pod| pod.disabled = true), Some(State::Kept));
    assert_eq!(kept(|pod| pod.owner = "Job"), Some(State::Kept));
    assert_eq!(kept(|pod| pod.phase = "Succeeded"), None);
    assert_eq!(kept(|pod| pod.is_ready = false), Some(State::Waiting));
    assert_eq!(kept(|pod| pod.image = NEW.to_owned()), Some(State::Current));
    let none = Policy { mode: Mode::None, ..policy.clone() };
    assert_eq!(World::new(set(1, 1)).plan(&none), Plan::default());
    assert_eq!(World::new(set(1, 1)).states(&none), [Some(State::Kept)]);

    let mut sidecar = Made::new(0, 0).decoded().sidecar.unwrap();
    sidecar.image_id = "ghcr.io/pinnace/sidecar@sha256:aa".to_owned();
    assert!(has_image(&sidecar, "mirror/sidecar:9@sha256:aa"));
    assert!(!has_image(&sidecar, "mirror/sidecar:9@sha256:ab") && !has_image(&sidecar, "sidecar:9"));

    // Another webhook wrote the address of a mirror into the container.
    let mut rewritten = json!({
        "metadata": {
            "name": "a", "labels": {"pinnace.dev/injected": "true"},
            "annotations": {"pinnace.dev/sidecar-image": NEW},
        },
        "spec": {"initContainers": [{"name": "pinnace-sidecar", "restartPolicy": "Always", "image": "mirror/sidecar:2"}]},
    });
    let of_rewritten = |pod: &Value| state(&serde_json::from_value(pod.clone()).unwrap(), &policy, START_MS);
    assert_eq!(of_rewritten(&rewritten), Some(State::Current));
    rewritten["metadata"]["annotations"] = json!({});
    assert_eq!(of_rewritten(&rewritten), Some(State::Waiting));

    let begun = Begun {
        uid: "another".into(),
        at: jiff::Timestamp::from_millisecond(START_MS).unwrap(),
        restarts: 9,
    };
    let copied = Made { begun: Some(begun), image: NEW.to_owned(), ..Made::new(0, 0) };
    assert_eq!(World::new(vec![copied]).states(&policy), [Some(State::Current)]);

    let pods = [Made::new(0, 0).decoded(), Made::new(1, 0).decoded()];
    let rests = BTreeSet::from(["set-0".to_owned()]);
    let plan = plan(pods.iter(), &policy, &rests, START_MS);
    assert_eq!(plan.patches.iter().map(|patch| &*patch.workload).collect::<Vec<_>>(), ["set-1"]);
}

/// Goal: a Pod that asks for another image again right after it was changed is not changed at once: whoever does that to it
/// would have us do it for ever.
#[test]
fn no_pod_is_changed_twice_in_a_moment() {
    let mut world = World::new(set(1, 1));
    let wanted = policy(NEW);
    let mut times = Vec::new();
    while times.len() < 3 {
        if !world.step(&wanted).patches.is_empty() {
            times.push(world.now_ms);
            world.pods[0].image = OLD.to_owned();
        }
    }
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 30_000), "{times:?}");
}

/// Goal: a percentage is of the workload's Pods, rounded down, and one at least.
#[test]
fn percentages() {
    let down = [(1, 25), (4, 25), (8, 25), (9, 50)].map(|(pods, percent)| Amount::Percent(percent).of(pods));
    assert_eq!(down, [1, 1, 2, 4]);
}

fn pods() -> impl Strategy<Value = Vec<Made>> {
    let pod = (0_usize..5, 0_usize..40, (0_i64..20_000, 0_i64..100_000));
    prop::collection::vec(pod, 1..20).prop_map(|pods| {
        let made = pods.into_iter().enumerate().map(|(number, (workload, kind, lag_ms))| {
            let pod = Made { lag_ms, ..Made::new(workload, number) };
            match kind {
                0 | 1 => Made { disabled: true, ..pod },
                2 => Made { phase: "Failed", ..pod },
                3 => Made { is_ready: false, ..pod },
                4 => Made { image: NEW.to_owned(), ..pod },
                _ => pod,
            }
        });
        made.map(|pod| if pod.workload == 4 { Made { owner: "Job", ..pod } } else { pod }).collect()
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    let amount = prop_oneof![(1_usize..4).prop_map(Amount::Pods), (1_usize..=100).prop_map(Amount::Percent)];
    (amount, 1_usize..6).prop_map(|(max_unavailable, at_once_max)| Policy {
        max_unavailable,
        at_once_max,
        ..policy(NEW)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Goal: whatever the cluster looks like, and though the image is changed again in the middle, no step takes down more
    /// than it may or touches who is not to be (`World::step` looks), and all who can have the image have it at the end.
    #[test]
    fn histories_converge(pods in pods(), policy in policies(), first_ms in 0_i64..100_000) {
        let mut world = World::new(pods);
        // Who is ill for another reason is well again after a while; else its workload may wait for ever.
        world.run(&policy, Duration::from_millis(first_ms.unsigned_abs()));
        let newer = Policy { image: NEWER.to_owned(), ..policy };
        let now_ms = world.now_ms;
        world.pods.iter_mut().filter(|pod| pod.begun.is_none()).for_each(|pod| pod.turn(true, now_ms));
        world.run(&newer, Duration::from_secs(120) * 20);
        for (pod, state) in world.pods.iter().zip(world.states(&newer)) {
            let expected = match (pod.phase, pod.is_left_alone()) {
                ("Failed", _) => None,
                (_, true) => Some(State::Kept),
                _ => Some(State::Current),
            };
            prop_assert_eq!(state, expected, "{:?}", pod);
        }
        prop_assert_eq!(world.plan(&newer), Plan::default());
    }

    /// Goal: an image that does not work takes down no more than it must to be found out, and one that works mends it all.
    #[test]
    fn bad_images_are_stopped(pods in pods(), policy in policies()) {
        let bad = Policy { image: BAD.to_owned(), ..policy.clone() };
        let mut world = World::new(pods);
        world.run(&bad, DEADLINE * 10);
        prop_assert!(world.patched.len() <= FAILED_MAX + 1, "{:?}", world.patched);
        let now_ms = world.now_ms;
        world.pods.iter_mut().filter(|pod| pod.begun.is_none()).for_each(|pod| pod.turn(true, now_ms));
        world.run(&policy, Duration::from_secs(120) * 20);
        let states = world.states(&policy);
        let well = |state: &Option<State>| {
            matches!(state, None | Some(State::Kept | State::Current))
        };
        prop_assert!(states.iter().all(well), "{:?}", states);
    }
}
