//! Who may do what: ACLs as Kafka has them, kept durably, and the decision. Deny unless allowed.
//!
//! One extension: the principal `User:NAMESPACE/*` stands for all service accounts of a namespace.

use std::sync::{Arc, PoisonError, RwLock};

use runtime::tls::Identity;
use serde::{Deserialize, Serialize};

use crate::{
    metrics::Metrics,
    store::{Change, Store, StoreError, json_change},
};

const PREFIX: &str = "acl/";

/// Declares an enumeration of the protocol with its codes.
macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $code:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub(crate) enum $name { $($variant = $code),* }

        impl $name {
            pub(crate) fn from_code(code: i8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }

            pub(crate) fn code(self) -> i8 {
                self as i8
            }
        }
    };
}

coded!(
    /// What an ACL is about.
    ResourceKind { Topic = 2, Group = 3, Cluster = 4, TransactionalId = 5 }
);
coded!(
    /// How the name of an ACL's resource is meant.
    Pattern { Literal = 3, Prefixed = 4 }
);
coded!(
    /// What is done with a resource.
    Operation {
        All = 2, Read = 3, Write = 4, Create = 5, Delete = 6, Alter = 7, Describe = 8, ClusterAction = 9,
        DescribeConfigs = 10, AlterConfigs = 11, IdempotentWrite = 12,
    }
);
coded!(
    /// Whether an ACL allows or denies; deny wins.
    Permission { Deny = 2, Allow = 3 }
);

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Acl {
    pub(crate) kind: ResourceKind,
    pub(crate) name: String,
    pub(crate) pattern: Pattern,
    pub(crate) principal: String,
    pub(crate) host: String,
    pub(crate) operation: Operation,
    pub(crate) permission: Permission,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    /// The listener without TLS, on loopback: no authorizer.
    Trusted,
    /// The service account of the client's certificate.
    Account(Identity),
    /// A certificate that names no service account: may do nothing.
    Nobody,
}

impl Principal {
    fn text(&self) -> String {
        match self {
            Self::Trusted | Self::Nobody => "User:ANONYMOUS".to_owned(),
            Self::Account(identity) => format!("User:{identity}"),
        }
    }
}

/// All rules.
pub(crate) struct Access {
    acls: RwLock<Vec<Acl>>,
    super_users: Vec<Identity>,
    store: Arc<Store>,
    metrics: Metrics,
}

impl Access {
    pub(crate) fn open(
        store: &Arc<Store>,
        super_users: Vec<Identity>,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        let acls = store.load::<Acl>(PREFIX)?.into_iter().map(|(_, acl)| acl).collect();
        Ok(Self { acls: RwLock::new(acls), super_users, store: Arc::clone(store), metrics })
    }

    /// Whether somebody may do something with a resource.
    pub(crate) fn allows(
        &self,
        principal: &Principal,
        operation: Operation,
        kind: ResourceKind,
        name: &str,
    ) -> bool {
        let identity = match principal {
            Principal::Trusted => return true,
            Principal::Nobody => None,
            Principal::Account(identity) => Some(identity),
        };
        let Some(identity) = identity else {
            self.metrics.denied.inc();
            return false;
        };
        if self.super_users.contains(identity) {
            return true;
        }
        let acls = self.acls.read().unwrap_or_else(PoisonError::into_inner);
        let allowed = decide(&acls, identity, operation, (kind, name));
        if !allowed {
            self.metrics.denied.inc();
            let principal = principal.text();
            tracing::debug!(principal, ?operation, ?kind, name, "denied");
        }
        allowed
    }

    /// The rules that `matches` picks.
    pub(crate) fn list(&self, matches: impl Fn(&Acl) -> bool) -> Vec<Acl> {
        let acls = self.acls.read().unwrap_or_else(PoisonError::into_inner);
        acls.iter().filter(|acl| matches(acl)).cloned().collect()
    }

    /// Adds rules; those that are there already stay as they are.
    pub(crate) async fn add(&self, new: Vec<Acl>) -> Result<(), StoreError> {
        let mut changes = Vec::new();
        for acl in &new {
            changes.push(json_change(key(acl), acl)?);
        }
        self.change(changes, |acls| {
            for acl in new {
                if !acls.contains(&acl) {
                    acls.push(acl);
                }
            }
        })
        .await
    }

    /// Removes rules.
    pub(crate) async fn remove(&self, old: &[Acl]) -> Result<(), StoreError> {
        let changes = old.iter().map(|acl| (key(acl), None)).collect();
        self.change(changes, |acls| acls.retain(|acl| !old.contains(acl))).await
    }

    async fn change(
        &self,
        changes: Vec<Change>,
        change: impl FnOnce(&mut Vec<Acl>),
    ) -> Result<(), StoreError> {
        if !changes.is_empty() {
            self.store.write(changes)?.await?;
        }
        change(&mut self.acls.write().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}

fn key(acl: &Acl) -> String {
    let codes = [acl.kind.code(), acl.pattern.code(), acl.operation.code(), acl.permission.code()];
    let codes: Vec<_> = codes.iter().map(ToString::to_string).collect();
    format!("{PREFIX}{}\0{}\0{}\0{}", codes.join("."), acl.name, acl.principal, acl.host)
}

fn decide(acls: &[Acl], identity: &Identity, operation: Operation, resource: (ResourceKind, &str)) -> bool {
    let applies = |acl: &&Acl| {
        acl.kind == resource.0
            && names(acl, resource.1)
            && is_about(&acl.principal, identity)
            && acl.host == "*"
    };
    let denied = acls.iter().filter(applies).any(|acl| {
        acl.permission == Permission::Deny && (acl.operation == operation || acl.operation == Operation::All)
    });
    let allowed = || {
        let mut about = acls.iter().filter(applies).filter(|acl| acl.permission == Permission::Allow);
        about.any(|acl| implies(acl.operation, operation))
    };
    !denied && allowed()
}

fn names(acl: &Acl, name: &str) -> bool {
    match acl.pattern {
        Pattern::Literal => acl.name == "*" || acl.name == name,
        Pattern::Prefixed => name.starts_with(&acl.name),
    }
}

fn is_about(principal: &str, identity: &Identity) -> bool {
    match principal.strip_prefix("User:") {
        Some("*") => true,
        Some(account) => account.split_once('/').is_some_and(|(namespace, service_account)| {
            namespace == identity.namespace
                && (service_account == "*" || service_account == identity.service_account)
        }),
        None => false,
    }
}

/// Whether allowing one operation allows another.
fn implies(given: Operation, wanted: Operation) -> bool {
    use Operation::{All, Alter, AlterConfigs, Delete, Describe, DescribeConfigs, Read, Write};
    given == All
        || given == wanted
        || match wanted {
            Describe => matches!(given, Read | Write | Delete | Alter),
            DescribeConfigs => given == AlterConfigs,
            _ => false,
        }
}

#[cfg(test)]
mod tests;
