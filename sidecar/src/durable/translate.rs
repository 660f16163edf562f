//! Records ↔ messages, and librdkafka's errors → problems. Pure.

use bytes::Bytes;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers as _, OwnedHeaders};

use super::parts;
use crate::messaging::{Message, Problem, ProblemKind, TopicName};

/// The header that carries a subject through a log that has no place for one.
pub(super) const SUBJECT_HEADER: &str = "pinnace-subject";

/// The headers of the record for `message`.
pub(super) fn headers(message: &Message) -> Option<OwnedHeaders> {
    let count = message.headers.len() + usize::from(!message.subject.is_empty());
    if count == 0 {
        return None;
    }
    let mut headers = OwnedHeaders::new_with_capacity(count);
    for (name, value) in &message.headers {
        headers = headers.insert(Header { key: name, value: Some(&value[..]) });
    }
    if !message.subject.is_empty() {
        headers = headers.insert(Header { key: SUBJECT_HEADER, value: Some(&message.subject[..]) });
    }
    Some(headers)
}

/// The message in a record. A header without a value becomes an empty one.
pub(super) fn message<M: rdkafka::Message>(record: &M) -> Message {
    let mut message = Message {
        key: record.key().map(Bytes::copy_from_slice),
        parts: record.payload().map(Bytes::copy_from_slice).into_iter().collect(),
        timestamp_ms: record.timestamp().to_millis().unwrap_or(0),
        ..Message::default()
    };
    for header in record.headers().into_iter().flat_map(|headers| headers.iter()) {
        let value = header.value.map(Bytes::copy_from_slice).unwrap_or_default();
        if header.key == SUBJECT_HEADER {
            message.subject = value;
        } else {
            message.headers.push((header.key.to_owned(), value));
        }
    }
    parts::unfold(message)
}

/// What a broker's or librdkafka's error means to an app.
pub(super) fn problem(name: &TopicName, action: &str, error: &KafkaError) -> Problem {
    use RDKafkaErrorCode as Code;
    let Some(code) = error.rdkafka_error_code() else {
        return Problem::new(ProblemKind::Internal, format!("{name}: failed to {action}: {error}"));
    };
    let (kind, hint) = match code {
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed => {
            (ProblemKind::PermissionDenied, "; the broker's ACLs follow spec.access of the Topic")
        }
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            (ProblemKind::Unavailable, "; the broker does not have it (yet): look at the Topic's conditions")
        }
        Code::MessageTimedOut | Code::RequestTimedOut | Code::OperationTimedOut => {
            (ProblemKind::DeadlineExceeded, "; the broker did not answer in time")
        }
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
            (ProblemKind::InvalidArgument, "; see spec.maxMessageSize of the Topic")
        }
        Code::InvalidRecord | Code::InvalidGroupId | Code::InvalidTimestamp => {
            (ProblemKind::InvalidArgument, "")
        }
        Code::QueueFull => (ProblemKind::ResourceExhausted, "; publish slower or wait for answers"),
        Code::PolicyViolation | Code::ThrottlingQuotaExceeded => (ProblemKind::ResourceExhausted, ""),
        Code::InvalidArgument | Code::Fatal | Code::Fenced => (ProblemKind::Internal, ""),
        _ => (ProblemKind::Unavailable, "; try again"),
    };
    Problem::new(kind, format!("{name}: failed to {action}: {code}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    fn record(message: &Message) -> OwnedMessage {
        OwnedMessage::new(
            message.parts.first().map(|part| part.to_vec()),
            message.key.as_ref().map(|key| key.to_vec()),
            "orders".to_owned(),
            Timestamp::CreateTime(message.timestamp_ms),
            0,
            0,
            headers(message),
        )
    }

    /// Goal: subject, key, repeated headers, an empty value and a tombstone all come back.
    #[test]
    fn messages_round_trip() {
        let full = Message {
            subject: Bytes::from_static(b"eu."),
            key: Some(Bytes::new()),
            headers: vec![("a".into(), Bytes::from_static(b"1")), ("a".into(), Bytes::from_static(&[0xff]))],
            parts: vec![Bytes::from_static(b"x")],
            timestamp_ms: 7,
        };
        let empty = Message { parts: vec![Bytes::new()], ..Message::default() };
        let tombstone = Message { key: Some(Bytes::from_static(b"k")), ..Message::default() };
        for wanted in [full, empty, tombstone] {
            assert_eq!(message(&record(&wanted)), wanted);
        }
    }

    /// Goal: errors of the broker keep their meaning.
    #[test]
    fn errors_keep_their_meaning() {
        let name = TopicName { namespace: "shop".into(), name: "orders".into() };
        for (code, kind) in [
            (RDKafkaErrorCode::TopicAuthorizationFailed, ProblemKind::PermissionDenied),
            (RDKafkaErrorCode::MessageTimedOut, ProblemKind::DeadlineExceeded),
            (RDKafkaErrorCode::NotEnoughReplicas, ProblemKind::Unavailable),
            (RDKafkaErrorCode::MessageSizeTooLarge, ProblemKind::InvalidArgument),
        ] {
            let problem = problem(&name, "publish", &KafkaError::MessageProduction(code));
            assert_eq!(problem.kind, kind, "{problem}");
            assert!(problem.message.contains("shop/orders"), "{problem}");
        }
    }
}
