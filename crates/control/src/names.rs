//! How objects and callers are named. No rules of Kubernetes here: names were checked when they were read.

use std::fmt;

/// An object of a known kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectName {
    /// The object `name` of `namespace`.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// A service account: who a sidecar is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub service_account: String,
}

impl Identity {
    /// The service account `service_account` of `namespace`.
    #[must_use]
    pub fn new(namespace: impl Into<String>, service_account: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), service_account: service_account.into() }
    }

    /// Reads `NAMESPACE/SERVICEACCOUNT`; `None` when it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, service_account) = text.split_once('/')?;
        let whole = !namespace.is_empty() && !service_account.is_empty() && !service_account.contains('/');
        whole.then(|| Self::new(namespace, service_account))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.service_account)
    }
}
