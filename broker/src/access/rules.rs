//! All rules, found by resource and principal, and the decision among them. Pure; keeps nothing on disk.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use super::{Acl, Operation, Pattern, Permission, Principal, ResourceKind};

/// The name that stands for all resources of a kind.
const ANY_NAME: &str = "*";
const ANY_HOST: &str = "*";

/// What a rule says of its principal on its resource.
type Right = (Permission, Operation, String);
/// The rules of one resource or prefix, by principal.
type Bucket = HashMap<String, BTreeSet<Right>>;

/// The rules about one kind of resource.
#[derive(Clone, Debug, Default)]
struct Kind {
    literal: HashMap<String, Bucket>,
    /// Ordered, so that those that a name starts with are found by walking back from it.
    prefixed: BTreeMap<String, Bucket>,
}

/// All rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    kinds: BTreeMap<ResourceKind, Kind>,
    count: usize,
}

/// What the rules say of one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    Denied,
    /// There are rules about the resource, and none of them allows this.
    NotAllowed,
    /// There is no rule about the resource at all.
    NoRule,
}

/// Who asks, from where, and what for.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) host: &'a str,
    pub(crate) operation: Operation,
    pub(crate) kind: ResourceKind,
}

impl Rules {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn contains(&self, acl: &Acl) -> bool {
        let kind = self.kinds.get(&acl.kind);
        let bucket = kind.and_then(|kind| kind.bucket(acl.pattern, &acl.name));
        let rights = bucket.and_then(|bucket| bucket.get(&acl.principal));
        rights.is_some_and(|rights| rights.contains(&right(acl)))
    }

    /// Adds a rule; one that is there already stays as it is.
    pub(crate) fn insert(&mut self, acl: &Acl) {
        let kind = self.kinds.entry(acl.kind).or_default();
        let bucket = match acl.pattern {
            Pattern::Literal => kind.literal.entry(acl.name.clone()).or_default(),
            Pattern::Prefixed => kind.prefixed.entry(acl.name.clone()).or_default(),
        };
        if bucket.entry(acl.principal.clone()).or_default().insert(right(acl)) {
            self.count += 1;
        }
    }

    /// Removes a rule, if it is there.
    pub(crate) fn remove(&mut self, acl: &Acl) {
        let Some(kind) = self.kinds.get_mut(&acl.kind) else { return };
        let bucket = match acl.pattern {
            Pattern::Literal => kind.literal.get_mut(&acl.name),
            Pattern::Prefixed => kind.prefixed.get_mut(&acl.name),
        };
        let Some(bucket) = bucket else { return };
        let Some(rights) = bucket.get_mut(&acl.principal) else { return };
        if rights.remove(&right(acl)) {
            self.count -= 1;
        }
        if rights.is_empty() {
            bucket.remove(&acl.principal);
        }
        if bucket.is_empty() {
            match acl.pattern {
                Pattern::Literal => drop(kind.literal.remove(&acl.name)),
                Pattern::Prefixed => drop(kind.prefixed.remove(&acl.name)),
            }
        }
    }

    /// The rules about one resource exactly, or all rules.
    pub(crate) fn list(&self, exactly: Option<(ResourceKind, &str)>) -> Vec<Acl> {
        let mut found = Vec::new();
        let kinds = self.kinds.iter().filter(|(kind, _)| exactly.is_none_or(|(wanted, _)| wanted == **kind));
        for (kind, rules) in kinds {
            let mut take = |pattern, name: &String, bucket: &Bucket| {
                for (principal, rights) in bucket {
                    found.extend(rights.iter().map(|(permission, operation, host)| Acl {
                        kind: *kind,
                        name: name.clone(),
                        pattern,
                        principal: principal.clone(),
                        host: host.clone(),
                        operation: *operation,
                        permission: *permission,
                    }));
                }
            };
            match exactly {
                Some((_, name)) => {
                    rules
                        .literal
                        .get_key_value(name)
                        .into_iter()
                        .for_each(|(name, it)| take(Pattern::Literal, name, it));
                    rules
                        .prefixed
                        .get_key_value(name)
                        .into_iter()
                        .for_each(|(name, it)| take(Pattern::Prefixed, name, it));
                }
                None => {
                    rules.literal.iter().for_each(|(name, it)| take(Pattern::Literal, name, it));
                    rules.prefixed.iter().for_each(|(name, it)| take(Pattern::Prefixed, name, it));
                }
            }
        }
        found
    }

    /// What the rules say of a resource.
    pub(crate) fn judge(&self, question: &Question<'_>, name: &str) -> Verdict {
        let mut verdict = Verdict::NoRule;
        let Some(kind) = self.kinds.get(&question.kind) else { return verdict };
        for bucket in kind.about(name) {
            match said(bucket, question) {
                Some(Permission::Deny) => return Verdict::Denied,
                Some(Permission::Allow) => verdict = Verdict::Allowed,
                None if verdict == Verdict::NoRule => verdict = Verdict::NotAllowed,
                None => {}
            }
        }
        verdict
    }

    /// Whether the rules allow an operation on at least one name that there could be.
    pub(crate) fn allow_somewhere(&self, question: &Question<'_>) -> bool {
        let Some(kind) = self.kinds.get(&question.kind) else { return false };
        let says = |bucket: &Bucket, permission| {
            rights(bucket, question.principal).any(|right| applies(right, permission, question))
        };
        if kind.literal.get(ANY_NAME).is_some_and(|bucket| says(bucket, Permission::Deny)) {
            return false;
        }
        // A rule that allows counts unless one that denies reaches as far.
        let denied_from = |name: &str| kind.prefixes(name).any(|bucket| says(bucket, Permission::Deny));
        let literal = kind.literal.iter().any(|(name, bucket)| {
            says(bucket, Permission::Allow)
                && !says(bucket, Permission::Deny)
                && (name == ANY_NAME || !denied_from(name))
        });
        literal
            || kind
                .prefixed
                .iter()
                .any(|(name, bucket)| says(bucket, Permission::Allow) && !denied_from(name))
    }
}

impl Kind {
    fn bucket(&self, pattern: Pattern, name: &str) -> Option<&Bucket> {
        match pattern {
            Pattern::Literal => self.literal.get(name),
            Pattern::Prefixed => self.prefixed.get(name),
        }
    }

    /// The rules that mean a name.
    fn about<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bucket> {
        let literal = self.literal.get(name).into_iter();
        let any = self.literal.get(ANY_NAME).filter(|_| name != ANY_NAME);
        literal.chain(any).chain(self.prefixes(name))
    }

    /// The rules whose prefix a name starts with.
    fn prefixes<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bucket> {
        let mut last = Bound::Included(name);
        std::iter::from_fn(move || {
            loop {
                let (prefix, bucket) = self.prefixed.range::<str, _>((Bound::Unbounded, last)).next_back()?;
                if name.starts_with(prefix.as_str()) {
                    last = Bound::Excluded(prefix.as_str());
                    return Some(bucket);
                }
                // No prefix of the name lies between what the two have in common and this one.
                last = Bound::Included(common(name, prefix));
            }
        })
    }
}

/// The longest common beginning of two texts.
fn common<'a>(name: &'a str, other: &str) -> &'a str {
    let same = name.char_indices().zip(other.chars()).find(|((_, one), two)| one != two);
    let end = same.map_or_else(|| name.len().min(other.len()), |((at, _), _)| at);
    name.get(..end).unwrap_or_default()
}

/// What the rules of one resource say of a question: deny wins.
fn said(bucket: &Bucket, question: &Question<'_>) -> Option<Permission> {
    let mut said = None;
    for right in rights(bucket, question.principal) {
        if applies(right, Permission::Deny, question) {
            return Some(Permission::Deny);
        }
        if applies(right, Permission::Allow, question) {
            said = Some(Permission::Allow);
        }
    }
    said
}

fn rights<'a>(bucket: &'a Bucket, principal: &'a Principal) -> impl Iterator<Item = &'a Right> {
    principal.names().filter_map(|name| bucket.get(name)).flatten()
}

fn applies((given, operation, host): &Right, permission: Permission, question: &Question<'_>) -> bool {
    let reaches = match permission {
        Permission::Deny => operation.covers(question.operation),
        Permission::Allow => operation.implies(question.operation),
    };
    *given == permission && reaches && (host == ANY_HOST || host == question.host)
}

fn right(acl: &Acl) -> Right {
    (acl.permission, acl.operation, acl.host.clone())
}
