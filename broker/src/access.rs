//! Who may do what: ACLs as Kafka has them, kept durably, and the decision. Deny unless allowed.
//!
//! One extension: the principal `User:NAMESPACE/*` stands for all service accounts of a namespace. Nothing
//! here finds out who somebody is.

mod acl;
mod principal;
mod rules;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

pub(crate) use acl::{Acl, Operation, Pattern, Permission, ResourceKind};
pub(crate) use principal::Principal;
use rules::{Question, Rules, Verdict};
use tokio::sync::Mutex;

use crate::{
    metrics::Metrics,
    store::{Change, Store, StoreError, json_change},
};

const PREFIX: &str = "acl/";
/// What nothing can be called: rules about it are rules about everything.
const NEVER_A_NAME: &str = "\0";
/// Rules at most: each is kept in memory, and the table is written anew with all of them now and then.
pub(crate) const ACLS_MAX: usize = 200_000;

/// What holds beside the rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// `User:NAME` of those who may do everything.
    pub(crate) super_users: Vec<String>,
    /// A resource that no rule is about is everybody's.
    pub(crate) allow_if_no_rule: bool,
    /// The rules hold on some listener.
    pub(crate) active: bool,
}

/// Rules could not be added.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    #[error("there would be more than {ACLS_MAX} rules: remove some, or use prefixes")]
    TooMany,
    #[error("the rules could not be kept")]
    Store(#[from] StoreError),
}

/// All rules.
pub(crate) struct Access {
    rules: RwLock<Rules>,
    policy: Policy,
    store: Arc<Store>,
    metrics: Metrics,
    /// One change at a time: the order on disk is that in memory.
    changing: Mutex<()>,
}

impl Access {
    pub(crate) fn open(store: &Arc<Store>, policy: Policy, metrics: Metrics) -> Result<Self, StoreError> {
        let mut rules = Rules::default();
        for (_, acl) in store.load::<Acl>(PREFIX)? {
            rules.insert(&acl);
        }
        let (rules, store) = (RwLock::new(rules), Arc::clone(store));
        Ok(Self { rules, policy, store, metrics, changing: Mutex::new(()) })
    }

    /// Whether the rules hold anywhere.
    pub(crate) fn is_active(&self) -> bool {
        self.policy.active
    }

    /// Whether somebody may do something with a resource; counts when not.
    pub(crate) fn allows(
        &self,
        who: (&Principal, &str),
        what: (Operation, ResourceKind),
        name: &str,
    ) -> bool {
        let allowed = self.would_allow(who, what, name);
        if !allowed {
            self.deny(who, what, name);
        }
        allowed
    }

    /// The same without counting: for what is only left out of a list.
    pub(crate) fn would_allow(
        &self,
        (principal, host): (&Principal, &str),
        (operation, kind): (Operation, ResourceKind),
        name: &str,
    ) -> bool {
        if let Some(settled) = self.settled(principal) {
            return settled;
        }
        let question = Question { principal, host, operation, kind };
        match self.read().judge(&question, name) {
            Verdict::Allowed => true,
            Verdict::Denied | Verdict::NotAllowed => false,
            Verdict::NoRule => self.policy.allow_if_no_rule,
        }
    }

    /// Whether somebody may do something with at least one resource that there could be.
    pub(crate) fn allows_somewhere(&self, who: (&Principal, &str), what: (Operation, ResourceKind)) -> bool {
        let (principal, host) = who;
        let question = Question { principal, host, operation: what.0, kind: what.1 };
        let allowed = self.settled(principal).unwrap_or_else(|| {
            let rules = self.read();
            let free =
                || self.policy.allow_if_no_rule && rules.judge(&question, NEVER_A_NAME) == Verdict::NoRule;
            free() || rules.allow_somewhere(&question)
        });
        if !allowed {
            self.deny(who, what, "any");
        }
        allowed
    }

    fn settled(&self, principal: &Principal) -> Option<bool> {
        let is_super = || self.policy.super_users.iter().any(|user| user == principal.text());
        principal.settled().or_else(|| is_super().then_some(true))
    }

    fn deny(&self, who: (&Principal, &str), what: (Operation, ResourceKind), name: &str) {
        self.metrics.denied.inc();
        let (principal, host) = (who.0.text(), who.1);
        tracing::debug!(principal, host, operation = ?what.0, kind = ?what.1, name, "denied");
    }

    fn read(&self) -> RwLockReadGuard<'_, Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rules that `matches` picks, among those about one resource exactly or among all.
    pub(crate) fn list(
        &self,
        exactly: Option<(ResourceKind, &str)>,
        matches: impl Fn(&Acl) -> bool,
    ) -> Vec<Acl> {
        let mut found = self.read().list(exactly);
        found.retain(matches);
        found.sort_unstable();
        found
    }

    /// Adds rules; those that are there already stay as they are.
    pub(crate) async fn add(&self, mut new: Vec<Acl>) -> Result<(), AccessError> {
        let _changing = self.changing.lock().await;
        {
            let rules = self.read();
            new.retain(|acl| !rules.contains(acl));
            if rules.len() + new.len() > ACLS_MAX {
                return Err(AccessError::TooMany);
            }
        }
        let mut changes = Vec::new();
        for acl in &new {
            changes.push(json_change(key(acl), acl)?);
        }
        Ok(self.change(changes, |rules| new.iter().for_each(|acl| rules.insert(acl))).await?)
    }

    /// Only these rules, in memory alone.
    #[cfg(test)]
    pub(crate) fn replace(&self, acls: impl IntoIterator<Item = Acl>) {
        let mut rules = Rules::default();
        acls.into_iter().for_each(|acl| rules.insert(&acl));
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// Removes rules.
    pub(crate) async fn remove(&self, old: &[Acl]) -> Result<(), StoreError> {
        let _changing = self.changing.lock().await;
        let changes = old.iter().map(|acl| (key(acl), None)).collect();
        self.change(changes, |rules| old.iter().for_each(|acl| rules.remove(acl))).await
    }

    async fn change(&self, changes: Vec<Change>, change: impl FnOnce(&mut Rules)) -> Result<(), StoreError> {
        if !changes.is_empty() {
            self.store.write(changes)?.await?;
        }
        change(&mut self.rules.write().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}

fn key(acl: &Acl) -> String {
    let codes = [acl.kind.code(), acl.pattern.code(), acl.operation.code(), acl.permission.code()];
    let codes: Vec<_> = codes.iter().map(ToString::to_string).collect();
    format!("{PREFIX}{}\0{}\0{}\0{}", codes.join("."), acl.name, acl.principal, acl.host)
}

#[cfg(test)]
mod tests;
