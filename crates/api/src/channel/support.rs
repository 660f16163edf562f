//! Fields of a Channel whose machinery comes later, and fields that do not go together. They are answered, never ignored.

use super::{Acknowledge, ChannelSpec, Overflow, Pattern};
use crate::field::FieldError;

/// Every field that is set and not supported, with what to do instead.
#[must_use]
pub fn not_supported(spec: &ChannelSpec) -> Vec<FieldError> {
    let delivery = &spec.delivery;
    let mut found = Vec::new();
    let mut add = |set: bool, field: &str, problem: &str| {
        if set {
            found.push(FieldError::new(field, problem));
        }
    };
    let pattern = spec.pattern;
    let spills = delivery.overflow == Overflow::Spill;
    let refuses = spills || matches!(delivery.overflow, Overflow::Block | Overflow::DropNewest);
    let acknowledged = delivery.acknowledge == Acknowledge::Required;
    add(
        spills && pattern == Pattern::RequestReply,
        "spec.delivery.overflow",
        "a request has a deadline, so it is not spilled: use Block for pattern RequestReply",
    );
    add(
        !refuses && (pattern != Pattern::PubSub || acknowledged),
        "spec.delivery.overflow",
        "only Block, DropNewest and Spill go with spec.delivery.acknowledge Required and with patterns other than PubSub",
    );
    add(
        acknowledged && pattern == Pattern::RequestReply,
        "spec.delivery.acknowledge",
        "a reply acknowledges its request: remove it for pattern RequestReply",
    );
    add(
        delivery.replay.is_some() && (pattern != Pattern::PubSub || acknowledged),
        "spec.delivery.replay",
        "only for pattern PubSub with spec.delivery.acknowledge None: remove it",
    );
    add(
        spec.record.is_some() && pattern == Pattern::RequestReply,
        "spec.record",
        "requests and replies are not recorded: remove it for pattern RequestReply",
    );
    found
}
