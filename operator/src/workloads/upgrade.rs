//! Which sidecars get another image while their Pods run on. Pure: Pods, policy and clock in, steps out.
//!
//! Everything is read from the Pods: the image that they ask for, whether they are Ready, and the annotation that was
//! written with the image. A Pod counts as down from the moment its image was changed until its sidecar has been started
//! again and the whole Pod is Ready.
//!
//! - Of each workload no more than `max_unavailable` Pods are down at a time, whatever the reason they are down for.
//! - While no Pod runs the image, one is tried alone; then `at_once_max` at a time in the whole cluster.
//! - A Pod that is not Ready again by the deadline stops its workload; more than [`FAILED_MAX`] such workloads stop all.
//! - Pods that were taken down by an upgrade and ask for another image than the one wanted now are taken first, and by no
//!   limit but that of the cluster: that is the way out of an image that does not work.

#[cfg(test)]
mod tests;

use crate::cluster::{Begun, LabelledPod, Sidecar, name_of};
use control::ObjectName;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// With more failed workloads than this nothing is upgraded any more.
pub const FAILED_MAX: usize = 3;

/// A Pod is Ready again when it has been for so long. A kubelet calls a container that was started again Ready for a
/// moment, until it remembers that there is a startup probe.
const READY_MIN: Duration = Duration::from_secs(5);

/// No Pod is changed twice within this time, whatever becomes of the first change.
const AGAIN_PAUSE: Duration = Duration::from_secs(30);

/// Whether sidecars are upgraded in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// While their Pods run.
    InPlace,
    /// With their Pods alone.
    None,
}

/// How many Pods of a workload may be down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Pods(usize),
    /// So many of a hundred, and one at least.
    Percent(usize),
}

impl Amount {
    fn of(self, pods: usize) -> usize {
        match self {
            Self::Pods(count) => count,
            Self::Percent(percent) => (pods.saturating_mul(percent) / 100).max(1),
        }
    }
}

/// What is wanted of all sidecars.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether anything is done.
    pub mode: Mode,
    /// The image that all should run.
    pub image: String,
    /// Of each workload.
    pub max_unavailable: Amount,
    /// In the whole cluster.
    pub at_once_max: usize,
    /// From the change of the image until the Pod is Ready again.
    pub deadline: Duration,
    /// What [`Sidecar::settings`] is of Pods that are made now.
    pub settings: String,
}

/// How a sidecar stands to the image that is wanted: the values of the label `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It has the image.
    Current,
    /// It gets the image when its turn comes.
    Waiting,
    /// It was given the image, and its Pod is not Ready again.
    Upgrading,
    /// The same, for too long.
    Failed,
    /// It has another image and keeps it until its Pod is made anew.
    Kept,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Current, Self::Waiting, Self::Upgrading, Self::Failed, Self::Kept];

    /// The value of the label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Waiting => "waiting",
            Self::Upgrading => "upgrading",
            Self::Failed => "failed",
            Self::Kept => "kept",
        }
    }
}

/// One Pod gets the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The Pod.
    pub pod: ObjectName,
    /// The version that this was decided on; no other is changed.
    pub resource_version: String,
    /// The Pod's workload.
    pub workload: String,
    /// What is written beside the image.
    pub begun: Begun,
}

/// A Pod that did not become Ready in time.
#[derive(Clone, Debug, PartialEq)]
pub struct Stuck {
    /// The Pod.
    pub pod: ObjectName,
    /// Who made it, or it itself.
    pub made_by: OwnerReference,
    /// Why it does not run, if the kubelet says so.
    pub waiting: Option<String>,
}

/// What is to be done now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In this order.
    pub patches: Vec<Patch>,
    /// One Pod of each workload that stopped.
    pub stuck: Vec<Stuck>,
    /// Nothing is begun because too many workloads stopped.
    pub is_stopped: bool,
    /// When time alone changes something, in milliseconds since 1970.
    pub again_ms: Option<i64>,
}

/// Where the last upgrade of a Pod is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Over,
    Going,
    Stuck,
}

fn progress(sidecar: &Sidecar, deadline: Duration, now_ms: i64) -> Progress {
    let Some(begun) = &sidecar.begun else { return Progress::Over };
    let restarted = sidecar.restarts > begun.restarts;
    if restarted && sidecar.is_ready {
        return if settled_ms(sidecar, now_ms).is_some() { Progress::Going } else { Progress::Over };
    }
    let until_ms = deadline_ms(begun, deadline);
    if now_ms < until_ms {
        return Progress::Going;
    }
    // It was well, and ceased to be later on: that is not of the upgrade.
    if restarted && sidecar.ready_changed_ms >= until_ms { Progress::Over } else { Progress::Stuck }
}

/// When a Pod that is Ready has been so for long enough; `None` when it has. A node whose clock is ahead is believed.
fn settled_ms(sidecar: &Sidecar, now_ms: i64) -> Option<i64> {
    let pause_ms = i64::try_from(READY_MIN.as_millis()).unwrap_or(i64::MAX);
    let since = [sidecar.started_ms, sidecar.ready_changed_ms].into_iter().filter(|at_ms| *at_ms <= now_ms);
    since.max().map(|at_ms| at_ms.saturating_add(pause_ms)).filter(|settled_ms| *settled_ms > now_ms)
}

fn deadline_ms(begun: &Begun, deadline: Duration) -> i64 {
    begun.at.as_millisecond().saturating_add(i64::try_from(deadline.as_millis()).unwrap_or(i64::MAX))
}

/// Whether a Pod has the image, by name or by digest.
fn has_image(sidecar: &Sidecar, wanted: &str) -> bool {
    let digest = wanted.split_once('@').map(|(_, digest)| digest);
    sidecar.image == wanted
        || digest.is_some_and(|digest| sidecar.image_id.split_once('@').is_some_and(|(_, its)| its == digest))
}

/// A Pod of a Job ends by itself; the next one has the new sidecar.
fn is_of_job(pod: &LabelledPod) -> bool {
    pod.controller().is_some_and(|owner| owner.kind == "Job" && owner.api_version == "batch/v1")
}

/// How the sidecar of a Pod stands; `None` when it has none of ours, or runs no more.
#[must_use]
pub fn state(pod: &LabelledPod, policy: &Policy, now_ms: i64) -> Option<State> {
    let sidecar = pod.sidecar.as_ref().filter(|_| !pod.is_over)?;
    if !has_image(sidecar, &policy.image) {
        let kept = policy.mode == Mode::None || sidecar.is_disabled || is_of_job(pod);
        return Some(if kept { State::Kept } else { State::Waiting });
    }
    Some(match progress(sidecar, policy.deadline, now_ms) {
        Progress::Over => State::Current,
        Progress::Going => State::Upgrading,
        Progress::Stuck => State::Failed,
    })
}

/// A Pod as the plan sees it.
struct Seen<'a> {
    pod: &'a LabelledPod,
    sidecar: &'a Sidecar,
    state: State,
    progress: Progress,
}

impl Seen<'_> {
    /// When it may be changed again.
    fn again_ms(&self) -> Option<i64> {
        self.sidecar.begun.as_ref().map(|begun| deadline_ms(begun, AGAIN_PAUSE))
    }

    fn may_be_changed(&self, now_ms: i64) -> bool {
        self.state == State::Waiting && self.again_ms().is_none_or(|again_ms| again_ms <= now_ms)
    }

    /// It is Ready, and has to stay so for a moment.
    fn is_settling(&self) -> bool {
        self.progress == Progress::Going && self.sidecar.is_ready
    }

    fn is_down(&self) -> bool {
        !self.sidecar.is_ready || self.progress != Progress::Over
    }

    /// An upgrade took it down, and it is to have another image now.
    fn is_broken_by_us(&self) -> bool {
        self.state == State::Waiting && self.progress != Progress::Over
    }

    fn patch(&self, workload: &str, now_ms: i64) -> Patch {
        Patch {
            pod: name_of(self.pod),
            resource_version: self.pod.meta().resource_version.clone().unwrap_or_default(),
            workload: workload.to_owned(),
            begun: Begun {
                uid: self.pod.meta().uid.clone().unwrap_or_default(),
                at: jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default(),
                restarts: self.sidecar.restarts,
            },
        }
    }
}

/// By the uid of the Pods' controller, or of a Pod that has none.
type Workloads<'a> = BTreeMap<String, Vec<Seen<'a>>>;

fn workloads<'a>(pods: impl Iterator<Item = &'a LabelledPod>, policy: &Policy, now_ms: i64) -> Workloads<'a> {
    let mut workloads = Workloads::new();
    for pod in pods {
        let (Some(state), Some(sidecar)) = (state(pod, policy, now_ms), pod.sidecar.as_ref()) else {
            continue;
        };
        let progress = progress(sidecar, policy.deadline, now_ms);
        workloads.entry(pod.made_by().uid).or_default().push(Seen { pod, sidecar, state, progress });
    }
    for seen in workloads.values_mut() {
        seen.sort_by_cached_key(|seen| name_of(seen.pod));
    }
    workloads
}

/// What is to be done. Workloads that are `resting` are left alone.
#[must_use]
pub fn plan<'a>(
    pods: impl Iterator<Item = &'a LabelledPod>,
    policy: &Policy,
    resting: &BTreeSet<String>,
    now_ms: i64,
) -> Plan {
    if policy.mode == Mode::None {
        return Plan::default();
    }
    let workloads = workloads(pods, policy, now_ms);
    let all = || workloads.values().flatten();
    let stuck: Vec<Stuck> = workloads.values().filter_map(|seen| stuck(seen)).collect();
    let proven = all().any(|seen| seen.state == State::Current && seen.sidecar.is_ready);
    let at_once_max = if proven { policy.at_once_max } else { 1 };
    let going = all().filter(|seen| seen.state == State::Upgrading).count();
    let mut room = at_once_max.saturating_sub(going);
    let is_stopped = stuck.len() > FAILED_MAX;
    let awake = || workloads.iter().filter(|(workload, _)| !resting.contains(*workload));
    let mut patches = Vec::new();
    for (workload, seen) in awake() {
        let broken = seen.iter().filter(|seen| seen.is_broken_by_us() && seen.may_be_changed(now_ms));
        patches
            .extend(broken.take(room.saturating_sub(patches.len())).map(|seen| seen.patch(workload, now_ms)));
    }
    room = room.saturating_sub(patches.len());
    for (workload, seen) in awake() {
        let upset = seen.iter().any(|seen| seen.state == State::Failed || seen.is_broken_by_us());
        if upset || is_stopped {
            continue;
        }
        let down = seen.iter().filter(|seen| seen.is_down()).count();
        let budget = policy.max_unavailable.of(seen.len()).saturating_sub(down).min(room);
        let waiting = seen.iter().filter(|seen| seen.may_be_changed(now_ms) && !seen.is_down());
        let before = patches.len();
        patches.extend(waiting.take(budget).map(|seen| seen.patch(workload, now_ms)));
        room = room.saturating_sub(patches.len().saturating_sub(before));
    }
    let going = all().filter(|seen| seen.progress == Progress::Going);
    let deadlines = going.filter_map(|seen| Some(deadline_ms(seen.sidecar.begun.as_ref()?, policy.deadline)));
    let rested = all().filter(|seen| seen.state == State::Waiting).filter_map(Seen::again_ms);
    let settled = all().filter_map(|seen| settled_ms(seen.sidecar, now_ms).filter(|_| seen.is_settling()));
    let again_ms = deadlines.chain(settled).chain(rested).filter(|again_ms| *again_ms > now_ms).min();
    Plan { patches, stuck, is_stopped, again_ms }
}

fn stuck(seen: &[Seen<'_>]) -> Option<Stuck> {
    let first = seen.iter().find(|seen| seen.state == State::Failed)?;
    Some(Stuck {
        pod: name_of(first.pod),
        made_by: first.pod.made_by(),
        waiting: first.sidecar.waiting.clone(),
    })
}
