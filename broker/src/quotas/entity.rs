//! Whom a quota is for, and what it limits: parsed once, so that neither can be wrong afterwards.

use std::net::IpAddr;

use kafka_wire::ErrorCode;
use serde::{Deserialize, Serialize};

use crate::partition::Refusal;

const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
pub(crate) const IP: &str = "ip";
/// All types of entities, as requests name them.
pub(crate) const TYPES: [&str; 3] = [USER, CLIENT_ID, IP];
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 1_000;
/// How far a whole number may be off, as Kafka has it.
const WHOLE_TOLERANCE: f64 = 1e-6;

/// One of a type, or all that have no quota of their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Name {
    Default,
    Exactly(String),
}

impl Name {
    /// The name on the wire; null is the default.
    fn wire(&self) -> Option<&str> {
        match self {
            Self::Default => None,
            Self::Exactly(name) => Some(name),
        }
    }
}

/// Whom a quota is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Entity {
    User(Name),
    ClientId(Name),
    UserAndClientId(Name, Name),
    Ip(Name),
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Bytes of produce requests a second.
    Produce,
    /// Bytes of records fetched a second.
    Fetch,
    /// Hundredths of one thread's time.
    Request,
    /// Partitions made and deleted a second.
    Mutation,
    /// New connections a second.
    Connection,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Produce, Self::Fetch, Self::Request, Self::Mutation, Self::Connection];

    /// Its name in requests.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Produce => "producer_byte_rate",
            Self::Fetch => "consumer_byte_rate",
            Self::Request => "request_percentage",
            Self::Mutation => "controller_mutation_rate",
            Self::Connection => "connection_creation_rate",
        }
    }

    /// What it is in metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Fetch => "fetch",
            Self::Request => "request",
            Self::Mutation => "mutation",
            Self::Connection => "connection",
        }
    }

    pub(crate) fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.key() == key)
    }

    /// The largest value where it has to be a whole number.
    fn whole_max(self) -> Option<f64> {
        match self {
            // What a float holds of the largest 64-bit number.
            Self::Produce | Self::Fetch => Some(9_223_372_036_854_775_807.0),
            Self::Connection => Some(f64::from(i32::MAX)),
            Self::Request | Self::Mutation => None,
        }
    }
}

impl Entity {
    /// Reads the parts of a name.
    pub(crate) fn parse<'a>(
        parts: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Self, Refusal> {
        let (mut user, mut client_id, mut ip) = (None, None, None);
        for (kind, name) in parts {
            let slot = match kind {
                USER => &mut user,
                CLIENT_ID => &mut client_id,
                IP => &mut ip,
                other => return Err(invalid(format!("there are no quotas of a type {other:?}"))),
            };
            if slot.is_some() {
                return Err(invalid(format!("the entity has two parts of the type {kind}")));
            }
            *slot = Some(parse_name(kind, name)?);
        }
        match (user, client_id, ip) {
            (Some(user), Some(client_id), None) => Ok(Self::UserAndClientId(user, client_id)),
            (Some(user), None, None) => Ok(Self::User(user)),
            (None, Some(client_id), None) => Ok(Self::ClientId(client_id)),
            (None, None, Some(ip)) => Ok(Self::Ip(ip)),
            (None, None, None) => Err(invalid("the entity is empty: name a user, a client-id or an ip")),
            (_, _, Some(_)) => Err(invalid("an ip goes with neither a user nor a client-id")),
        }
    }

    /// Its parts as answers have them.
    pub(crate) fn parts(&self) -> Vec<(&'static str, Option<&str>)> {
        match self {
            Self::User(name) => vec![(USER, name.wire())],
            Self::ClientId(name) => vec![(CLIENT_ID, name.wire())],
            Self::UserAndClientId(user, client_id) => {
                vec![(USER, user.wire()), (CLIENT_ID, client_id.wire())]
            }
            Self::Ip(name) => vec![(IP, name.wire())],
        }
    }

    /// The kind of a key, when this entity may have it.
    pub(crate) fn kind(&self, key: &str) -> Result<Kind, Refusal> {
        let is_ip = matches!(self, Self::Ip(_));
        let kind = Kind::from_key(key).filter(|kind| (*kind == Kind::Connection) == is_ip);
        kind.ok_or_else(|| invalid(format!("{key} is no quota of such an entity")))
    }
}

fn parse_name(kind: &str, name: Option<&str>) -> Result<Name, Refusal> {
    let Some(name) = name else { return Ok(Name::Default) };
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(invalid(format!(
            "the name of the {kind} has {} bytes: it must have 1 to 1000",
            name.len()
        )));
    }
    if kind != IP {
        return Ok(Name::Exactly(name.to_owned()));
    }
    let address = address(name).ok_or_else(|| invalid(format!("{name} is not an ip address")))?;
    Ok(Name::Exactly(address))
}

/// An address in the one way in which it is written here.
pub(crate) fn address(text: &str) -> Option<String> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical().to_string())
}

/// Whether a quota can be so large.
pub(crate) fn check(kind: Kind, value: f64) -> Result<(), Refusal> {
    let key = kind.key();
    if !value.is_finite() || value <= 0.0 {
        return Err(invalid(format!("{key}={value}: it must be more than 0")));
    }
    match kind.whole_max() {
        Some(max) if value > max => Err(invalid(format!("{key}={value}: it must be {max} at most"))),
        Some(_) if (value - value.round()).abs() > WHOLE_TOLERANCE => {
            Err(invalid(format!("{key}={value}: it must be a whole number")))
        }
        _ => Ok(()),
    }
}

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, text)
}
