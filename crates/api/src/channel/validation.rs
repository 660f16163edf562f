//! Pure: what is wrong with a Channel that one can tell from it alone, or from it and its former self.

use super::{Acknowledge, Channel, Overflow, Pattern, Replay};
use crate::{field::FieldError, names::ObjectName};

const BUFFER_MESSAGES_MAX: i32 = 10_000_000;
/// Largest buffer per subscriber, in bytes.
const BUFFER_BYTES_MAX: u64 = 4 << 30;
/// Largest message, in bytes: the frame limit between sidecars.
const MESSAGE_BYTES_MAX: u64 = 64 << 20;
const ATTEMPTS_MAX: i32 = 1000;
const READY_SUBSCRIBERS_MAX: i32 = 10_000;
const REPLAY_MESSAGES_MAX: i32 = 10_000_000;
/// What a publisher's sidecar may keep of one Channel, in bytes.
const REPLAY_BYTES_MAX: u64 = 4 << 30;

/// Everything that is wrong with this Channel.
#[must_use]
pub fn validate(channel: &Channel) -> Vec<FieldError> {
    let spec = &channel.spec;
    let mut errors = Vec::new();
    let mut refuse = |wrong: bool, field: &str, problem: String| {
        if wrong {
            errors.push(FieldError::new(field, problem));
        }
    };
    if let Err(error) = channel.metadata.name.as_deref().unwrap_or_default().parse::<ObjectName>() {
        refuse(true, "metadata.name", error.to_string());
    }
    let size = &spec.max_message_size;
    refuse(
        !(1..=MESSAGE_BYTES_MAX).contains(&size.bytes()),
        "spec.maxMessageSize",
        format!("{size} is out of range: use 1 to 64Mi"),
    );
    let (messages, bytes) = (spec.delivery.buffer.messages, &spec.delivery.buffer.size);
    refuse(
        !(1..=BUFFER_MESSAGES_MAX).contains(&messages),
        "spec.delivery.buffer.messages",
        format!("{messages} is out of range: use 1 to {BUFFER_MESSAGES_MAX}"),
    );
    refuse(
        !(1..=BUFFER_BYTES_MAX).contains(&bytes.bytes()),
        "spec.delivery.buffer.size",
        format!("{bytes} is out of range: use 1 to 4Gi"),
    );
    refuse(
        bytes.bytes() < size.bytes(),
        "spec.delivery.buffer.size",
        format!("{bytes} holds no message of maxMessageSize {size}: make it larger"),
    );
    refuse(
        spec.request_timeout.is_some() && spec.pattern != Pattern::RequestReply,
        "spec.requestTimeout",
        "only for pattern RequestReply: remove it".into(),
    );
    refuse(
        spec.request_timeout.as_ref().is_some_and(|timeout| timeout.milliseconds() == 0),
        "spec.requestTimeout",
        "no request can be answered in 0 s: make it longer".into(),
    );
    refuse(
        spec.ready.as_ref().is_some_and(|ready| !(1..=READY_SUBSCRIBERS_MAX).contains(&ready.subscribers)),
        "spec.ready.subscribers",
        format!("out of range: use 1 to {READY_SUBSCRIBERS_MAX}"),
    );
    errors.extend(validate_delivery(channel));
    errors.extend(crate::access::validate(spec.access.as_ref()));
    errors
}

fn validate_delivery(channel: &Channel) -> Vec<FieldError> {
    let delivery = &channel.spec.delivery;
    let mut errors = Vec::new();
    let mut refuse = |wrong: bool, field: &str, problem: &str| {
        if wrong {
            errors.push(FieldError::new(field, problem));
        }
    };
    let acknowledged = delivery.acknowledge == Acknowledge::Required;
    refuse(
        delivery.block_timeout.is_some() && delivery.overflow != Overflow::Block,
        "spec.delivery.blockTimeout",
        "only for overflow Block: remove it",
    );
    refuse(
        delivery.spill.is_some() != (delivery.overflow == Overflow::Spill),
        "spec.delivery.spill",
        "names the Topic of overflow Spill: set both or neither",
    );
    refuse(
        delivery.redeliver.is_some() && !acknowledged,
        "spec.delivery.redeliver",
        "needs acknowledge Required",
    );
    refuse(
        delivery
            .redeliver
            .as_ref()
            .is_some_and(|redeliver| !(1..=ATTEMPTS_MAX).contains(&redeliver.attempts)),
        "spec.delivery.redeliver.attempts",
        "out of range: use 1 to 1000",
    );
    refuse(
        delivery.redeliver.as_ref().is_some_and(|redeliver| redeliver.after.milliseconds() == 0),
        "spec.delivery.redeliver.after",
        "gives nobody time to acknowledge: make it longer",
    );
    refuse(
        delivery.dead_letter.is_some() && !acknowledged,
        "spec.delivery.deadLetter",
        "needs acknowledge Required",
    );
    refuse(
        delivery.replay.as_ref().is_some_and(|replay| {
            replay.messages.is_none() && replay.size.is_none() && replay.time.is_none()
        }),
        "spec.delivery.replay",
        "set at least one of messages, size and time",
    );
    errors.extend(delivery.replay.as_ref().map(validate_replay).unwrap_or_default());
    errors
}

fn validate_replay(replay: &Replay) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut refuse = |wrong: bool, field: &str, problem: &str| {
        if wrong {
            errors.push(FieldError::new(field, problem));
        }
    };
    refuse(
        replay.messages.is_some_and(|messages| !(1..=REPLAY_MESSAGES_MAX).contains(&messages)),
        "spec.delivery.replay.messages",
        "out of range: use 1 to 10000000",
    );
    refuse(
        replay.size.as_ref().is_some_and(|size| !(1..=REPLAY_BYTES_MAX).contains(&size.bytes())),
        "spec.delivery.replay.size",
        "out of range: use 1 to 4Gi",
    );
    refuse(
        replay.time.as_ref().is_some_and(|time| time.milliseconds() == 0),
        "spec.delivery.replay.time",
        "keeps nothing: make it longer",
    );
    errors
}

/// Everything that must not change from `old` to `new`.
#[must_use]
pub fn validate_update(old: &Channel, new: &Channel) -> Vec<FieldError> {
    if old.spec.pattern == new.spec.pattern {
        return Vec::new();
    }
    vec![FieldError::new("spec.pattern", "cannot change: make a new Channel")]
}
