//! Specs from YAML in, changes out.

use super::*;

fn wanted_of(spec: &str) -> Wanted {
    wanted(&serde_yaml::from_str(spec).unwrap(), &ObjectName::new("shop", "orders"))
}

fn all_acls(wanted: &Wanted) -> BTreeSet<Acl> {
    wanted.acls.union(&wanted.shared_acls).cloned().collect()
}

fn as_wanted(wanted: &Wanted) -> Observed {
    Observed {
        id: "a".into(),
        partitions: wanted.partitions,
        replicas: 1,
        replicas_least: 1,
        under_replicated: 0,
        config: wanted.config.clone(),
    }
}

fn principals(acls: &BTreeSet<Acl>) -> Vec<String> {
    acls.iter().map(|acl| format!("{:?} {} {:?}", acl.resource, acl.principal, acl.operation)).collect()
}

/// Goal: a new topic is made first, then opened to those that the Topic names.
#[test]
fn a_new_topic_is_made_then_opened() {
    let wanted = wanted_of(
        "{partitions: 3, retention: {time: 1d}, access: {publish: [{serviceAccount: checkout}], subscribe: [{serviceAccount: billing, namespace: finance}]}}",
    );
    let plan = plan(&wanted, None, &BTreeSet::new());
    let [Change::Create { name, partitions: 3, replicas: None, config }, Change::Allow(allowed)] =
        plan.changes.as_slice()
    else {
        panic!("{plan:?}")
    };
    assert_eq!((name.as_str(), config["retention.ms"].as_str()), ("orders", "86400000"));
    assert_eq!(
        principals(allowed),
        [
            "Topic(\"orders\") User:finance/billing Read",
            "Topic(\"orders\") User:finance/billing Describe",
            "Topic(\"orders\") User:shop/checkout Write",
            "Topic(\"orders\") User:shop/checkout Describe",
            "Group(\"*\") User:finance/billing Read",
            "TransactionalId(\"*\") User:shop/checkout Write",
        ]
    );
}

/// Goal: where everything is as wanted there is nothing to do.
#[test]
fn steady_state_has_no_changes() {
    let wanted = wanted_of("{partitions: 3, config: {segment.ms: '3600000'}}");
    assert_eq!(plan(&wanted, Some(&as_wanted(&wanted)), &all_acls(&wanted)), Plan::default());
}

/// Goal: partitions grow, configuration follows, a key that went away returns to the default.
#[test]
fn changes_are_found() {
    let old = wanted_of("{config: {segment.ms: '3600000'}, retention: {time: 1d}}");
    let new = wanted_of("{partitions: 2, retention: {time: 2d}}");
    let plan = plan(&new, Some(&as_wanted(&old)), &all_acls(&old));
    let entries =
        BTreeMap::from([("retention.ms".into(), Some("172800000".into())), ("segment.ms".into(), None)]);
    assert_eq!(
        plan.changes,
        [
            Change::Grow { name: "orders".into(), partitions: 2 },
            Change::Configure { name: "orders".into(), entries }
        ]
    );
}

/// Goal: what cannot be changed is said with its field and the way out.
#[test]
fn differences_are_said() {
    let wanted = wanted_of("{partitions: 1, replicas: 3}");
    let observed = Observed { partitions: 4, ..as_wanted(&wanted) };
    let plan = plan(&wanted, Some(&observed), &all_acls(&wanted));
    assert_eq!(plan.changes, []);
    let fields: Vec<_> = plan.differences.iter().map(|difference| difference.field).collect();
    assert_eq!(fields, ["spec.partitions", "spec.replicas"]);
    assert!(plan.differences[0].to_string().contains("set partitions to 4"));
    let halfway = Observed { partitions: 1, replicas: 3, replicas_least: 2, ..observed };
    let plan = super::plan(&wanted, Some(&halfway), &all_acls(&wanted));
    let told: Vec<String> = plan.differences.iter().map(ToString::to_string).collect();
    assert!(told[0].contains("has 2 replicas on the broker, not 3"), "{told:?}");
}

/// Goal: who is no longer granted loses the topic's rules; shared rules stay while another topic needs them.
#[test]
fn access_is_revoked() {
    let old = wanted_of("{access: {publish: [], subscribe: [{serviceAccount: a}]}}");
    let new = wanted_of("{access: {publish: [], subscribe: [{serviceAccount: b}]}}");
    let plan = plan(&new, Some(&as_wanted(&new)), &all_acls(&old));
    let Some(Change::Revoke(revoked)) = plan.changes.last() else { panic!("{plan:?}") };
    assert_eq!(
        principals(revoked),
        ["Topic(\"orders\") User:shop/a Read", "Topic(\"orders\") User:shop/a Describe"]
    );
    let both: BTreeSet<Acl> = old.shared_acls.union(&new.shared_acls).cloned().collect();
    assert_eq!(revoke_shared(&both, &both), None);
    assert_eq!(revoke_shared(&both, &new.shared_acls), Some(Change::Revoke(old.shared_acls)));
}

/// Goal: who may publish has transactions, whoever lets it in, until the last Topic that does is gone; rules for single ids,
/// which we never write, stay.
#[test]
fn publishers_have_transactions() {
    let by_default = wanted_of("{}");
    let any = |principal: &str| Acl {
        resource: Resource::TransactionalId(ANY.into()),
        principal: principal.into(),
        operation: Operation::Write,
    };
    assert!(by_default.shared_acls.contains(&any("User:shop/*")), "{:?}", by_default.shared_acls);
    let listed = wanted_of("{access: {publish: [{serviceAccount: a}], subscribe: []}}");
    assert_eq!(listed.shared_acls, BTreeSet::from([any("User:shop/a")]));
    let missing = plan(&listed, Some(&as_wanted(&listed)), &listed.acls).changes;
    assert_eq!(missing, [Change::Allow(listed.shared_acls.clone())]);
    let single = Acl { resource: Resource::TransactionalId("payments".into()), ..any("User:shop/a") };
    let there = BTreeSet::from([any("User:shop/a"), single]);
    assert_eq!(revoke_shared(&there, &listed.shared_acls), None);
    assert_eq!(revoke_shared(&there, &BTreeSet::new()), Some(Change::Revoke(listed.shared_acls)));
}

/// Goal: a Topic that goes closes the topic, and deletes it only when told to and it is there.
#[test]
fn removal_keeps_or_deletes() {
    let wanted = wanted_of("{}");
    let acls = all_acls(&wanted);
    let closed = Change::Revoke(wanted.acls);
    assert_eq!(plan_removal("orders", false, true, &acls), std::slice::from_ref(&closed));
    assert_eq!(plan_removal("orders", true, true, &acls), [closed, Change::Delete { name: "orders".into() }]);
    assert_eq!(plan_removal("orders", true, false, &BTreeSet::new()), []);
}

/// Goal: the oldest claim wins; of the same age, the first by name, always the same one.
#[test]
fn the_older_claim_wins() {
    let claim = |seconds, namespace: &str| Claim {
        created_seconds: seconds,
        object: ObjectName::new(namespace, "orders"),
    };
    assert_eq!(holder([claim(2, "a"), claim(1, "b")]), Some(ObjectName::new("b", "orders")));
    assert_eq!(holder([claim(1, "b"), claim(1, "a")]), Some(ObjectName::new("a", "orders")));
    assert_eq!(holder([]), None);
}

/// Goal: for an engine without principals of whole namespaces each service account that is there has its rule, and nobody
/// else; who is named stays named.
#[test]
fn whole_namespaces_become_their_accounts() {
    let spec: TopicSpec = serde_yaml::from_str(
        "access: {publish: [{serviceAccount: checkout}], subscribe: [{namespace: finance}, {serviceAccount: billing, namespace: lab}]}",
    )
    .unwrap();
    let wanted = wanted(&spec, &ObjectName::new("shop", "orders"));
    assert_eq!(wanted.whole_namespaces(), BTreeSet::from(["finance"]));
    let accounts = BTreeMap::from([
        ("finance".to_owned(), BTreeSet::from(["a".to_owned(), "b".to_owned()])),
        ("other".to_owned(), BTreeSet::from(["c".to_owned()])),
    ]);
    let each = wanted.clone().for_each_account(&accounts);
    let principals: BTreeSet<&str> =
        each.acls.iter().chain(&each.shared_acls).map(|acl| acl.principal.as_str()).collect();
    let expected = ["User:finance/a", "User:finance/b", "User:lab/billing", "User:shop/checkout"];
    assert_eq!(principals, BTreeSet::from(expected));
    let transactional = |acl: &&Acl| {
        acl.resource == Resource::TransactionalId("*".into()) && acl.operation == Operation::Write
    };
    assert_eq!(each.shared_acls.iter().filter(transactional).count(), 1, "the publisher has transactions");
    assert_eq!(each.shared_acls.len(), 4, "and each subscriber may use groups");
    let nobody = wanted.for_each_account(&BTreeMap::new());
    assert!(nobody.acls.iter().all(|acl| !acl.principal.contains("finance")));
}
