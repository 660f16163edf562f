//! Pure: what was found of a Broker → its status.

use super::{
    engine, health,
    observe::{Observed, is_ready, ready_nodes},
    scale::Scale,
    turn::{self, Turn},
};
use crate::{apply::ApplyError, cluster::name_of, context::Context};
use api::{
    Broker, BrokerStatus,
    broker::{Engine, NodeStatus, conditions::*},
    condition::{Part, State, conditions, shown},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What came of a reconcile.
pub(super) enum Outcome<'a> {
    /// The spec is not taken.
    Refused(&'a Part),
    /// The children were applied, or the Broker is paused.
    Observed {
        /// What is there.
        observed: &'a Observed,
        /// Whether the claim could be made to grow.
        growth: &'a Result<(), ApplyError>,
        /// For the image's version.
        context: &'a Context,
    },
}

pub(super) fn status(
    before: &BrokerStatus,
    broker: &Broker,
    outcome: &Outcome<'_>,
    now: &Time,
) -> BrokerStatus {
    let mut after = before.clone();
    let (mut parts, told) = match outcome {
        Outcome::Refused(part) => (vec![Part::clone(part)], Vec::new()),
        Outcome::Observed { observed, growth, context } => {
            let set = observed.stateful_set.as_deref().filter(|_| observed.turn != Turn::Now);
            let image = set.and_then(turn::image).unwrap_or_else(|| engine::image(broker, &context.settings));
            fill(&mut after, broker, observed, image);
            let parts = vec![
                accepted(broker),
                nodes(broker, observed),
                storage(broker, observed, growth),
                serving(observed),
            ];
            (parts, told(before, broker, observed))
        }
    };
    // A Broker that serves is not less ready because its engine does not tell how full its disk is.
    let (unknown, known): (Vec<_>, Vec<_>) = told.into_iter().partition(|part| part.state == State::Unknown);
    parts.extend(known);
    let (previous, generation) = (&before.conditions, broker.metadata.generation);
    after.observed_generation = generation;
    after.conditions = conditions(previous, &parts, generation, now);
    after.conditions.extend(shown(previous, &unknown, generation, now));
    after
}

/// What the engine says of itself. Kafka says nothing of it, but where its copies are.
fn told(before: &BrokerStatus, broker: &Broker, observed: &Observed) -> Vec<Part> {
    if broker.spec.engine == Engine::Kafka {
        return vec![placed(&observed.scaling.scale)];
    }
    let is_running = observed.stateful_set.as_deref().is_some_and(is_ready);
    health::parts(&before.conditions, is_running, &observed.health, &pod(broker)).to_vec()
}

/// A cluster whose copies move is as ready as one whose copies do not: `Unknown` does not count.
fn placed(scale: &Scale) -> Part {
    if scale.is_steady() {
        Part::good(COPIES_PLACED, REASON_IN_PLACE, scale.told.clone())
    } else {
        Part::unknown(COPIES_PLACED, scale.reason, scale.told.clone())
    }
}

fn pod(broker: &Broker) -> String {
    format!("{}-broker-0", name_of(broker).name)
}

fn fill(after: &mut BrokerStatus, broker: &Broker, observed: &Observed, image: &str) {
    after.bootstrap = Some(super::address(&name_of(broker)).bootstrap);
    after.engine_version = image.rsplit_once(':').map(|(_, tag)| tag.to_owned());
    after.topics = i32::try_from(observed.topics).ok();
    let capacity = observed.capacity(observed.scaling.scale.nodes);
    after.storage = health::storage(after.storage.as_ref(), capacity, &observed.health);
    let answered = observed.engine.as_ref().and_then(|engine| engine.as_ref().ok());
    if let Some(engine) = answered {
        after.cluster_id = Some(engine.cluster_id.clone());
    }
    let is_there = |id: &i32| answered.is_some_and(|engine| engine.nodes.contains(id));
    let ids: Vec<i32> = match (broker.spec.engine, answered) {
        (Engine::Kafka, _) => (0..observed.scaling.scale.nodes).collect(),
        // Its only node, whatever number it has.
        (Engine::Embedded, Some(engine)) => engine.nodes.clone(),
        (Engine::Embedded, None) => after.brokers.iter().map(|node| node.id).collect(),
    };
    after.brokers = ids.into_iter().map(|id| NodeStatus { id, ready: is_there(&id) }).collect();
}

fn accepted(broker: &Broker) -> Part {
    if broker.spec.paused() {
        return Part::good(
            ACCEPTED,
            REASON_PAUSED,
            "paused: nothing is changed until spec.maintenance.paused is false",
        );
    }
    Part::good(ACCEPTED, REASON_ACCEPTED, "the spec is valid and supported")
}

fn nodes(broker: &Broker, observed: &Observed) -> Part {
    let pod = pod(broker);
    let (wanted, ready) =
        (observed.scaling.scale.nodes, observed.stateful_set.as_deref().map_or(0, ready_nodes));
    match observed.stateful_set.as_deref() {
        Some(set) if is_ready(set) && ready < wanted => Part::bad(
            NODES_READY,
            REASON_STARTING,
            match observed.restarts.told() {
                Some(told) => format!("{ready} of {wanted} nodes are ready; {told}"),
                None => format!(
                    "{ready} of {wanted} nodes are ready: if it takes long, look at the events and logs of pods with the label {}={}",
                    api::labels::BROKER,
                    name_of(broker).name
                ),
            },
        ),
        Some(set) if is_ready(set) => match (&observed.turn, observed.restarts.told()) {
            (Turn::Now, Some(told)) => Part::good(NODES_READY, REASON_RESTARTING, told),
            (Turn::Now, None) => Part::good(
                NODES_READY,
                REASON_RUNNING,
                if wanted == 1 {
                    "the node is ready".to_owned()
                } else {
                    format!("all {wanted} nodes are ready")
                },
            ),
            (Turn::Waits(why), _) => Part::good(NODES_READY, REASON_UPGRADE_WAITS, why),
        },
        _ => Part::bad(
            NODES_READY,
            REASON_STARTING,
            format!("waits for pod {pod}: if it takes long, look at its events and its log"),
        ),
    }
}

fn storage(broker: &Broker, observed: &Observed, growth: &Result<(), ApplyError>) -> Part {
    let wanted = &broker.spec.storage.size;
    let nodes = observed.scaling.scale.nodes;
    let claim = super::objects::claim_name(&name_of(broker).name, 0);
    let claim = if nodes == 1 { claim } else { format!("{claim} or one of the other nodes") };
    if let Err(error) = growth {
        let message = format!(
            "volume claim {claim} cannot grow to {wanted}: {error}; use a storage class that allows expansion, or set spec.storage.size back"
        );
        return Part::bad(STORAGE_READY, REASON_RESIZING, message);
    }
    let capacity = observed.capacity(nodes).and_then(|text| text.parse::<api::quantity::Quantity>().ok());
    match capacity {
        None => Part::unknown(
            STORAGE_READY,
            REASON_VOLUME_PENDING,
            format!("volume claim {claim} is not bound: is there a storage class?"),
        ),
        Some(capacity) if capacity.bytes() < wanted.bytes() => Part::unknown(
            STORAGE_READY,
            REASON_RESIZING,
            format!("volume claim {claim} is growing from {capacity} to {wanted}"),
        ),
        Some(_) => Part::good(STORAGE_READY, REASON_BOUND, "the volume is bound"),
    }
}

fn serving(observed: &Observed) -> Part {
    match &observed.engine {
        Some(Ok(_)) => Part::good(SERVING, REASON_SERVING, "the broker answers"),
        Some(Err(error)) => Part::bad(
            SERVING,
            REASON_UNREACHABLE,
            format!("{error}; look at the log of the pod and at network policies"),
        ),
        None => Part::unknown(SERVING, REASON_STARTING, "no node is ready yet"),
    }
}
