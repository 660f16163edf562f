//! The decision: deny unless allowed, deny wins, prefixes, hosts, namespaces, what implies what.

use proptest::prelude::*;
use runtime::tls::Identity;

use super::{Acl, Operation, Pattern, Permission, Principal, Question, ResourceKind, Rules, Verdict};

fn acl(name: &str, pattern: Pattern, principal: &str, operation: Operation) -> Acl {
    Acl {
        kind: ResourceKind::Topic,
        name: name.to_owned(),
        pattern,
        principal: principal.to_owned(),
        host: "*".to_owned(),
        operation,
        permission: Permission::Allow,
    }
}

fn rules(acls: &[Acl]) -> Rules {
    let mut rules = Rules::default();
    acls.iter().for_each(|acl| rules.insert(acl));
    rules
}

fn account(name: &str) -> Principal {
    Principal::account(&name.parse::<Identity>().unwrap())
}

fn question(principal: &Principal, operation: Operation) -> Question<'_> {
    Question { principal, host: "10.0.0.1", operation, kind: ResourceKind::Topic }
}

fn allows(acls: &[Acl], name: &str, operation: Operation, topic: &str) -> bool {
    let principal = account(name);
    rules(acls).judge(&question(&principal, operation), topic) == Verdict::Allowed
}

/// Goal: without a rule nothing is allowed; a rule allows its operation and what it implies, to its principal.
#[test]
fn a_rule_allows_no_more_than_it_says() {
    let acls = [acl("orders", Pattern::Literal, "User:shop/checkout", Operation::Write)];
    assert!(allows(&acls, "shop/checkout", Operation::Write, "orders"));
    assert!(allows(&acls, "shop/checkout", Operation::Describe, "orders"));
    assert!(!allows(&acls, "shop/checkout", Operation::Read, "orders"));
    assert!(!allows(&acls, "shop/checkout", Operation::Write, "orders2"));
    assert!(!allows(&acls, "shop/billing", Operation::Write, "orders"));
    assert!(!allows(&acls, "other/checkout", Operation::Write, "orders"));
    assert!(!allows(&[], "shop/checkout", Operation::Describe, "orders"));
}

/// Goal: prefixes and the two stars reach as far as they say.
#[test]
fn patterns_reach() {
    let acls = [
        acl("shop.", Pattern::Prefixed, "User:shop/*", Operation::All),
        acl("*", Pattern::Literal, "User:*", Operation::Describe),
    ];
    assert!(allows(&acls, "shop/anyone", Operation::Delete, "shop.orders"));
    assert!(!allows(&acls, "shopping/anyone", Operation::Read, "shop.orders"));
    assert!(allows(&acls, "other/one", Operation::Describe, "anything"));
    assert!(!allows(&acls, "other/one", Operation::Read, "anything"));
}

/// Goal: a rule that denies wins over any that allows, and denies no more than it names: reading denied leaves
/// describing allowed.
#[test]
fn deny_wins() {
    let mut deny = acl("orders", Pattern::Literal, "User:shop/checkout", Operation::Write);
    deny.permission = Permission::Deny;
    let acls = [acl("*", Pattern::Literal, "User:shop/*", Operation::All), deny];
    assert!(!allows(&acls, "shop/checkout", Operation::Write, "orders"));
    assert!(allows(&acls, "shop/checkout", Operation::Read, "orders"));
    assert!(allows(&acls, "shop/checkout", Operation::Describe, "orders"));
    assert!(allows(&acls, "shop/billing", Operation::Write, "orders"));
}

/// Goal: a rule for an address means that address alone.
#[test]
fn hosts_are_compared() {
    let mut here = acl("orders", Pattern::Literal, "User:shop/checkout", Operation::Read);
    here.host = "10.0.0.1".to_owned();
    let mut elsewhere = here.clone();
    elsewhere.host = "10.0.0.2".to_owned();
    assert!(allows(&[here], "shop/checkout", Operation::Read, "orders"));
    assert!(!allows(&[elsewhere], "shop/checkout", Operation::Read, "orders"));
}

/// Goal: the star of a namespace means certificates only; a user who chose a name with a slash gets nothing by it.
#[test]
fn a_namespace_is_certificates_only() {
    let rules = rules(&[acl("orders", Pattern::Literal, "User:shop/*", Operation::Read)]);
    let user = Principal::user("shop/checkout", true);
    assert_eq!(rules.judge(&question(&user, Operation::Read), "orders"), Verdict::NotAllowed);
    let account = account("shop/checkout");
    assert_eq!(rules.judge(&question(&account, Operation::Read), "orders"), Verdict::Allowed);
}

/// Goal: no rule about a resource is told apart from rules that do not allow.
#[test]
fn no_rule_is_told_apart() {
    let principal = account("shop/checkout");
    let rules = rules(&[acl("orders", Pattern::Literal, "User:other/one", Operation::Read)]);
    let judge = |topic: &str| rules.judge(&question(&principal, Operation::Read), topic);
    assert_eq!((judge("orders"), judge("bills")), (Verdict::NotAllowed, Verdict::NoRule));
}

/// Goal: somewhere is where a rule allows and none that reaches as far denies.
#[test]
fn somewhere() {
    let principal = account("shop/checkout");
    let allows = |acls: &[Acl]| rules(acls).allow_somewhere(&question(&principal, Operation::Write));
    let allow = acl("shop.orders", Pattern::Literal, "User:shop/*", Operation::Write);
    let deny = |name: &str, pattern| Acl {
        permission: Permission::Deny,
        ..acl(name, pattern, "User:*", Operation::All)
    };
    assert!(allows(std::slice::from_ref(&allow)));
    assert!(!allows(&[]));
    assert!(!allows(&[allow.clone(), deny("*", Pattern::Literal)]));
    assert!(!allows(&[allow.clone(), deny("shop.", Pattern::Prefixed)]));
    assert!(!allows(&[allow.clone(), deny("shop.orders", Pattern::Literal)]));
    assert!(allows(&[allow.clone(), deny("shop.orders.", Pattern::Prefixed)]));
    assert!(allows(&[
        acl("shop.", Pattern::Prefixed, "User:*", Operation::All),
        deny("shop.orders", Pattern::Literal)
    ]));
}

fn any_acl() -> impl Strategy<Value = Acl> {
    let name = prop_oneof![Just("*".to_owned()), "[abé]{1,4}"];
    let principal = prop_oneof![Just("User:*"), Just("User:shop/*"), Just("User:shop/a"), Just("User:b/b")];
    let pattern = prop_oneof![Just(Pattern::Literal), Just(Pattern::Prefixed)];
    let operation = prop_oneof![Just(Operation::All), Just(Operation::Read), Just(Operation::Describe)];
    let permission = prop_oneof![4 => Just(Permission::Allow), 1 => Just(Permission::Deny)];
    (name, principal, pattern, operation, permission).prop_map(
        |(name, principal, pattern, operation, permission)| Acl {
            permission,
            ..acl(&name, pattern, principal, operation)
        },
    )
}

/// Kafka's rule written down without any index.
fn plainly(acls: &[Acl], operation: Operation, name: &str) -> Verdict {
    let about = |acl: &&Acl| match acl.pattern {
        Pattern::Literal => acl.name == "*" || acl.name == name,
        Pattern::Prefixed => name.starts_with(&acl.name),
    };
    let ours = |acl: &&Acl| ["User:*", "User:shop/*", "User:shop/a"].contains(&acl.principal.as_str());
    let about: Vec<&Acl> = acls.iter().filter(about).collect();
    let mut mine = about.iter().copied().filter(ours);
    if mine.clone().any(|acl| acl.permission == Permission::Deny && acl.operation.covers(operation)) {
        return Verdict::Denied;
    }
    if mine.any(|acl| acl.permission == Permission::Allow && acl.operation.implies(operation)) {
        return Verdict::Allowed;
    }
    if about.is_empty() { Verdict::NoRule } else { Verdict::NotAllowed }
}

proptest! {
    /// Goal: the index finds exactly the rules that a look at all of them finds, before and after removals.
    #[test]
    fn the_index_is_the_plain_rule(acls in proptest::collection::vec(any_acl(), 0..12), name in "[abé]{1,5}", gone in 0usize..12) {
        let principal = account("shop/a");
        let mut left = acls.clone();
        let mut rules = rules(&acls);
        for _ in 0..2 {
            for operation in [Operation::Read, Operation::Describe, Operation::Write] {
                prop_assert_eq!(rules.judge(&question(&principal, operation), &name), plainly(&left, operation, &name));
            }
            let mut distinct = left.clone();
            distinct.sort();
            distinct.dedup();
            prop_assert_eq!(rules.len(), distinct.len());
            let mut listed = rules.list(None);
            listed.sort();
            prop_assert_eq!(listed, distinct);
            if let Some(acl) = left.get(gone).cloned() {
                rules.remove(&acl);
                left.retain(|it| *it != acl);
            }
        }
    }
}
