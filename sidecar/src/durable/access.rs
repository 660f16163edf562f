//! Who may do what with a Topic, and which messages fit. Pure: a view in, a verdict out.

use super::{CREDIT_MAX, TopicOptions};
use crate::messaging::{Message, Problem, ProblemKind, TopicName};
use crate::view::{TopicView, View};

const GROUP_BYTES_MAX: usize = 249;

/// The Topic, if this app may publish to it.
pub(super) fn publish(view: &View, name: &TopicName) -> Result<TopicView, Problem> {
    let topic = usable(view, name)?;
    if topic.may_publish { Ok(topic.clone()) } else { Err(denied(name, "publish")) }
}

/// The Topic, if this app may read it.
pub(super) fn subscribe(view: &View, name: &TopicName) -> Result<TopicView, Problem> {
    let topic = usable(view, name)?;
    if topic.may_subscribe { Ok(topic.clone()) } else { Err(denied(name, "subscribe")) }
}

/// Exactly one part, and not too large.
pub(super) fn check_message(name: &TopicName, topic: &TopicView, message: &Message) -> Result<(), Problem> {
    if message.parts.len() != 1 {
        return Err(Problem::new(
            ProblemKind::InvalidArgument,
            format!(
                "{name}: a message of a Topic has exactly one part, because a record has one value; this one has {}",
                message.parts.len()
            ),
        ));
    }
    let size = message.size_bytes();
    if size > topic.max_message_bytes {
        return Err(too_large(name, topic, size));
    }
    Ok(())
}

pub(super) fn too_large(name: &TopicName, topic: &TopicView, size: usize) -> Problem {
    Problem::new(
        ProblemKind::InvalidArgument,
        format!(
            "{name}: a message of {size} bytes exceeds spec.maxMessageSize ({} bytes)",
            topic.max_message_bytes
        ),
    )
}

pub(super) fn check_options(name: &TopicName, options: &TopicOptions) -> Result<(), Problem> {
    let refuse = |text: String| Err(Problem::new(ProblemKind::InvalidArgument, format!("{name}: {text}")));
    if !(1..=CREDIT_MAX).contains(&options.credit) {
        return refuse(format!("credit must be 1 to {CREDIT_MAX}, not {}", options.credit));
    }
    if options.group.len() > GROUP_BYTES_MAX {
        return refuse(format!("group is longer than {GROUP_BYTES_MAX} bytes"));
    }
    if options.acknowledge && options.group.is_empty() {
        return refuse("acknowledge needs a group: without one nothing is committed".to_owned());
    }
    Ok(())
}

fn usable<'a>(view: &'a View, name: &TopicName) -> Result<&'a TopicView, Problem> {
    if !view.is_known() {
        return Err(Problem::new(
            ProblemKind::Unavailable,
            format!("{name}: the sidecar has no view from the control plane yet; try again"),
        ));
    }
    let Some(topic) = view.topics.get(name) else {
        return Err(Problem::new(
            ProblemKind::NotFound,
            format!(
                "{name} does not exist, or this app may not use it: create it, or add this service account to its spec.access"
            ),
        ));
    };
    if !topic.problem.is_empty() {
        return Err(Problem::new(ProblemKind::Unavailable, format!("{name}: {}", topic.problem)));
    }
    let Some(broker) = &view.broker else {
        return Err(Problem::new(ProblemKind::Unavailable, format!("{name}: {}", view.broker_problem)));
    };
    let door = format!("{}/{}", broker.namespace, broker.name);
    if topic.broker != door {
        return Err(Problem::new(
            ProblemKind::NotSupported,
            format!(
                "{name} lives on Broker {}, but this pod's Kafka door opens to Broker {door}: set the pod's annotation pinnace.dev/broker",
                topic.broker
            ),
        ));
    }
    Ok(topic)
}

fn denied(name: &TopicName, verb: &str) -> Problem {
    Problem::new(
        ProblemKind::PermissionDenied,
        format!(
            "{name}: this app's service account may not {verb}; add it to spec.access.{verb} of the Topic"
        ),
    )
}

#[cfg(test)]
mod tests;
