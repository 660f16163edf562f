//! `topics/orders`, `channels/prices`, `topics/orders.shop`: what a person names.

use std::fmt;

/// Topic or Channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Topic,
    Channel,
}

/// What is published to or subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    /// `NAME` or `NAME.NAMESPACE`.
    pub(crate) name: String,
}

/// It names nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names neither a Topic nor a Channel: write topics/NAME, channels/NAME, or topics/NAME.NAMESPACE for another namespace's"
)]
pub(crate) struct NotATarget(String);

impl Target {
    pub(crate) fn parse(text: &str) -> Result<Self, NotATarget> {
        let not = || NotATarget(text.to_owned());
        let (kind, name) = text.split_once('/').ok_or_else(not)?;
        let kind = match kind {
            "topics" => Kind::Topic,
            "channels" => Kind::Channel,
            _ => return Err(not()),
        };
        let label = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let parts: Vec<&str> = name.split('.').collect();
        let whole = parts.len() <= 2 && parts.iter().all(|part| label(part));
        whole.then(|| Self { kind, name: name.to_owned() }).ok_or_else(not)
    }

    /// The default name on the broker: `NAME`, or `NAMESPACE.NAME` of another namespace.
    pub(crate) fn log_name(&self) -> String {
        match self.name.split_once('.') {
            Some((name, namespace)) => format!("{namespace}.{name}"),
            None => self.name.clone(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind == Kind::Topic { "topics" } else { "channels" };
        write!(formatter, "{kind}/{}", self.name)
    }
}
