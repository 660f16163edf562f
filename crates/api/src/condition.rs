//! Conditions: Ready made from its parts, and the time of the last change kept where nothing changed. Time is a parameter.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Type of the condition that sums up all others.
pub const READY: &str = "Ready";
/// Reason of Ready when all parts are true.
pub const REASON_READY: &str = "Ready";
/// Reason for fields whose machinery does not exist yet.
pub const REASON_NOT_SUPPORTED: &str = "NotSupported";
/// Reason for objects that validation refuses.
pub const REASON_INVALID: &str = "Invalid";
/// Longest message of a condition, in bytes (the API server's own limit is 32768).
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// Truth of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is so.
    True,
    /// It is not so; the message names the next step.
    False,
    /// Not known yet.
    Unknown,
}

impl State {
    /// As conditions write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// One part of Ready, as a controller found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Type of the condition, such as `BrokerReady`.
    pub kind: &'static str,
    /// Whether it is so.
    pub state: State,
    /// One word in CamelCase, a constant.
    pub reason: &'static str,
    /// A sentence for people; when not true, it names the next step.
    pub message: String,
}

impl Part {
    /// A part that is true.
    pub fn good(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, state: State::True, reason, message: message.into() }
    }

    /// A part that is false.
    pub fn bad(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, state: State::False, reason, message: message.into() }
    }

    /// A part that is not known yet.
    pub fn unknown(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, state: State::Unknown, reason, message: message.into() }
    }
}

/// The condition set of an object: Ready first, then its parts in their order.
///
/// Ready is false with reason and message of the first false part, else unknown with those of the first
/// unknown part, else true. `lastTransitionTime` of `previous` is kept where the status is unchanged.
#[must_use]
pub fn conditions(
    previous: &[Condition],
    parts: &[Part],
    generation: Option<i64>,
    now: &Time,
) -> Vec<Condition> {
    let worst = parts
        .iter()
        .find(|part| part.state == State::False)
        .or_else(|| parts.iter().find(|part| part.state == State::Unknown));
    let ready = worst.map_or_else(
        || Part::good(READY, REASON_READY, "all parts are well"),
        |part| Part { kind: READY, ..part.clone() },
    );
    std::iter::once(&ready).chain(parts).map(|part| condition(previous, part, generation, now)).collect()
}

/// Conditions that are shown and do not count for Ready.
#[must_use]
pub fn shown(previous: &[Condition], parts: &[Part], generation: Option<i64>, now: &Time) -> Vec<Condition> {
    parts.iter().map(|part| condition(previous, part, generation, now)).collect()
}

fn condition(previous: &[Condition], part: &Part, generation: Option<i64>, now: &Time) -> Condition {
    let status = part.state.as_str();
    let since = previous
        .iter()
        .find(|condition| condition.type_ == part.kind && condition.status == status)
        .map_or(now, |condition| &condition.last_transition_time);
    Condition {
        type_: part.kind.to_owned(),
        status: status.to_owned(),
        reason: part.reason.to_owned(),
        message: truncated(&part.message, MESSAGE_BYTES_MAX).to_owned(),
        observed_generation: generation,
        last_transition_time: since.clone(),
    }
}

/// The longest start of `text` that is at most `bytes_max` long and ends between characters.
#[must_use]
pub fn truncated(text: &str, bytes_max: usize) -> &str {
    let end = text.floor_char_boundary(bytes_max);
    text.get(..end).unwrap_or(text)
}

/// The condition of this type, if the object has it.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether the object says that it is ready for this generation of its spec.
#[must_use]
pub fn is_ready(conditions: &[Condition], generation: Option<i64>) -> bool {
    find(conditions, READY)
        .is_some_and(|ready| ready.status == "True" && ready.observed_generation >= generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Time {
        serde_json::from_value(serde_json::Value::String(text.to_owned())).unwrap()
    }

    /// Goal: Ready repeats the first false part, and a time changes only with its status.
    #[test]
    fn ready_is_made_of_its_parts() {
        let (early, late) = (time("2026-01-01T00:00:00Z"), time("2026-01-02T00:00:00Z"));
        let good = Part::good("Accepted", "Accepted", "");
        let bad = Part::bad("BrokerReady", "Starting", "wait for pod x");
        let first = conditions(&[], &[good.clone(), bad], Some(1), &early);
        assert_eq!((first[0].type_.as_str(), first[0].status.as_str()), ("Ready", "False"));
        assert_eq!((first[0].reason.as_str(), first[0].message.as_str()), ("Starting", "wait for pod x"));
        let second = conditions(&first, &[good, Part::good("BrokerReady", "Serving", "")], Some(2), &late);
        assert_eq!(second[0].status, "True");
        assert_eq!(second[0].last_transition_time, late);
        assert_eq!(second[1].last_transition_time, early);
        assert!(is_ready(&second, Some(2)) && !is_ready(&second, Some(3)) && !is_ready(&first, Some(1)));
    }

    /// Goal: a message is cut between characters.
    #[test]
    fn messages_are_cut_between_characters() {
        assert_eq!(truncated("aé", 2), "a");
        assert_eq!(truncated("aé", 3), "aé");
    }
}
