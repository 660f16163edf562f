//! The doors of a sidecar as clients see them, one file a door. All give the same two things: a
//! publisher, and a subscription that puts what comes into a bounded queue.

mod grpc;
mod http;
mod kafka;
mod zmtp;

use super::Failure;
use super::target::{Kind, Target};
use crate::args::{DoorArgs, Via};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

/// A message to publish.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) subject: String,
    pub(crate) key: Option<String>,
    pub(crate) payload: String,
}

/// What a subscription is about.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) target: Target,
    pub(crate) group: String,
    pub(crate) from_start: bool,
    pub(crate) prefixes: Vec<String>,
}

/// What came.
#[derive(Clone, Debug)]
pub(crate) enum Incoming {
    Message {
        via: Via,
        message: Received,
    },
    /// Messages that this subscriber knows it missed.
    Gap {
        via: Via,
        messages: u64,
        reason: String,
    },
    /// The subscription stands.
    Open {
        via: Via,
    },
}

/// A message that came.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Received {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    pub(crate) payload: String,
    /// `PARTITION:OFFSET`, or the publisher's name and number; empty where the door tells none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) position: String,
}

/// A door to publish through.
pub(crate) enum Publisher {
    Grpc(grpc::Publisher),
    Http(http::Publisher),
    Kafka(kafka::Publisher),
    Zmtp(Box<zmtp::Publisher>),
}

fn wrong_door(via: Via, target: &Target) -> Option<Failure> {
    let text = match (via, target.kind) {
        (Via::Kafka, Kind::Channel) => "a Kafka client reaches Topics alone: use --via grpc, http or zmtp",
        (Via::Zmtp, Kind::Topic) => "a ZeroMQ socket reaches Channels alone: use --via grpc, http or kafka",
        _ => return None,
    };
    Some(Failure::Refused(format!("{target}: {text}")))
}

impl Publisher {
    /// Opens the door.
    pub(crate) async fn open(via: Via, target: &Target, doors: &DoorArgs) -> Result<Self, Failure> {
        if let Some(failure) = wrong_door(via, target) {
            return Err(failure);
        }
        Ok(match via {
            Via::Grpc => Self::Grpc(grpc::Publisher::open(target, &doors.address).await?),
            Via::Http => Self::Http(http::Publisher::open(target, &doors.address).await?),
            Via::Kafka => Self::Kafka(kafka::Publisher::open(target, &doors.bootstrap)?),
            Via::Zmtp => Self::Zmtp(Box::new(zmtp::Publisher::open(target, &doors.zmq_dir).await?)),
        })
    }

    /// Publishes one message; returns where it stands, as far as the door tells.
    pub(crate) async fn publish(&mut self, message: Outgoing) -> Result<String, Failure> {
        match self {
            Self::Grpc(door) => door.publish(message).await,
            Self::Http(door) => door.publish(message).await,
            Self::Kafka(door) => door.publish(message).await,
            Self::Zmtp(door) => door.publish(message).await,
        }
    }
}

/// Runs one subscription until it ends; what comes goes into `queue`.
pub(crate) async fn subscribe(
    via: Via,
    wanted: &Wanted,
    doors: &DoorArgs,
    queue: &mpsc::Sender<Incoming>,
) -> Result<(), Failure> {
    if let Some(failure) = wrong_door(via, &wanted.target) {
        return Err(failure);
    }
    match via {
        Via::Grpc => grpc::subscribe(wanted, &doors.address, queue).await,
        Via::Http => http::subscribe(wanted, &doors.address, queue).await,
        Via::Kafka => kafka::subscribe(wanted, &doors.bootstrap, queue).await,
        Via::Zmtp => zmtp::subscribe(wanted, &doors.zmq_dir, queue).await,
    }
}

/// Bytes as text for a person.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn join(parts: &[Bytes]) -> String {
    parts.iter().map(|part| text(part)).collect::<Vec<_>>().join(" ")
}

/// Nobody listens where the sidecar should be.
fn nobody(what: &str, place: &str, error: impl std::fmt::Display) -> Failure {
    Failure::Unavailable(format!(
        "no sidecar answers at {place} ({what}: {error}): run this in a pod labelled pinnace.dev/inject, under `pinnace up`, or with `pinnace run --as NAMESPACE/SERVICEACCOUNT -- pinnace …`"
    ))
}
