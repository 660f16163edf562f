//! Where each Topic lives: its Broker and its name there, and what it counts of its namespace's quota. Asked for each Topic
//! and each admission, so that neither costs a look at all Topics.

mod shares;

use super::{Events, name_of};
use crate::guard::Guarded;
use api::{Topic, quota::Used};
use control::{ObjectName, topics::Claim};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::runtime::watcher;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use shares::{Age, Shares};

/// Where a Topic lives.
#[derive(Debug)]
struct Home {
    broker: ObjectName,
    /// Its name there.
    name: String,
    created_seconds: i64,
}

/// Who lives on a Broker.
#[derive(Debug, Default)]
struct Residents {
    /// Nearly always one claims a name; a set would take the room of eleven.
    names: HashMap<String, Vec<ObjectName>>,
    /// By namespace.
    shares: HashMap<String, Shares>,
}

/// See the module. Clones share it. It is told of an event before the store is, so whoever finds a Topic in the store
/// finds it here; of those that are named here the store may lack some.
#[derive(Clone, Debug, Default)]
pub struct Homes {
    shared: Arc<RwLock<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    now: Table,
    /// What a new list brought so far.
    coming: Option<Table>,
}

#[derive(Debug, Default)]
struct Table {
    of: HashMap<ObjectName, Home>,
    on: HashMap<ObjectName, Residents>,
}

fn age_of(topic: &ObjectName, created_seconds: i64) -> Age {
    (created_seconds, topic.name.clone())
}

impl Table {
    /// A Topic that cannot be decoded lives nowhere.
    fn note(&mut self, topic: &Guarded<Topic>) {
        let own = name_of(topic);
        self.forget(&own);
        let Some(topic) = topic.decoded() else { return };
        let (namespace, name) = topic.spec.broker_of(&own.namespace);
        let created = topic.metadata.creation_timestamp.as_ref();
        let home = Home {
            broker: ObjectName::new(namespace, name),
            name: topic.spec.log_name(&own.namespace, &own.name),
            created_seconds: created.map_or(i64::MAX, |time| time.0.as_second()),
        };
        let residents = self.on.entry(home.broker.clone()).or_default();
        let claimants = residents.names.entry(home.name.clone());
        claimants.or_insert_with(|| Vec::with_capacity(1)).push(own.clone());
        let shares = residents.shares.entry(own.namespace.clone()).or_default();
        shares.note(age_of(&own, home.created_seconds), topic);
        self.of.insert(own, home);
    }

    fn forget(&mut self, topic: &ObjectName) {
        let Some(home) = self.of.remove(topic) else { return };
        let Some(residents) = self.on.get_mut(&home.broker) else { return };
        if let Some(claimants) = residents.names.get_mut(&home.name) {
            claimants.retain(|claimant| claimant != topic);
            if claimants.is_empty() {
                residents.names.remove(&home.name);
            }
        }
        if let Some(shares) = residents.shares.get_mut(&topic.namespace) {
            shares.forget(&age_of(topic, home.created_seconds));
            if shares.is_empty() {
                residents.shares.remove(&topic.namespace);
            }
        }
        if residents.names.is_empty() {
            self.on.remove(&home.broker);
        }
    }

    fn names(&self, broker: &ObjectName) -> impl Iterator<Item = &Vec<ObjectName>> {
        self.on.get(broker).into_iter().flat_map(|residents| residents.names.values())
    }

    fn shares(&self, broker: &ObjectName, namespace: &str) -> Option<&Shares> {
        self.on.get(broker)?.shares.get(namespace)
    }
}

impl Homes {
    /// Listens to the watch of Topics.
    pub(crate) fn hear(&self, events: Events<Guarded<Topic>>) -> Events<Guarded<Topic>> {
        let homes = self.clone();
        events.inspect_ok(move |event| homes.note(event)).boxed()
    }

    /// Takes what the watch of Topics says.
    pub(crate) fn note(&self, event: &watcher::Event<Guarded<Topic>>) {
        let mut known = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            watcher::Event::Init => known.coming = Some(Table::default()),
            watcher::Event::InitApply(topic) => known.coming.get_or_insert_default().note(topic),
            watcher::Event::InitDone => known.now = known.coming.take().unwrap_or_default(),
            watcher::Event::Apply(topic) => known.now.note(topic),
            watcher::Event::Delete(topic) => known.now.forget(&name_of(topic)),
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Table) -> T) -> T {
        look(&self.shared.read().unwrap_or_else(PoisonError::into_inner).now)
    }

    /// The Topics that claim this name on this Broker.
    pub(super) fn claimants(&self, broker: &ObjectName, name: &str) -> Vec<ObjectName> {
        self.read(|table| {
            let claimants = table.on.get(broker).and_then(|residents| residents.names.get(name));
            claimants.cloned().unwrap_or_default()
        })
    }

    /// The Topics on this Broker, in order.
    pub(super) fn on(&self, broker: &ObjectName) -> BTreeSet<ObjectName> {
        self.read(|table| table.names(broker).flatten().cloned().collect())
    }

    /// How many Topics are on this Broker.
    #[must_use]
    pub fn count(&self, broker: &ObjectName) -> usize {
        self.read(|table| table.names(broker).map(Vec::len).sum())
    }

    /// What the other Topics of its namespace take of a Broker. Costs the same among ten and among ten thousand.
    pub(crate) fn others(&self, broker: &ObjectName, topic: &ObjectName) -> Used {
        self.read(|table| {
            let Some(shares) = table.shares(broker, &topic.namespace) else { return Used::default() };
            let home = table.of.get(topic).filter(|home| home.broker == *broker);
            home.map_or_else(|| shares.all(), |home| shares.others(&age_of(topic, home.created_seconds)))
        })
    }

    /// What those of them take that come before it. Costs a look at all of the namespace.
    pub(crate) fn ahead(&self, broker: &ObjectName, topic: &Claim) -> Used {
        self.read(|table| {
            let shares = table.shares(broker, &topic.object.namespace);
            shares.map_or_else(Used::default, |shares| {
                shares.ahead(&age_of(&topic.object, topic.created_seconds))
            })
        })
    }

    /// What each namespace takes of a Broker.
    pub(crate) fn used(&self, broker: &ObjectName) -> BTreeMap<String, Used> {
        self.read(|table| {
            let shares = table.on.get(broker).into_iter().flat_map(|residents| &residents.shares);
            shares.map(|(namespace, shares)| (namespace.clone(), shares.all())).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use watcher::Event;

    fn topic(name: u8, broker: u8, log_name: u8) -> Guarded<Topic> {
        serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": "shop", "name": format!("topic-{name}")},
            "spec": {"broker": {"name": format!("broker-{broker}")}, "topicName": format!("log-{log_name}")},
        }))
        .unwrap()
    }

    fn broker(number: u8) -> ObjectName {
        ObjectName::new("shop", format!("broker-{number}"))
    }

    /// Goal: a list that begins anew replaces what was known, at its end and not before.
    #[test]
    fn a_new_list_replaces_what_was_known() {
        let homes = Homes::default();
        homes.note(&Event::Apply(topic(1, 0, 0)));
        homes.note(&Event::Init);
        homes.note(&Event::InitApply(topic(2, 0, 0)));
        assert_eq!(homes.claimants(&broker(0), "log-0"), [ObjectName::new("shop", "topic-1")]);
        homes.note(&Event::InitDone);
        assert_eq!(homes.claimants(&broker(0), "log-0"), [ObjectName::new("shop", "topic-2")]);
        homes.note(&Event::Delete(topic(2, 0, 0)));
        assert_eq!(homes.count(&broker(0)), 0);
        assert!(homes.shared.read().unwrap().now.on.is_empty(), "nothing is kept of a Broker without Topics");
    }

    /// A Topic of one of two namespaces on one of two Brokers, made at one of three times.
    fn counting(name: u8, now: (u8, u8, u8, u8)) -> Guarded<Topic> {
        let (home, partitions, created, kind) = now;
        let namespace = format!("team-{}", name % 2);
        let mut topic = serde_json::json!({
            "metadata": {"namespace": namespace, "name": format!("topic-{name}")},
            "spec": {
                "broker": {"name": format!("broker-{home}"), "namespace": "shop"},
                "partitions": partitions + 1, "retention": {"size": "3"},
            },
        });
        // The youngest have no time.
        if created > 0 {
            topic["metadata"]["creationTimestamp"] =
                serde_json::json!(format!("2026-01-0{created}T00:00:00Z"));
        }
        if kind == 0 {
            topic["spec"]["managementPolicy"] = serde_json::json!("Observe");
        }
        if kind > 1 {
            topic["metadata"]["finalizers"] = serde_json::json!(["pinnace.dev/topic"]);
            topic["status"] = serde_json::json!({"topicId": "x", "partitions": 2});
        }
        if kind == 3 {
            topic["metadata"]["deletionTimestamp"] = serde_json::json!("2026-01-09T00:00:00Z");
            topic["spec"]["deletionPolicy"] = serde_json::json!("Delete");
        }
        serde_json::from_value(topic).unwrap()
    }

    fn sum<'a>(topics: impl Iterator<Item = (&'a Topic, bool)>) -> Used {
        let mut used = Used::default();
        for (topic, is_ahead) in topics {
            let share = if is_ahead { api::quota::counted(topic) } else { api::quota::held(topic) };
            share.into_iter().for_each(|share| used.add(share));
        }
        used
    }

    fn claim(topic: &Topic) -> Claim {
        let created = topic.metadata.creation_timestamp.as_ref();
        Claim { created_seconds: created.map_or(i64::MAX, |time| time.0.as_second()), object: name_of(topic) }
    }

    proptest! {
        /// Goal: what others take of a Broker, and what comes before a Topic, is what a look at all Topics says, after any
        /// comings, moves, changes and goings; nothing is kept of those that went.
        #[test]
        fn what_others_take_is_what_a_look_at_all_says(
            steps in prop::collection::vec((0..8_u8, (0..2_u8, 0..3_u8, 0..3_u8, 0..4_u8), any::<bool>()), 0..60),
        ) {
            let homes = Homes::default();
            let mut all = BTreeMap::new();
            for (name, now, goes) in steps {
                let topic = counting(name, now);
                if goes {
                    all.remove(&name);
                    homes.note(&Event::Delete(topic));
                } else {
                    all.insert(name, topic.decoded().unwrap().as_ref().clone());
                    homes.note(&Event::Apply(topic));
                }
            }
            for home in 0..2 {
                let place = broker(home);
                let on = |topic: &&Topic| topic.spec.broker.as_ref().unwrap().name.as_str() == place.name;
                for namespace in ["team-0", "team-1"] {
                    let here: Vec<&Topic> = all
                        .values()
                        .filter(on)
                        .filter(|topic| topic.metadata.namespace.as_deref() == Some(namespace))
                        .collect();
                    let total = sum(here.iter().map(|topic| (*topic, true)));
                    prop_assert_eq!(homes.used(&place).remove(namespace).unwrap_or_default(), total);
                    prop_assert_eq!(homes.others(&place, &ObjectName::new(namespace, "none")), total);
                    for topic in &here {
                        let own = claim(topic);
                        let others = || here.iter().filter(|other| name_of(**other) != own.object);
                        prop_assert_eq!(
                            homes.others(&place, &own.object),
                            sum(others().map(|other| (*other, true)))
                        );
                        prop_assert_eq!(
                            homes.ahead(&place, &own),
                            sum(others().map(|other| (*other, claim(other) < own)))
                        );
                    }
                }
            }
            for name in all.keys() {
                homes.note(&Event::Delete(counting(*name, (0, 0, 0, 0))));
            }
            prop_assert!(homes.shared.read().unwrap().now.on.is_empty());
        }

        /// Goal: after any comings, moves and goings it says what a look at all Topics says.
        #[test]
        fn it_says_what_a_look_at_all_says(
            steps in prop::collection::vec((0..6_u8, 0..3_u8, 0..3_u8, any::<bool>()), 0..60),
        ) {
            let homes = Homes::default();
            let mut all = BTreeMap::new();
            for (name, home, log_name, goes) in steps {
                if goes {
                    all.remove(&name);
                    homes.note(&Event::Delete(topic(name, home, log_name)));
                } else {
                    all.insert(name, (home, log_name));
                    homes.note(&Event::Apply(topic(name, home, log_name)));
                }
            }
            for place in 0..3 {
                let here: BTreeSet<ObjectName> = all
                    .iter()
                    .filter(|(_, (home, _))| *home == place)
                    .map(|(name, _)| ObjectName::new("shop", format!("topic-{name}")))
                    .collect();
                prop_assert_eq!(homes.count(&broker(place)), here.len());
                prop_assert_eq!(homes.on(&broker(place)), here.clone());
                for log_name in 0..3 {
                    let claim = here.iter().filter(|name| {
                        all.iter().any(|(number, claim)| {
                            *claim == (place, log_name) && name.name == format!("topic-{number}")
                        })
                    });
                    let found: BTreeSet<_> =
                        homes.claimants(&broker(place), &format!("log-{log_name}")).into_iter().collect();
                    prop_assert_eq!(found, claim.cloned().collect());
                }
            }
        }
    }
}
