//! Requests in, verdicts out; the surroundings are made by hand.

use serde_json::{Value, json};

use super::*;
use crate::admission::review::Kind;

#[derive(Default)]
struct Cluster {
    brokers: Vec<Arc<Broker>>,
    topics: Vec<Arc<Topic>>,
    labels: BTreeMap<String, BTreeMap<String, String>>,
    going: Vec<&'static str>,
    scope: crate::scope::Scope,
}

impl Surroundings for Cluster {
    fn broker(&self, namespace: &str, name: &str) -> Option<Arc<Broker>> {
        let wanted = (Some(namespace.to_owned()), name.to_owned());
        self.brokers.iter().find(|broker| (broker.namespace(), broker.name_any()) == wanted).cloned()
    }

    fn topics_on(&self, broker: (&str, &str)) -> Vec<Arc<Topic>> {
        let is_on =
            |topic: &&Arc<Topic>| topic.spec.broker_of(&topic.namespace().unwrap_or_default()) == broker;
        self.topics.iter().filter(is_on).cloned().collect()
    }

    fn claimants(&self, broker: (&str, &str), log_name: &str) -> Vec<Arc<Topic>> {
        let mut found = self.topics_on(broker);
        let own = |topic: &Topic| topic.namespace().unwrap_or_default();
        found.retain(|topic| topic.spec.log_name(&own(topic), &topic.name_any()) == log_name);
        found
    }

    fn used_by_others(&self, broker: (&str, &str), topic: (&str, &str)) -> Used {
        let mut used = Used::default();
        let named = |other: &Topic| (other.namespace().unwrap_or_default(), other.name_any());
        let is_other = |(namespace, name): (String, String)| namespace == topic.0 && name != topic.1;
        let others = self.topics_on(broker).into_iter().filter(|other| is_other(named(other)));
        others.filter_map(|other| quota::counted(&other)).for_each(|share| used.add(share));
        used
    }

    fn used(&self, broker: (&str, &str)) -> BTreeMap<String, Used> {
        let mut all: BTreeMap<String, Used> = BTreeMap::new();
        for topic in self.topics_on(broker) {
            let used = all.entry(topic.namespace().unwrap_or_default()).or_default();
            quota::counted(&topic).into_iter().for_each(|share| used.add(share));
        }
        all
    }

    fn namespace_labels(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        self.labels.get(namespace).cloned()
    }

    fn uid_range(&self, _: &str) -> Option<String> {
        None
    }

    fn outside(&self, namespace: &str) -> Option<String> {
        self.scope.outside(namespace)
    }

    fn namespace_is_going(&self, namespace: &str) -> bool {
        self.going.contains(&namespace)
    }
}

fn object(kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "pinnace.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    })
}

fn read<T: DeserializeOwned>(value: &Value) -> Arc<T> {
    Arc::new(decode::decode(value).expect("an object of the kind"))
}

fn request(operation: &str, object: Value, old_object: Value) -> Request {
    let known = if object.is_null() { &old_object } else { &object };
    let text = |pointer: &str| known.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    Request {
        uid: "1".into(),
        kind: Kind { group: "pinnace.dev".into(), kind: text("/kind") },
        name: text("/metadata/name"),
        namespace: text("/metadata/namespace"),
        operation: operation.into(),
        object,
        old_object,
        dry_run: false,
    }
}

fn create(object: Value, cluster: &dyn Surroundings) -> Verdict {
    validate(&request("CREATE", object, Value::Null), cluster)
}

fn wrong(verdict: Verdict) -> String {
    match verdict {
        Verdict::Wrong { message } => message,
        other => panic!("not refused: {other:?}"),
    }
}

fn doubtful(verdict: Verdict) -> String {
    match verdict {
        Verdict::Doubtful { warnings } => warnings.join("; "),
        other => panic!("no warning: {other:?}"),
    }
}

fn infra(allowed: Value) -> Cluster {
    let spec = json!({"engine": "Embedded", "allowedNamespaces": allowed});
    Cluster { brokers: vec![read(&object("Broker", "infra", "shared", spec))], ..Cluster::default() }
}

fn guest(spec: Value) -> Value {
    let mut spec = spec;
    spec["broker"] = json!({"name": "shared", "namespace": "infra"});
    object("Topic", "shop", "orders", spec)
}

/// Goal: more than one replica on an Embedded Broker is refused with the reason, also where the
/// Broker is only made on first use.
#[test]
fn replicas_on_embedded_are_refused() {
    let cluster = infra(json!({"from": "All"}));
    let message = wrong(create(guest(json!({"replicas": 2})), &cluster));
    assert!(message.starts_with("Topic shop/orders: spec.replicas: 2 is more than"), "{message}");
    assert!(message.contains("infra/shared") && message.contains("remove replicas"), "{message}");
    let first_use = object("Topic", "shop", "orders", json!({"replicas": 3}));
    assert!(wrong(create(first_use, &Cluster::default())).contains("shop/default"));
    assert_eq!(create(guest(json!({"replicas": 1})), &cluster), Verdict::Fine);
}

/// Goal: a decrease of partitions is refused and names both numbers.
#[test]
fn partitions_do_not_shrink() {
    let topic = |partitions: i32| object("Topic", "shop", "orders", json!({"partitions": partitions}));
    let message = wrong(validate(&request("UPDATE", topic(2), topic(6)), &Cluster::default()));
    assert!(message.contains("spec.partitions: cannot shrink from 6 to 2"), "{message}");
    assert_eq!(validate(&request("UPDATE", topic(7), topic(6)), &Cluster::default()), Verdict::Fine);
}

/// Goal: a Broker takes Topics of the namespaces that it allows, and of no others.
#[test]
fn allowed_namespaces_are_kept() {
    let message = wrong(create(guest(json!({})), &infra(json!({"from": "Same"}))));
    assert!(message.contains("takes no Topics of namespace shop"), "{message}");
    assert_eq!(create(guest(json!({})), &infra(json!({"from": "All"}))), Verdict::Fine);
    let selector = json!({"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}});
    let mut cluster = infra(selector);
    assert_eq!(create(guest(json!({})), &cluster), Verdict::Fine, "labels that are not known do not refuse");
    cluster.labels.insert("shop".into(), BTreeMap::from([("team".into(), "other".into())]));
    assert!(wrong(create(guest(json!({})), &cluster)).contains("spec.allowedNamespaces"));
    cluster.labels.insert("shop".into(), BTreeMap::from([("team".into(), "shop".into())]));
    assert_eq!(create(guest(json!({})), &cluster), Verdict::Fine);
}

/// Goal: an operator of one namespace refuses a Topic on the Broker of another, and says that lists which name other
/// namespaces, and Brokers that are open to them, let nobody in; what stays inside is as ever.
#[test]
fn one_namespace_is_no_other() {
    let cluster = Cluster { scope: crate::scope::Scope::of("shop"), ..infra(json!({"from": "All"})) };
    let message = wrong(create(guest(json!({"replicas": 2})), &cluster));
    assert!(
        message.starts_with("Topic shop/orders: spec.broker.namespace: Broker infra/shared"),
        "{message}"
    );
    assert!(message.contains("serves namespace shop alone") && message.contains("remove it"), "{message}");
    for kind in ["Topic", "Channel"] {
        let with = |grantee: Value| {
            let spec = json!({"pattern": "PubSub", "access": {"subscribe": [grantee]}});
            let spec = if kind == "Topic" { json!({"access": spec["access"]}) } else { spec };
            create(object(kind, "shop", "orders", spec), &cluster)
        };
        let message = doubtful(with(json!({"namespace": "finance"})));
        assert!(message.contains("spec.access.subscribe: nobody of finance is let in"), "{kind}: {message}");
        assert_eq!(with(json!({"serviceAccount": "billing"})), Verdict::Fine, "{kind}");
    }
    let open = |from: &str| {
        let spec = json!({"allowedNamespaces": {"from": from}});
        create(object("Broker", "shop", "default", spec), &cluster)
    };
    assert!(doubtful(open("All")).contains("spec.allowedNamespaces: no other namespace"));
    assert_eq!(open("Same"), Verdict::Fine);
}

/// Goal: a second claim of a name on a Broker is let in with a warning that names the holder.
#[test]
fn second_claim_warns() {
    let mut cluster = infra(json!({"from": "All"}));
    let holder = object("Topic", "infra", "first", json!({"topicName": "o", "broker": {"name": "shared"}}));
    cluster.topics.push(read(&holder));
    let message = doubtful(create(guest(json!({"topicName": "o"})), &cluster));
    assert!(message.contains("Topic infra/first already has the name o"), "{message}");
    assert_eq!(validate(&request("UPDATE", holder.clone(), holder), &cluster), Verdict::Fine);
    assert_eq!(create(guest(json!({"topicName": "other"})), &cluster), Verdict::Fine);
}

/// Goal: unknown fields and bad values are refused by name; what does not go together gives a warning.
#[test]
fn one_object_alone_is_judged_too() {
    let unknown = object("Topic", "shop", "orders", json!({"partition": 3}));
    assert!(wrong(create(unknown, &Cluster::default())).contains("partition"));
    let compact = object("Topic", "shop", "orders", json!({"cleanup": ["Compact", "Compact"]}));
    assert!(wrong(create(compact, &Cluster::default())).contains("spec.cleanup"));
    let jitter = object("Topic", "shop", "orders", json!({"config": {"segment.jitter.ms": "1"}}));
    assert!(doubtful(create(jitter, &Cluster::default())).contains("spec.config[segment.jitter.ms]"));
    let channel = object(
        "Channel",
        "shop",
        "prices",
        json!({"pattern": "RequestReply", "delivery": {"overflow": "Spill", "spill": {"topic": "over"}}}),
    );
    assert!(doubtful(create(channel, &Cluster::default())).contains("spec.delivery.overflow"));
    let bad = object("Channel", "shop", "prices", json!({"pattern": "PubSub", "maxMessageSize": "1Gi"}));
    assert!(wrong(create(bad, &Cluster::default())).contains("spec.maxMessageSize"));
    let kafka = object("Broker", "shop", "big", json!({"engine": "Embedded", "replicas": 3}));
    assert!(wrong(create(kafka, &Cluster::default())).contains("spec.replicas"));
}

/// Goal: finalizers can be taken off an object that newer rules would refuse.
#[test]
fn updates_outside_the_spec_pass() {
    let old = object("Topic", "shop", "orders", json!({"partition": 3}));
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(validate(&request("UPDATE", new, old), &Cluster::default()), Verdict::Fine);
}

/// Goal: a Broker stays while Topics live on it, its own and those of others, with their names and the way out.
#[test]
fn brokers_with_topics_stay() {
    let mut cluster = infra(json!({"from": "All"}));
    let broker = object("Broker", "infra", "shared", json!({"allowedNamespaces": {"from": "All"}}));
    let delete = || request("DELETE", Value::Null, broker.clone());
    assert_eq!(validate(&delete(), &cluster), Verdict::Fine);
    cluster.topics.push(read(&object("Topic", "infra", "own", json!({"broker": {"name": "shared"}}))));
    let message = wrong(validate(&delete(), &cluster));
    assert!(message.contains("infra/own; delete them first, or annotate"), "{message}");
    for number in 0..7 {
        let mut topic = guest(json!({}));
        topic["metadata"]["name"] = json!(format!("orders-{number}"));
        cluster.topics.push(read(&topic));
    }
    let message = wrong(validate(&delete(), &cluster));
    assert!(message.contains("shop/orders-0") && message.contains("and 3 more"), "{message}");
    let mut annotated = broker.clone();
    annotated["metadata"]["annotations"] = json!({"pinnace.dev/delete-with-topics": "true"});
    assert_eq!(validate(&request("DELETE", Value::Null, annotated), &cluster), Verdict::Fine);
}

/// Goal: what goes anyway holds no Broker: its namespace, Topics that are being deleted, and those that it never let in.
#[test]
fn nothing_that_goes_holds_a_broker() {
    let mut cluster = infra(json!({"from": "Same"}));
    let broker = object("Broker", "infra", "shared", json!({}));
    let delete = || request("DELETE", Value::Null, broker.clone());
    let mut uninvited = guest(json!({}));
    cluster.topics.push(read(&uninvited));
    assert_eq!(validate(&delete(), &cluster), Verdict::Fine, "a name alone holds nothing");
    uninvited["status"] = json!({"topicId": "x"});
    cluster.topics = vec![read(&uninvited)];
    assert!(wrong(validate(&delete(), &cluster)).contains("shop/orders"), "it got in while it was let in");
    cluster.going.push("infra");
    assert_eq!(validate(&delete(), &cluster), Verdict::Fine, "the namespace goes");
    cluster.going.clear();
    uninvited["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    cluster.topics = vec![read(&uninvited)];
    assert_eq!(validate(&delete(), &cluster), Verdict::Fine, "the Topic goes");
}

/// Goal: on a shared Broker nobody takes the name that another team's Topic will have by itself.
#[test]
fn names_of_other_namespaces_are_not_taken() {
    let mut cluster = infra(json!({"from": "All"}));
    cluster.labels.insert("finance".into(), BTreeMap::new());
    let squat = guest(json!({"topicName": "finance.invoices"}));
    let message = wrong(create(squat.clone(), &cluster));
    assert!(
        message.contains("spec.topicName: names on Broker infra/shared that begin with finance."),
        "{message}"
    );
    assert!(message.contains("begin with shop."), "{message}");
    for name in ["shop.invoices", "invoices.v1", "invoices"] {
        assert_eq!(create(guest(json!({"topicName": name})), &cluster), Verdict::Fine, "{name}");
    }
    let own =
        object("Topic", "infra", "x", json!({"broker": {"name": "shared"}, "topicName": "finance.invoices"}));
    assert_eq!(create(own, &cluster), Verdict::Fine, "the Broker is its own");
    let mut grown = squat.clone();
    grown["spec"]["partitions"] = json!(3);
    assert_eq!(
        validate(&request("UPDATE", grown, squat), &cluster),
        Verdict::Fine,
        "what is there can be changed"
    );
}

fn bounded(limits: Value) -> Value {
    let spec = json!({"allowedNamespaces": {"from": "All"}, "quota": {"perNamespace": limits}});
    object("Broker", "infra", "shared", spec)
}

fn named(name: &str, spec: Value) -> Value {
    let mut topic = guest(spec);
    topic["metadata"]["name"] = json!(name);
    topic
}

/// Goal: a Topic that its namespace has no room for is refused with field, numbers and whom to ask, the Broker's own
/// namespace as any other; what others have elsewhere or in other namespaces does not count, nor what only looks.
#[test]
fn a_quota_is_kept() {
    let mut cluster = Cluster { brokers: vec![read(&bounded(json!({"topics": 1})))], ..Cluster::default() };
    let own = |name: &str| object("Topic", "infra", name, json!({"broker": {"name": "shared"}}));
    let elsewhere = object("Topic", "shop", "elsewhere", json!({}));
    let looks = named("looks", json!({"managementPolicy": "Observe"}));
    cluster.topics = [own("first"), elsewhere, looks].iter().map(read).collect();
    assert_eq!(create(guest(json!({})), &cluster), Verdict::Fine);
    cluster.topics.push(read(&guest(json!({}))));
    assert_eq!(
        wrong(create(named("more", json!({})), &cluster)),
        "Topic shop/more: spec.broker: more Topics than namespace shop may have on Broker infra/shared: used 1, asked 1, quota 1; ask the owner of Broker infra/shared, or delete a Topic"
    );
    assert!(wrong(create(own("second"), &cluster)).contains("namespace infra"));
    let looks = named("more", json!({"managementPolicy": "Observe"}));
    assert_eq!(create(looks.clone(), &cluster), Verdict::Fine);
    let bound = named("more", json!({}));
    assert!(
        wrong(validate(&request("UPDATE", bound, looks), &cluster)).contains("spec.broker"),
        "it becomes bound"
    );
}

/// Goal: an edit is refused for what grows, and for nothing else however far the namespace is above its quota.
#[test]
fn a_quota_is_about_growth() {
    let limits = json!({"topics": 0, "partitions": 1, "size": "1"});
    let mut cluster = Cluster { brokers: vec![read(&bounded(limits))], ..Cluster::default() };
    let old = guest(json!({"partitions": 2, "retention": {"size": "1Gi"}}));
    cluster.topics.push(read(&old));
    let edit = |change: fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new["spec"]);
        validate(&request("UPDATE", new, old.clone()), &cluster)
    };
    assert_eq!(edit(|spec| spec["access"] = json!({"publish": []})), Verdict::Fine);
    assert_eq!(edit(|spec| spec["retention"] = json!({"size": "1Mi"})), Verdict::Fine);
    assert!(wrong(edit(|spec| spec["partitions"] = json!(3))).contains("spec.partitions: more partitions"));
    assert!(
        wrong(edit(|spec| spec["retention"] = json!({"size": "2Gi"}))).contains("used 0, asked 4Gi, quota 1")
    );
    assert!(wrong(edit(|spec| spec["retention"] = json!({"time": "1d"}))).contains("so say how much"));
}

/// Goal: who lowers a quota is told which namespaces are above it, cut as all lists are; who raises it hears nothing.
#[test]
fn a_lowered_quota_names_who_is_above_it() {
    let mut cluster = Cluster::default();
    for namespace in 0..7 {
        let mut topic = guest(json!({"partitions": 3}));
        topic["metadata"]["namespace"] = json!(format!("team-{namespace}"));
        cluster.topics.push(read(&topic));
    }
    let change = |old: Value, new: Value| validate(&request("UPDATE", bounded(new), bounded(old)), &cluster);
    assert_eq!(
        doubtful(change(json!({"partitions": 3}), json!({"partitions": 2}))),
        "spec.quota.perNamespace: above it: team-0, team-1, team-2, team-3, team-4 and 2 more; what is there stays, and may not grow"
    );
    assert!(doubtful(change(json!({}), json!({"topics": 0}))).contains("team-0"), "there was none before");
    assert_eq!(change(json!({"topics": 9}), json!({"topics": 1})), Verdict::Fine, "nobody is above it");
    assert_eq!(change(json!({"partitions": 1}), json!({"partitions": 2})), Verdict::Fine, "it is raised");
}
