//! Protobuf ↔ the words of `messaging.rs`. Pure; payloads move, they are not copied.

use proto::messaging as wire;
use proto::messaging::subscribe_response as response;
use tonic::{Code, Status};

use crate::app::session::Item;
use crate::durable::Delivery;
use crate::messaging::{Message, Position, Problem, ProblemKind};

pub(super) fn message(message: wire::Message) -> Message {
    Message {
        subject: message.subject,
        key: message.key,
        headers: message.headers.into_iter().map(|header| (header.name, header.value)).collect(),
        parts: message.parts,
        timestamp_ms: message.timestamp_ms,
    }
}

pub(super) fn to_wire(message: Message) -> wire::Message {
    wire::Message {
        subject: message.subject,
        key: message.key,
        headers: message.headers.into_iter().map(|(name, value)| wire::Header { name, value }).collect(),
        parts: message.parts,
        timestamp_ms: message.timestamp_ms,
    }
}

pub(super) fn position(position: Position) -> wire::Position {
    wire::Position {
        partition: position.partition,
        offset: position.offset,
        publisher: position.publisher.as_ref().to_owned(),
        epoch: position.epoch,
    }
}

fn delivery(delivery: Delivery) -> response::Delivery {
    response::Delivery {
        id: delivery.id,
        position: Some(position(delivery.position)),
        message: Some(to_wire(delivery.message)),
        attempt: delivery.attempt,
    }
}

/// Deliveries in one response, in messages and in bytes: a gRPC client takes 4 MiB if nobody tells it otherwise.
const BATCH_MESSAGES_MAX: usize = 1000;
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Items as responses: neighbouring deliveries share one, the order stays. After an end comes the error.
pub(super) fn responses(items: Vec<Item>) -> Vec<Result<wire::SubscribeResponse, Status>> {
    let mut batch = Batch::default();
    for item in items {
        match item {
            Item::Delivery(item) => batch.push(item),
            Item::Gap(gap) => batch.other(response::Kind::Gap(response::Gap {
                publisher: gap.publisher.as_ref().to_owned(),
                epoch: gap.epoch,
                first: gap.first,
                last: gap.last,
                messages: gap.messages,
                reason: gap.reason.to_owned(),
            })),
            Item::End(problem) => {
                let reason = problem.message.clone();
                batch.other(response::Kind::End(response::End { reason }));
                batch.responses.push(Err(status(problem)));
            }
        }
    }
    batch.flush();
    batch.responses
}

#[derive(Default)]
struct Batch {
    responses: Vec<Result<wire::SubscribeResponse, Status>>,
    deliveries: Vec<response::Delivery>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, item: Delivery) {
        let size = item.message.size_bytes();
        if self.bytes.saturating_add(size) > BATCH_BYTES_MAX || self.deliveries.len() >= BATCH_MESSAGES_MAX {
            self.flush();
        }
        self.bytes = self.bytes.saturating_add(size);
        self.deliveries.push(delivery(item));
    }

    fn other(&mut self, kind: response::Kind) {
        self.flush();
        self.responses.push(Ok(wire::SubscribeResponse { kind: Some(kind) }));
    }

    fn flush(&mut self) {
        self.bytes = 0;
        let deliveries = std::mem::take(&mut self.deliveries);
        if !deliveries.is_empty() {
            let kind = response::Kind::Deliveries(response::Deliveries { deliveries });
            self.responses.push(Ok(wire::SubscribeResponse { kind: Some(kind) }));
        }
    }
}

/// The end that this door itself decides on; no error follows.
pub(super) fn end(reason: &str) -> wire::SubscribeResponse {
    let end = response::End { reason: reason.to_owned() };
    wire::SubscribeResponse { kind: Some(response::Kind::End(end)) }
}

pub(super) fn opened() -> wire::SubscribeResponse {
    wire::SubscribeResponse { kind: Some(response::Kind::Opened(response::Opened {})) }
}

pub(super) fn code(kind: ProblemKind) -> Code {
    match kind {
        ProblemKind::NotFound => Code::NotFound,
        ProblemKind::PermissionDenied => Code::PermissionDenied,
        ProblemKind::NotSupported => Code::Unimplemented,
        ProblemKind::InvalidArgument => Code::InvalidArgument,
        ProblemKind::Unavailable => Code::Unavailable,
        ProblemKind::DeadlineExceeded => Code::DeadlineExceeded,
        ProblemKind::ResourceExhausted => Code::ResourceExhausted,
        ProblemKind::Internal => Code::Internal,
    }
}

/// What an app answers a request with instead of a message.
pub(super) fn problem(wire: wire::Problem) -> Problem {
    let kind = match Code::from_i32(wire.code) {
        Code::NotFound => ProblemKind::NotFound,
        Code::PermissionDenied => ProblemKind::PermissionDenied,
        Code::Unimplemented => ProblemKind::NotSupported,
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => ProblemKind::InvalidArgument,
        Code::Unavailable => ProblemKind::Unavailable,
        Code::DeadlineExceeded => ProblemKind::DeadlineExceeded,
        Code::ResourceExhausted => ProblemKind::ResourceExhausted,
        _ => ProblemKind::Internal,
    };
    Problem::new(kind, wire.message)
}

pub(super) fn status(problem: Problem) -> Status {
    Status::new(code(problem.kind), problem.message)
}

/// The word of a code, as gRPC's own documents spell it; a value of the metric label `reason`.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::NotFound => "NOT_FOUND",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::Unavailable => "UNAVAILABLE",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        _ => "INTERNAL",
    }
}
