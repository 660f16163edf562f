//! Pure: a Topic and what surrounds it → a topic that can be brought about, or what stands in the way.

use super::observe::Surroundings;
use crate::controllers::Action;
use crate::{cluster::name_of, controllers::broker, kafka::Address};
use api::{
    Broker, BrokerSpec, Topic,
    broker::Engine,
    condition::{self, Part, REASON_INVALID, REASON_NOT_SUPPORTED, find},
    field::{FieldError, join},
    quantity::Quantity,
    quota::{Limits, exceeded, held},
    topic::{ManagementPolicy, conditions::*, not_supported},
};
use control::{ObjectName, topics::Wanted};
use std::time::Duration;

/// What may change without a trigger is looked at again after so long; it costs no request.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// A Topic that can be brought about.
pub(super) struct ValidTopic {
    /// Where.
    pub(super) address: Address,
    /// What.
    pub(super) wanted: Wanted,
    /// Whether we change anything, or only look.
    pub(super) managed: bool,
    /// Nodes of the cluster as its Broker wants them; none on an engine whose copies do not move.
    pub(super) nodes: Option<i32>,
    /// The retention that the quota let in, none without one; where the Broker has no quota for size there is nothing to say.
    pub(super) granted_retention_size: Option<Quantity>,
}

/// What stands in the way, as the part of Ready that is not true.
pub(super) struct Blocked {
    /// Which part, why, and the next step.
    pub(super) part: Part,
    /// What the controller does about it.
    pub(super) next: Next,
}

/// What follows from being blocked.
pub(super) enum Next {
    /// Somebody has to change something, and then we are told.
    Wait,
    /// We may not be told.
    LookAgain,
    /// Make the Broker of this namespace.
    MakeBroker(Box<Broker>),
}

impl Next {
    pub(super) fn action(&self) -> Action {
        match self {
            Self::Wait => Action::await_change(),
            Self::LookAgain | Self::MakeBroker(_) => Action::requeue(LOOK_AGAIN),
        }
    }
}

fn blocked(kind: &'static str, reason: &'static str, message: String, next: Next) -> Blocked {
    Blocked { part: Part::bad(kind, reason, message), next }
}

pub(super) fn validate(topic: &Topic, around: &Surroundings) -> Result<ValidTopic, Blocked> {
    let broker_name = super::broker_name(topic);
    if let Some(outside) = &around.outside {
        let message = format!("Broker {broker_name} cannot be used: {outside}; remove spec.broker.namespace");
        return Err(blocked(BROKER_READY, REASON_BROKER_NOT_SERVED, message, Next::Wait));
    }
    check_object(topic, around)?;
    let broker = check_broker(topic, &broker_name, around)?;
    let managed = topic.spec.management_policy == ManagementPolicy::Full && !broker.spec.paused();
    let Some(wanted) = around.wanted.clone() else {
        let message = format!(
            "Broker {broker_name} needs a rule for each service account that is let in, and the operator does not know them: has it the right to list and watch serviceaccounts? Upgrade the chart, or name them in spec.access"
        );
        return Err(blocked(ACCEPTED, REASON_ACCOUNTS_UNKNOWN, message, Next::LookAgain));
    };
    Ok(ValidTopic {
        address: broker::address(&broker_name),
        wanted,
        managed,
        nodes: (broker.spec.engine == Engine::Kafka).then(|| broker.spec.nodes()),
        granted_retention_size: granted(topic, broker).filter(|_| managed),
    })
}

fn granted(topic: &Topic, broker: &Broker) -> Option<Quantity> {
    broker.spec.namespace_quota()?.size.as_ref()?;
    let declared = topic.spec.retention.as_ref().and_then(|retention| retention.size.clone());
    Some(declared.unwrap_or_else(|| Quantity::from_bytes(0)))
}

fn check_object(topic: &Topic, around: &Surroundings) -> Result<(), Blocked> {
    let wrong = api::topic::validate(topic);
    if !wrong.is_empty() {
        return Err(blocked(ACCEPTED, REASON_INVALID, join(&wrong), Next::Wait));
    }
    let mut missing = not_supported(&topic.spec);
    let embedded = around.broker.as_ref().is_none_or(|broker| broker.spec.engine == Engine::Embedded);
    if let Some(replicas) = topic.spec.replicas.filter(|replicas| *replicas > 1 && embedded) {
        missing.push(FieldError::new(
            "spec.replicas",
            format!("{replicas} replicas need a Broker with engine Kafka; Embedded is one node: use 1 or remove it"),
        ));
    }
    if !missing.is_empty() {
        return Err(blocked(ACCEPTED, REASON_NOT_SUPPORTED, join(&missing), Next::Wait));
    }
    let own = name_of(topic);
    if around.holder != own {
        let name = topic.spec.log_name(&own.namespace, &own.name);
        let message = format!(
            "the older Topic {} has the name {name} on Broker {}: delete one of the two, or make this one anew with another spec.topicName",
            around.holder,
            super::broker_name(topic)
        );
        return Err(blocked(ACCEPTED, REASON_CONFLICT, message, Next::LookAgain));
    }
    Ok(())
}

fn check_broker<'a>(
    topic: &Topic,
    name: &ObjectName,
    around: &'a Surroundings,
) -> Result<&'a Broker, Blocked> {
    let own = &name_of(topic);
    let Some(broker) = around.broker.as_deref() else { return Err(no_broker(own, name)) };
    if !broker.spec.allows_namespace(&name.namespace, &own.namespace, &around.namespace_labels) {
        let message = format!(
            "Broker {name} takes no Topics of namespace {}: change spec.allowedNamespaces there, or spec.broker here",
            own.namespace
        );
        return Err(blocked(BROKER_READY, REASON_NAMESPACE_NOT_ALLOWED, message, Next::LookAgain));
    }
    if let Some(limits) = Limits::of(&broker.spec) {
        let over = exceeded(limits, topic, held(topic), &around.used);
        if !over.is_empty() {
            // Nobody tells us when another Topic makes room.
            return Err(blocked(ACCEPTED, REASON_QUOTA_EXCEEDED, join(&over), Next::LookAgain));
        }
    }
    if broker.spec.paused() {
        let message = format!("Broker {name} is paused: set spec.maintenance.paused to false there");
        return Err(Blocked { part: Part::unknown(BROKER_READY, REASON_PAUSED, message), next: Next::Wait });
    }
    if !broker::serves(broker) {
        let conditions =
            broker.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        let why = find(conditions, condition::READY).map_or("it is starting", |ready| ready.message.as_str());
        let message = format!("Broker {name} is not ready: {why}");
        return Err(blocked(BROKER_READY, REASON_BROKER_NOT_READY, message, Next::Wait));
    }
    Ok(broker)
}

fn no_broker(own: &ObjectName, name: &ObjectName) -> Blocked {
    if own.namespace == name.namespace && name.name == api::topic::DEFAULT_BROKER {
        let mut broker = Broker::new(&name.name, BrokerSpec::default());
        broker.metadata.namespace = Some(name.namespace.clone());
        let message = format!("made Broker {name}, since no other is named in spec.broker; it is starting");
        return blocked(BROKER_READY, REASON_BROKER_NOT_READY, message, Next::MakeBroker(Box::new(broker)));
    }
    let message = format!("there is no Broker {name}: make it, or change spec.broker");
    blocked(BROKER_READY, REASON_BROKER_NOT_FOUND, message, Next::LookAgain)
}

/// The API server refused the Broker that is made on first use.
pub(super) fn broker_refused(broker: &ObjectName, why: &str) -> Blocked {
    let message = format!(
        "Broker {broker} cannot be made on first use: {why}; name another Broker in spec.broker, make this one yourself, or ask who set the quota or policy"
    );
    blocked(BROKER_READY, REASON_BROKER_REFUSED, message, Next::LookAgain)
}
