//! The decision: deny unless allowed, deny wins, prefixes, namespaces, what implies what.

use runtime::tls::Identity;

use super::{Acl, Operation, Pattern, Permission, ResourceKind, decide};

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

fn allows(acls: &[Acl], account: &str, operation: Operation, topic: &str) -> bool {
    decide(acls, &account.parse::<Identity>().unwrap(), operation, (ResourceKind::Topic, topic))
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

/// Goal: a rule that denies wins over any that allows.
#[test]
fn deny_wins() {
    let mut deny = acl("orders", Pattern::Literal, "User:shop/checkout", Operation::Write);
    deny.permission = Permission::Deny;
    let acls = [acl("*", Pattern::Literal, "User:shop/*", Operation::All), deny];
    assert!(!allows(&acls, "shop/checkout", Operation::Write, "orders"));
    assert!(allows(&acls, "shop/checkout", Operation::Read, "orders"));
    assert!(allows(&acls, "shop/billing", Operation::Write, "orders"));
}
