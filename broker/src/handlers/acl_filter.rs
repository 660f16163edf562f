//! Which ACLs a request means; shared by describing and deleting.

use crate::access::{Access, Acl, Operation, Pattern, Permission, ResourceKind};

const ANY: i8 = 1;
/// Delegation tokens and users: kinds that Kafka has and that have no rules here, so nothing matches.
const KINDS_WITHOUT_RULES: std::ops::RangeInclusive<i8> = 6..=7;
/// Operations on those.
const OPERATIONS_WITHOUT_RULES: std::ops::RangeInclusive<i8> = 13..=15;
/// Everything that would apply to a resource of this name.
const PATTERN_MATCH: i8 = 2;

/// A filter as it comes over the wire.
pub(crate) struct Filter {
    pub(crate) kind: i8,
    pub(crate) name: Option<String>,
    pub(crate) pattern: i8,
    pub(crate) principal: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) operation: i8,
    pub(crate) permission: i8,
}

impl Filter {
    /// Whether every code in it is one that there is.
    pub(crate) fn is_valid(&self) -> bool {
        (self.kind == ANY
            || KINDS_WITHOUT_RULES.contains(&self.kind)
            || ResourceKind::from_code(self.kind).is_some())
            && (matches!(self.pattern, ANY | PATTERN_MATCH) || Pattern::from_code(self.pattern).is_some())
            && (self.operation == ANY
                || OPERATIONS_WITHOUT_RULES.contains(&self.operation)
                || Operation::from_code(self.operation).is_some())
            && (self.permission == ANY || Permission::from_code(self.permission).is_some())
    }

    /// All that match, in order.
    pub(crate) fn pick(&self, access: &Access) -> Vec<Acl> {
        let kind = ResourceKind::from_code(self.kind);
        let exactly = kind.zip(self.name.as_deref()).filter(|_| self.pattern != PATTERN_MATCH);
        access.list(exactly, |acl| self.matches(acl))
    }

    fn matches(&self, acl: &Acl) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        (self.kind == ANY || self.kind == acl.kind.code())
            && self.matches_name(acl)
            && same(&self.principal, &acl.principal)
            && same(&self.host, &acl.host)
            && (self.operation == ANY || self.operation == acl.operation.code())
            && (self.permission == ANY || self.permission == acl.permission.code())
    }

    fn matches_name(&self, acl: &Acl) -> bool {
        let Some(name) = &self.name else {
            return matches!(self.pattern, ANY | PATTERN_MATCH) || self.pattern == acl.pattern.code();
        };
        match self.pattern {
            PATTERN_MATCH => match acl.pattern {
                Pattern::Literal => acl.name == *name || acl.name == "*",
                Pattern::Prefixed => name.starts_with(&acl.name),
            },
            pattern => (pattern == ANY || pattern == acl.pattern.code()) && acl.name == *name,
        }
    }
}
