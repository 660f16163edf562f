//! The index against itself computed from nothing, and the promises about who hears what and when.

use super::*;
use crate::objects::Grants;
use crate::view::{Delivery, Trust};
use api::access::Grant;
use proptest::prelude::*;

const NAMESPACES: [&str; 3] = ["shop", "lab", "infra"];

fn settings(settle: u64) -> Settings {
    Settings { settle: Duration::from_secs(settle), linger: Duration::from_secs(10) }
}

fn trust(bundle: &str) -> Trust {
    Trust { domain: "cluster.local".to_owned(), bundle_pem: bundle.to_owned() }
}

fn new_index(settle: u64) -> Index {
    Index::new(settings(settle), trust("root"), Duration::ZERO)
}

fn grant(namespace: &str, account: Option<&str>) -> Grant {
    Grant { namespace: namespace.to_owned(), service_account: account.map(str::to_owned) }
}

fn channel(namespace: &str, name: &str, publish: Vec<Grant>, subscribe: Vec<Grant>) -> Channel {
    let delivery = Delivery {
        pattern: "PubSub".to_owned(),
        overflow: "Block".to_owned(),
        block_timeout_ms: 5_000,
        buffer_messages: 10,
        buffer_bytes: 1_000,
        max_message_bytes: 100,
        ..Delivery::default()
    };
    let name = ObjectName::new(namespace, name);
    Channel { name, delivery, grants: Grants { publish, subscribe }, audit: false, problem: String::new() }
}

fn topic(namespace: &str, name: &str, created_seconds: i64) -> Topic {
    Topic {
        name: ObjectName::new(namespace, name),
        created_seconds,
        topic_name: "orders".to_owned(),
        broker: ObjectName::new("shop", "default"),
        partitions: 1,
        max_message_bytes: 100,
        grants: Grants { publish: vec![grant(namespace, None)], subscribe: vec![grant("lab", Some("a"))] },
        problem: String::new(),
    }
}

fn broker(name: &str, port: u16) -> Broker {
    Broker {
        name: ObjectName::new("shop", name),
        bootstrap: vec![format!("127.0.0.1:{port}")],
        server_names: vec!["localhost".to_owned()],
        problem: String::new(),
    }
}

fn report(publishes: &[&str], subscribes: &[&str], address: &str) -> Report {
    let names = |list: &[&str]| list.iter().map(|name| ObjectName::new("shop", *name)).collect();
    Report {
        peer_address: address.to_owned(),
        publishes: names(publishes),
        subscribes: names(subscribes),
        ..Report::default()
    }
}

fn publishers(view: &View, channel: &str) -> Vec<String> {
    let found = view.channels.iter().find(|found| found.name.name == channel).unwrap();
    found.publishers.iter().map(|peer| peer.sidecar.clone()).collect()
}

/// Goal: a subscriber hears of a publisher, and of its leaving only after the linger time; others
/// hear nothing.
#[test]
fn membership_reaches_subscribers_alone() {
    let mut index = new_index(0);
    index.upsert_channel(channel("shop", "prices", vec![grant("shop", None)], vec![grant("lab", None)]));
    let reader = Identity::new("lab", "a");
    let sub = index.connect("lab/sub", reader.clone(), report(&[], &["prices"], "s:1")).unwrap();
    index.connect("lab/idle", reader, report(&[], &[], "i:1")).unwrap();
    assert_eq!(index.take_changed().len(), 2);
    let publisher = Identity::new("shop", "p");
    let link = index.connect("shop/pub", publisher.clone(), report(&["prices"], &[], "p:1")).unwrap();
    let changed = index.take_changed();
    let names: Vec<_> = changed.iter().map(|(link, _)| link.sidecar().to_owned()).collect();
    assert_eq!(names, ["lab/sub", "shop/pub"]);
    assert_eq!(publishers(&changed[0].1, "prices"), ["shop/pub"]);
    let members = index.members_of(&ObjectName::new("shop", "prices"));
    assert_eq!((members.publishers.len(), members.subscribers.len()), (1, 1));

    index.disconnect(&link, Duration::from_secs(100));
    index.handle_timeout(Duration::from_secs(109));
    assert!(index.take_changed().is_empty());
    let back = index.connect("shop/pub", publisher, report(&["prices"], &[], "p:2")).unwrap();
    index.handle_timeout(Duration::from_secs(111));
    let changed = index.take_changed();
    assert_eq!(changed.len(), 2, "the new address reaches the subscriber, the new stream its view");
    index.disconnect(&link, Duration::from_secs(111));
    assert!(index.is_current(&back), "an outdated link ends nothing");
    index.disconnect(&back, Duration::from_secs(111));
    assert_eq!(index.poll_timeout(), Some(Duration::from_secs(121)));
    index.handle_timeout(Duration::from_secs(121));
    let changed = index.take_changed();
    assert_eq!(changed.len(), 1);
    assert!(publishers(&changed[0].1, "prices").is_empty());
    index.report(&sub, report(&[], &[], "s:1"));
    assert!(index.take_changed().is_empty(), "nothing to tell: no publisher was left");
}

/// Goal: a Channel in audit mode is seen by every sidecar, with what the lists say of it, and everybody's publishers are
/// named; without it, only those that the lists name see it.
#[test]
fn audited_channels_are_seen_by_everybody() {
    let mut index = new_index(0);
    let enforced = channel("shop", "prices", vec![grant("shop", Some("p"))], vec![]);
    index.upsert_channel(Channel { audit: true, ..enforced.clone() });
    index.connect("lab/sub", Identity::new("lab", "a"), report(&[], &["prices"], "s:1")).unwrap();
    index.connect("infra/pub", Identity::new("infra", "x"), report(&["prices"], &[], "p:1")).unwrap();
    let changed = index.take_changed();
    let seen = &changed.iter().find(|(link, _)| link.sidecar() == "lab/sub").unwrap().1;
    assert_eq!(publishers(seen, "prices"), ["infra/pub"]);
    let view = &seen.channels[0];
    assert_eq!((view.audit, view.may_publish, view.may_subscribe), (true, false, false));
    assert_eq!(
        (&*view.publisher_identities, view.subscriber_identities.len()),
        (&["shop/p".to_owned()][..], 0)
    );
    index.upsert_channel(enforced);
    let changed = index.take_changed();
    assert_eq!(changed.len(), 2);
    assert!(changed.iter().all(|(_, view)| view.channels.is_empty()), "{changed:?}");
}

/// Goal: a new leader takes nobody from a sidecar that has a view before the others could report,
/// and numbers its views above the old leader's.
#[test]
fn a_new_leader_waits_for_reports() {
    let mut index = new_index(10);
    index.upsert_channel(channel("shop", "prices", vec![grant("shop", None)], vec![grant("shop", None)]));
    let identity = Identity::new("shop", "a");
    let old = Report { view_version: 7, ..report(&[], &["prices"], "s:1") };
    index.connect("shop/old", identity.clone(), old).unwrap();
    index.connect("shop/new", identity, report(&["prices"], &[], "p:1")).unwrap();
    let names: Vec<_> = index.take_changed().into_iter().map(|(link, _)| link.sidecar().to_owned()).collect();
    assert_eq!(names, ["shop/new"]);
    assert_eq!(index.poll_timeout(), Some(Duration::from_secs(10)));
    index.handle_timeout(Duration::from_secs(10));
    let changed = index.take_changed();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].1.version, 8);
    assert_eq!(publishers(&changed[0].1, "prices"), ["shop/new"]);
}

/// Goal: a certificate of one namespace or account cannot take another's name.
#[test]
fn names_cannot_be_taken() {
    let mut index = new_index(0);
    let identity = Identity::new("shop", "a");
    for wrong in ["lab/pod", "shop", "shop/", "shop/a/b"] {
        let refused = index.connect(wrong, identity.clone(), Report::default());
        assert!(matches!(refused, Err(ConnectError::WrongNamespace { .. })), "{wrong}");
    }
    let link = index.connect("shop/pod", identity, Report::default()).unwrap();
    let thief = Identity::new("shop", "b");
    let refused = index.connect("shop/pod", thief.clone(), Report::default());
    assert!(matches!(refused, Err(ConnectError::NameTaken { .. })));
    index.disconnect(&link, Duration::ZERO);
    assert!(index.connect("shop/pod", thief, Report::default()).is_ok(), "free again");
}

/// Goal: of two Topics that claim one name on a broker the older wins, the other says why, and
/// inherits the name when the older one goes.
#[test]
fn the_older_topic_keeps_its_name() {
    let mut index = new_index(0);
    index.upsert_topic(topic("shop", "young", 20));
    index.connect("shop/pod", Identity::new("shop", "a"), Report::default()).unwrap();
    let problem = |index: &Index| index.view_of("shop/pod").unwrap().topics.last().unwrap().problem.clone();
    assert_eq!(problem(&index), "");
    index.take_changed();
    index.upsert_topic(topic("lab", "old", 10));
    assert_eq!(index.take_changed().len(), 1);
    assert!(problem(&index).contains("older Topic lab/old"), "{}", problem(&index));
    index.remove_topic(&ObjectName::new("lab", "old"));
    assert_eq!(problem(&index), "");
}

/// Goal: without a Broker the view says what to do.
#[test]
fn a_missing_broker_is_explained() {
    let mut index = new_index(0);
    index.connect("shop/pod", Identity::new("shop", "a"), Report::default()).unwrap();
    let view = index.view_of("shop/pod").unwrap();
    assert!(view.broker.unwrap_err().contains("no Broker shop/default"));
    index.upsert_broker(broker("default", 9093));
    assert_eq!(index.view_of("shop/pod").unwrap().broker.unwrap().bootstrap, ["127.0.0.1:9093"]);
}

#[derive(Clone, Debug)]
enum Input {
    Channel(usize, usize, u8, bool),
    RemoveChannel(usize, usize),
    Topic(usize, usize, i64),
    RemoveTopic(usize, usize),
    Broker(usize, u16),
    RemoveBroker(usize),
    Connect(usize, usize, u8),
    Report(usize, u8, u8),
    Disconnect(usize),
    Time(u64),
    Trust(bool),
}

const NAMES: [&str; 3] = ["prices", "default", "other"];

fn inputs() -> impl Strategy<Value = Input> {
    prop_oneof![
        (0..3_usize, 0..3_usize, any::<u8>(), any::<bool>())
            .prop_map(|(a, b, c, d)| Input::Channel(a, b, c, d)),
        (0..3_usize, 0..3_usize).prop_map(|(a, b)| Input::RemoveChannel(a, b)),
        (0..3_usize, 0..3_usize, 0..3_i64).prop_map(|(a, b, c)| Input::Topic(a, b, c)),
        (0..3_usize, 0..3_usize).prop_map(|(a, b)| Input::RemoveTopic(a, b)),
        (0..3_usize, 1..3_u16).prop_map(|(a, b)| Input::Broker(a, b)),
        (0..3_usize).prop_map(Input::RemoveBroker),
        (0..6_usize, 0..2_usize, any::<u8>()).prop_map(|(a, b, c)| Input::Connect(a, b, c)),
        (0..6_usize, any::<u8>(), any::<u8>()).prop_map(|(a, b, c)| Input::Report(a, b, c)),
        (0..6_usize).prop_map(Input::Disconnect),
        (0..15_u64).prop_map(Input::Time),
        any::<bool>().prop_map(Input::Trust),
    ]
}

fn some_grants(bits: u8) -> Vec<Grant> {
    let all = [grant("shop", None), grant("lab", Some("a")), grant("infra", Some("b"))];
    all.into_iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0).map(|(_, grant)| grant).collect()
}

fn some_report(bits: u8, more: u8) -> Report {
    let pick = |bits: u8| {
        let all = NAMES.iter().enumerate().filter(move |(at, _)| bits & (1 << at) != 0);
        all.map(|(_, name)| ObjectName::new("shop", *name)).collect()
    };
    let brokers = ["", "other", "shop/default", "lab/default"];
    Report {
        peer_address: format!("h:{}", more & 1),
        publishes: pick(bits),
        subscribes: pick(bits >> 3),
        view_version: 0,
        broker: brokers[usize::from(more >> 6)].to_owned(),
    }
}

struct Driver {
    index: Index,
    now: Duration,
    links: BTreeMap<usize, Link>,
    versions: BTreeMap<String, Arc<View>>,
}

impl Driver {
    fn apply(&mut self, input: Input) {
        let index = &mut self.index;
        match input {
            Input::Channel(space, name, bits, audit) => {
                let (publish, subscribe) = (some_grants(bits), some_grants(bits >> 4));
                let made = channel(NAMESPACES[space], NAMES[name], publish, subscribe);
                index.upsert_channel(Channel { audit, ..made });
            }
            Input::RemoveChannel(space, name) => {
                index.remove_channel(&ObjectName::new(NAMESPACES[space], NAMES[name]));
            }
            Input::Topic(space, name, age) => index.upsert_topic(topic(NAMESPACES[space], NAMES[name], age)),
            Input::RemoveTopic(space, name) => {
                index.remove_topic(&ObjectName::new(NAMESPACES[space], NAMES[name]));
            }
            Input::Broker(name, port) => index.upsert_broker(broker(NAMES[name], port)),
            Input::RemoveBroker(name) => index.remove_broker(&ObjectName::new("shop", NAMES[name])),
            Input::Connect(at, account, bits) => {
                let identity = Identity::new(NAMESPACES[at % 3], ["a", "b"][account]);
                let name = format!("{}/{at}", identity.namespace);
                // As a sidecar that kept its last view over a restart does.
                let view_version = self.versions.get(&name).map_or(0, |view| view.version);
                let report = Report { view_version, ..some_report(bits, bits) };
                if let Ok(link) = index.connect(&name, identity, report) {
                    self.links.insert(at, link);
                }
            }
            Input::Report(at, bits, more) => {
                if let Some(link) = self.links.get(&at) {
                    index.report(link, some_report(bits, more));
                }
            }
            Input::Disconnect(at) => {
                if let Some(link) = self.links.remove(&at) {
                    index.disconnect(&link, self.now);
                }
            }
            Input::Time(seconds) => {
                self.now += Duration::from_secs(seconds);
                index.handle_timeout(self.now);
            }
            Input::Trust(second) => index.set_trust(trust(if second { "two" } else { "root" })),
        }
    }

    /// What was sent is what would be computed from nothing, and versions rise only on change.
    fn check(&mut self) {
        for (link, view) in self.index.take_changed() {
            let old = self.versions.insert(link.sidecar().to_owned(), Arc::clone(&view));
            if let Some(old) = old {
                assert!(view.version >= old.version, "versions rise");
                assert!(view.version > old.version || *old == *view, "a change without a new version");
            }
        }
        for link in self.links.values().filter(|link| self.index.is_current(link)) {
            let wanted = self.index.view_of(link.sidecar()).unwrap();
            let sent = View { version: 0, ..(*self.versions[link.sidecar()]).clone() };
            assert_eq!(sent, wanted, "stale view of {}", link.sidecar());
        }
    }
}

proptest! {
    /// Goal: however objects and sidecars come and go, each sidecar has been sent exactly the view
    /// that a fresh computation gives.
    #[test]
    fn incremental_equals_from_scratch(inputs in prop::collection::vec(inputs(), 0..60)) {
        let mut driver = Driver {
            index: new_index(0),
            now: Duration::ZERO,
            links: BTreeMap::new(),
            versions: BTreeMap::new(),
        };
        for input in inputs {
            driver.apply(input);
            driver.check();
        }
        // A second index that gets the end state only must agree as well.
        let mut fresh = Index::new(settings(0), driver.index.trust.clone(), Duration::ZERO);
        driver.index.topics.values().rev().cloned().for_each(|topic| fresh.upsert_topic(topic));
        driver.index.brokers.values().cloned().for_each(|broker| fresh.upsert_broker(broker));
        for (name, sidecar) in &driver.index.sidecars {
            fresh.connect(name, sidecar.identity.clone(), sidecar.report.clone()).unwrap();
        }
        driver.index.channels.values().cloned().for_each(|channel| fresh.upsert_channel(channel));
        for name in driver.index.sidecars.keys() {
            prop_assert_eq!(fresh.view_of(name), driver.index.view_of(name));
        }
        prop_assert_eq!(fresh.snapshot(), driver.index.snapshot());
    }
}
