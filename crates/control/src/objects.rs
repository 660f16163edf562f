//! The objects as the index takes them: already read, defaults filled in, with the reason why one
//! cannot be used. `objects/translate.rs` makes them from the kinds of `api`.

mod translate;

use crate::names::ObjectName;
use crate::view::Delivery;
use api::access::Grant;
use std::collections::BTreeSet;

/// Who may publish and subscribe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Who may publish.
    pub publish: Vec<Grant>,
    /// Who may subscribe.
    pub subscribe: Vec<Grant>,
}

impl Grants {
    /// Namespaces in which somebody is granted something.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.publish.iter().chain(&self.subscribe).map(|grant| grant.namespace.as_str())
    }
}

/// A Channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The object.
    pub name: ObjectName,
    /// How it delivers.
    pub delivery: Delivery,
    /// Who may use it.
    pub grants: Grants,
    /// The grants are only tried: others are let through, counted and logged.
    pub audit: bool,
    /// Why it cannot be used, naming the field; empty = it can.
    pub problem: String,
}

/// A Topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The object.
    pub name: ObjectName,
    /// When it was made, in seconds since the Unix epoch: of two that claim one name on the
    /// broker, the older wins.
    pub created_seconds: i64,
    /// The name on the broker.
    pub topic_name: String,
    /// Where it lives.
    pub broker: ObjectName,
    /// How many partitions it asks for.
    pub partitions: u32,
    /// The largest message.
    pub max_message_bytes: u32,
    /// Who may use it.
    pub grants: Grants,
    /// Why it cannot be used, naming the field; empty = it can.
    pub problem: String,
}

/// A Broker, as far as a sidecar needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// The object.
    pub name: ObjectName,
    /// HOST:PORT of its mTLS listeners.
    pub bootstrap: Vec<String>,
    /// DNS names of which its certificate must carry one.
    pub server_names: Vec<String>,
    /// Why it cannot be used; empty = it can.
    pub problem: String,
}

/// Namespaces whose sidecars see the object: its own, and those that are granted something.
pub(crate) fn audience(name: &ObjectName, grants: &Grants) -> BTreeSet<String> {
    grants.namespaces().map(str::to_owned).chain([name.namespace.clone()]).collect()
}
