//! Where each Topic lives: its Broker and its name there. Asked for each Topic and each admission, so that neither
//! costs a look at all Topics.

use super::{Events, name_of};
use crate::guard::Guarded;
use api::Topic;
use control::ObjectName;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::{ResourceExt as _, runtime::watcher};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

/// A Broker, and a name on it.
type Home = (ObjectName, String);

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
    /// Nearly always one claims a name; a set would take the room of eleven.
    on: HashMap<ObjectName, HashMap<String, Vec<ObjectName>>>,
}

impl Table {
    /// A Topic that cannot be decoded lives nowhere.
    fn note(&mut self, topic: &Guarded<Topic>) {
        let own = name_of(topic);
        self.forget(&own);
        let Some(topic) = topic.decoded() else { return };
        let (namespace, name) = topic.spec.broker_of(&own.namespace);
        let home = (ObjectName::new(namespace, name), topic.spec.log_name(&own.namespace, &topic.name_any()));
        let names = self.on.entry(home.0.clone()).or_default();
        names.entry(home.1.clone()).or_insert_with(|| Vec::with_capacity(1)).push(own.clone());
        self.of.insert(own, home);
    }

    fn forget(&mut self, topic: &ObjectName) {
        let Some((broker, name)) = self.of.remove(topic) else { return };
        let Some(names) = self.on.get_mut(&broker) else { return };
        if let Some(claimants) = names.get_mut(&name) {
            claimants.retain(|claimant| claimant != topic);
            if claimants.is_empty() {
                names.remove(&name);
            }
        }
        if names.is_empty() {
            self.on.remove(&broker);
        }
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

    /// The Topics that claim this name on this Broker.
    pub(super) fn claimants(&self, broker: &ObjectName, name: &str) -> Vec<ObjectName> {
        let known = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        let claimants = known.now.on.get(broker).and_then(|names| names.get(name));
        claimants.cloned().unwrap_or_default()
    }

    /// The Topics on this Broker, in order.
    pub(super) fn on(&self, broker: &ObjectName) -> BTreeSet<ObjectName> {
        let known = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        let names = known.now.on.get(broker);
        names.into_iter().flat_map(HashMap::values).flatten().cloned().collect()
    }

    /// How many Topics are on this Broker.
    #[must_use]
    pub fn count(&self, broker: &ObjectName) -> usize {
        let known = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        let names = known.now.on.get(broker);
        names.into_iter().flat_map(HashMap::values).map(Vec::len).sum()
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

    proptest! {
        /// Goal: after any comings, moves and goings it says what a look at all Topics says.
        #[test]
        fn it_says_what_a_look_at_all_says(
            steps in prop::collection::vec((0..6_u8, 0..3_u8, 0..3_u8, any::<bool>()), 0..60),
        ) {
            let homes = Homes::default();
            let mut all = std::collections::BTreeMap::new();
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
