//! Gives sidecars their new image, as the plan says. What it remembers is what the store does not show yet, and
//! whom to leave alone for a moment; all else is read from the Pods.

#[cfg(test)]
mod tests;

use super::{
    earliest,
    tell::Notice,
    upgrade::{Patch, Plan, State, Stuck, plan, state},
};
use crate::{
    admission::inject::CONTAINER,
    apply::{ApplyError, event},
    cluster::LabelledPod,
    context::Context,
};
use api::labels::{SIDECAR_IMAGE, SIDECAR_UPGRADE_BEGUN};
use control::ObjectName;
use kube::{Resource as _, runtime::events::EventType};
use runtime::{
    backoff::Backoff,
    clock::{self, Instant},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

const MANAGER: &str = "pinnace-sidecars";
/// A new leader begins so late, and up to half of it sooner: while the operator itself is upgraded, leaders with the old and
/// the new image may follow each other.
const BEGIN_PAUSE: Duration = Duration::from_secs(40);
/// The first and the longest pause of a workload whose Pod could not be changed.
const REST_FIRST: Duration = Duration::from_secs(10);
const REST_LONGEST: Duration = Duration::from_secs(600);
/// Reason of the Event about a Pod that is not Ready again.
const STUCK: &str = "SidecarUpgradeStuck";

/// A Pod as it was written, until the store has it.
struct Written {
    /// The version that was written over.
    over: String,
    pod: Arc<LabelledPod>,
}

/// See the module.
pub(super) struct Roller {
    begins: Instant,
    /// By the Pod's uid. Bounded by the Pods.
    written: HashMap<String, Written>,
    /// Workloads whose Pods could not be changed. Bounded by the workloads.
    resting: HashMap<String, (Instant, Backoff)>,
    /// Pods that are down for an upgrade, to count what becomes of them. Bounded by the Pods.
    down: HashMap<String, State>,
    was_stopped: bool,
}

impl Roller {
    pub(super) fn new() -> Self {
        Self {
            begins: clock::now() + Backoff::new(BEGIN_PAUSE, BEGIN_PAUSE).next_pause(),
            written: HashMap::new(),
            resting: HashMap::new(),
            down: HashMap::new(),
            was_stopped: false,
        }
    }

    /// Does what is to be done now; whom to tell, and when to come again.
    pub(super) async fn roll(&mut self, context: &Context) -> (BTreeMap<String, Notice>, Option<Instant>) {
        let policy = &context.settings.sidecars;
        let pods = self.pods(context);
        let (now, now_ms) = (clock::now(), clock::unix_ms());
        self.count(context, &pods, now_ms);
        let resting: BTreeSet<String> = self
            .resting
            .iter()
            .filter(|(_, (until, _))| *until > now)
            .map(|(name, _)| name.clone())
            .collect();
        let plan = plan(pods.iter().map(AsRef::as_ref), policy, &resting, now_ms);
        self.say_whether_stopped(&plan);
        let later =
            |ms: i64| now + Duration::from_millis(u64::try_from(ms.saturating_sub(now_ms)).unwrap_or(0));
        let mut again = plan.again_ms.map(later);
        if !plan.patches.is_empty() && now < self.begins {
            again = earliest([again, Some(self.begins)]);
        } else {
            for patch in &plan.patches {
                match self.write(context, patch).await {
                    Ok(true) => {}
                    // It is somebody else's turn.
                    Ok(false) => again = Some(now),
                    Err(_) => break,
                }
            }
        }
        let present: BTreeSet<String> = pods.iter().map(|pod| pod.made_by().uid).collect();
        self.resting.retain(|workload, _| present.contains(workload));
        let rested = self.resting.values().map(|(until, _)| Some(*until).filter(|until| *until > now));
        let again = earliest(rested.chain([again]));
        (plan.stuck.into_iter().map(|stuck| notice(stuck, &policy.image)).collect(), again)
    }

    /// What the store holds, and what we wrote since.
    fn pods(&mut self, context: &Context) -> Vec<Arc<LabelledPod>> {
        let mut before = std::mem::take(&mut self.written);
        let mut pods = context.cluster.pods.all();
        for pod in &mut pods {
            let uid = pod.meta().uid.clone().unwrap_or_default();
            // Only what follows the version that was written over can be in the store next.
            let Some(written) = before.remove(&uid) else { continue };
            if pod.meta().resource_version.as_deref() == Some(&written.over) {
                *pod = Arc::clone(&written.pod);
                self.written.insert(uid, written);
            }
        }
        pods
    }

    /// Whether it is written; if not, the workload rests.
    ///
    /// # Errors
    /// When this replica may not write.
    async fn write(&mut self, context: &Context, patch: &Patch) -> Result<bool, ApplyError> {
        let image = &context.settings.sidecars.image;
        let metrics = &context.metrics.sidecar_upgrades;
        match context.writer.amend(MANAGER, &patch.pod, &body(patch, image)).await {
            Ok(pod) => {
                tracing::info!(pod = %patch.pod, image, "gave the sidecar another image");
                metrics.with_label_values(&["begun"]).inc();
                let written = Written { over: patch.resource_version.clone(), pod: Arc::new(pod) };
                self.written.insert(patch.begun.uid.clone(), written);
                self.resting.remove(&patch.workload);
                Ok(true)
            }
            Err(error @ ApplyError::NotLeader(_)) => Err(error),
            Err(error) => {
                // Also one that was done and whose answer was lost: the store shows it before the rest is over.
                let rest = (clock::now(), Backoff::new(REST_FIRST, REST_LONGEST));
                let (until, backoff) = self.resting.entry(patch.workload.clone()).or_insert(rest);
                *until = clock::now() + backoff.next_pause();
                if error.is_not_found() || error.is_conflict() {
                    tracing::debug!(%error, pod = %patch.pod, "the Pod changed meanwhile");
                } else {
                    tracing::warn!(%error, pod = %patch.pod, "failed to give the sidecar another image");
                    metrics.with_label_values(&["refused"]).inc();
                }
                Ok(false)
            }
        }
    }

    fn count(&mut self, context: &Context, pods: &[Arc<LabelledPod>], now_ms: i64) {
        let metrics = &context.metrics.sidecar_upgrades;
        let before = std::mem::take(&mut self.down);
        for pod in pods {
            let uid = pod.meta().uid.clone().unwrap_or_default();
            let Some(now) = state(pod, &context.settings.sidecars, now_ms) else { continue };
            let was = before.get(&uid).copied();
            match now {
                State::Current if was.is_some() => metrics.with_label_values(&["done"]).inc(),
                State::Failed if was == Some(State::Upgrading) => {
                    metrics.with_label_values(&["failed"]).inc()
                }
                _ => {}
            }
            if matches!(now, State::Upgrading | State::Failed) {
                self.down.insert(uid, now);
            }
        }
    }

    fn say_whether_stopped(&mut self, plan: &Plan) {
        if plan.is_stopped && !self.was_stopped {
            tracing::error!(
                workloads = plan.stuck.len(),
                "no more sidecars are upgraded: too many Pods did not become Ready; their workloads' events say which"
            );
        }
        self.was_stopped = plan.is_stopped;
    }
}

fn body(patch: &Patch, image: &str) -> serde_json::Value {
    // Cannot fail: it is a struct of texts and numbers.
    let begun = serde_json::to_string(&patch.begun).unwrap_or_default();
    json!({
        "metadata": {
            "uid": patch.begun.uid,
            "resourceVersion": patch.resource_version,
            "annotations": {SIDECAR_UPGRADE_BEGUN: begun, SIDECAR_IMAGE: image},
        },
        "spec": {"initContainers": [{"name": CONTAINER, "image": image}]},
    })
}

/// What the workload of a Pod is told that does not become Ready, and the key of it.
fn notice(stuck: Stuck, image: &str) -> (String, Notice) {
    let waiting = stuck.waiting.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let pod = &stuck.pod.name;
    let note = format!(
        "Pod {pod} is not Ready since its sidecar was given the image {image}{waiting}; the other Pods of this workload keep \
         theirs until it is. Look at: kubectl describe pod {pod}, kubectl logs {pod} -c {CONTAINER} --previous. When the image \
         is at fault, give the operator another one (chart value sidecar.image): this Pod gets it first. When the Pod is, \
         delete it"
    );
    let event = event(EventType::Warning, STUCK, "UpgradeSidecar", &note);
    let name = ObjectName::new(&stuck.pod.namespace, &stuck.made_by.name);
    let key = format!("{}/{STUCK}/{image}", stuck.made_by.uid);
    (key, Notice { name, made_by: stuck.made_by, event })
}
