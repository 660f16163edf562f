//! Starts the nodes of a Kafka cluster again, as `roll` decides. Nothing is kept: the Pods say how far it is, so another
//! operator goes on where this one was.

use super::{
    address, objects,
    roll::{self, Node, State, Step},
};
use crate::{
    apply::{ApplyError, Evicted},
    context::Context,
};
use api::{
    Broker,
    broker::{Engine, conditions::REASON_NODE_RESTARTS},
};
use control::ObjectName;
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};

/// How far the restart of a cluster's nodes is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Restarts {
    /// Nothing is to be done.
    Done,
    /// Some nodes do not have the newest template.
    Left {
        /// Their Pods that go now.
        now: Vec<Going>,
        /// How many nodes have it, of how many, and what is done or waited for: for people.
        told: String,
    },
}

/// A Pod that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Going {
    node: i32,
    pod: ObjectName,
    uid: String,
}

impl Restarts {
    fn left((newest, all): (usize, usize), now: Vec<Going>, why: &str) -> Self {
        let told = format!("{newest} of {all} nodes run with the newest settings: {why}");
        Self::Left { now, told }
    }

    /// What a person should know.
    pub(super) fn told(&self) -> Option<&str> {
        match self {
            Self::Done => None,
            Self::Left { told, .. } => Some(told),
        }
    }
}

/// Looks at the Pods and, when one of them may go, at the cluster.
pub(super) async fn plan(
    (broker, own): (&Broker, &ObjectName),
    set: Option<&StatefulSet>,
    context: &Context,
) -> Result<Restarts, ApplyError> {
    let is_ours = broker.spec.engine == Engine::Kafka && !broker.spec.paused();
    let Some(newest) = set.filter(|_| is_ours).and_then(outdated) else {
        return Ok(Restarts::Done);
    };
    let selector = objects::selector(&own.name);
    let labels = selector.as_object().into_iter().flatten();
    let labels: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    let pods = context.writer.pods(&own.namespace, &labels.join(",")).await?;
    let set_name = objects::service_name(&own.name);
    let pod_of = |id: i32| pods.iter().find(|pod| pod.metadata.name == Some(format!("{set_name}-{id}")));
    let all = set.and_then(|set| set.spec.as_ref()?.replicas).unwrap_or(0);
    let nodes: Vec<Node> = (0..all).map(|id| node(id, pod_of(id), newest)).collect();
    let going = |id: &i32| {
        let metadata = &pod_of(*id)?.metadata;
        let pod = ObjectName::new(&own.namespace, metadata.name.clone()?);
        Some(Going { node: *id, pod, uid: metadata.uid.clone()? })
    };
    let count = (nodes.iter().filter(|node| node.is_newest).count(), nodes.len());
    let restart = |ids: &[i32], why: &str| {
        let now: Vec<Going> = ids.iter().filter_map(going).collect();
        let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
        Restarts::left(count, now, &format!("node {} starts again{why}", names.join(" and ")))
    };
    Ok(match roll::step(&nodes) {
        Step::Done => Restarts::Done,
        Step::Restart(ids) => restart(&ids, if count.1 == 1 { "" } else { ", which is not ready" }),
        Step::Waits(why) => Restarts::left(count, Vec::new(), &why),
        Step::OneOf(ids) => match context.brokers.standing(&address(own)).await {
            Err(error) => {
                Restarts::left(count, Vec::new(), &format!("waits for the cluster to tell: {error}"))
            }
            Ok(standing) => match roll::next(&ids, &standing) {
                Ok(id) => restart(&[id], ""),
                Err(why) => Restarts::left(count, Vec::new(), &format!("waits, since {why}")),
            },
        },
    })
}

/// The newest template's name, when not all Pods are of it. What the StatefulSet's controller has not seen yet is not known.
fn outdated(set: &StatefulSet) -> Option<&str> {
    let status = set.status.as_ref()?;
    let is_seen = status.observed_generation >= set.metadata.generation;
    let wanted = set.spec.as_ref()?.replicas.unwrap_or(1);
    (is_seen && status.updated_replicas.unwrap_or(0) < wanted).then_some(status.update_revision.as_deref()?)
}

fn node(id: i32, pod: Option<&Pod>, newest: &str) -> Node {
    let Some(pod) = pod.filter(|pod| pod.metadata.deletion_timestamp.is_none()) else {
        return Node { id, state: State::Away, is_newest: false };
    };
    let labels = pod.metadata.labels.as_ref();
    let revision = labels.and_then(|labels| labels.get("controller-revision-hash"));
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    let is_ready = conditions
        .unwrap_or_default()
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let state = if is_ready { State::Ready } else { State::Down };
    Node { id, state, is_newest: revision.is_some_and(|revision| revision == newest) }
}

/// Has those Pods go that may, and tells.
pub(super) async fn act(broker: &Broker, plan: Restarts, context: &Context) -> Result<Restarts, ApplyError> {
    let Restarts::Left { now, told } = &plan else { return Ok(plan) };
    for Going { node, pod, uid } in now {
        match context.writer.evict(pod, uid).await? {
            Evicted::Going => {
                context.writer.tell(broker, REASON_NODE_RESTARTS, told).await?;
            }
            Evicted::Gone => {}
            Evicted::NotNow(why) => {
                let told = format!("{told}; node {node} cannot go now: {why}");
                return Ok(Restarts::Left { now: Vec::new(), told });
            }
        }
    }
    Ok(plan)
}
