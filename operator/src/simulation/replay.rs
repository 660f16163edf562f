//! What must hold at each moment, from the API server's own history and the changes that brokers made: nothing is deleted
//! that is to be kept, and whatever goes leaves nothing behind.

use super::{
    judge::{address_of, age, broker_of, is_going, log_name, name_of, rules_for, text},
    world::World,
};
use crate::{
    kafka::Address,
    testing::{Node, make},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// A topic is about to be deleted: somebody must have asked for it.
pub(super) fn may_be_deleted(world: &World, address: &Address, name: &str) {
    let claims: Vec<Value> = world
        .all("Topic")
        .into_iter()
        .filter(|topic| address_of(&broker_of(topic)) == *address && log_name(topic) == name)
        .collect();
    let holder = claims.iter().min_by_key(|topic| age(topic));
    let asked = holder.is_some_and(|topic| {
        let says_so = topic["spec"]["deletionPolicy"] == "Delete" || world.is_reconsidered(&name_of(topic));
        is_going(topic) && says_so
    });
    if !asked {
        world.wrong(format!("topic {name} is deleted though nobody asked for it: {claims:?}"));
    }
}

#[derive(Default)]
struct Past {
    nodes: BTreeMap<String, Node>,
    /// With the version since when they are there.
    brokers: BTreeMap<(String, String), (u64, Value)>,
    topics: BTreeMap<(String, String), Value>,
    /// Since when they are going.
    going: BTreeMap<(String, String), u64>,
}

/// Each Topic that went had its topic closed, and deleted if it said so, while its Broker was there to do it.
pub(super) fn nothing_leaked(world: &World) -> Result<(), String> {
    let (mut past, mut made) = (Past::default(), world.made().into_iter().peekable());
    for (version, event) in world.api.history() {
        // A change counts for what happened after it.
        while let Some((_, address, change)) = made.next_if(|(at, _, _)| *at < version) {
            make(past.nodes.entry(address.bootstrap).or_default(), &change);
        }
        past.happened(version, &event)?;
    }
    Ok(())
}

impl Past {
    fn happened(&mut self, version: u64, event: &Value) -> Result<(), String> {
        let object = &event["object"];
        let gone = event["type"] == "DELETED";
        let name = name_of(object);
        match text(&object["kind"]) {
            "Broker" if gone => drop(self.brokers.remove(&name)),
            "Broker" => self.brokers.entry(name).or_insert((version, Value::Null)).1 = object.clone(),
            "Namespace" if gone => {
                // Its volumes went with it.
                let inside = format!(".{}.svc:", name.1);
                self.nodes.retain(|address, _| !address.contains(&inside));
            }
            "Topic" if gone => {
                let before = self.topics.remove(&name);
                let since = self.going.remove(&name).unwrap_or(version);
                self.topic_went(before.as_ref().unwrap_or(object), since)?;
            }
            "Topic" => {
                if is_going(object) {
                    self.going.entry(name.clone()).or_insert(version);
                }
                self.topics.insert(name, object.clone());
            }
            _ => {}
        }
        Ok(())
    }

    fn topic_went(&self, topic: &Value, since: u64) -> Result<(), String> {
        let home = broker_of(topic);
        let claims = self
            .topics
            .values()
            .filter(|other| broker_of(other) == home && log_name(other) == log_name(topic));
        let is_holder = claims.map(age).min().is_none_or(|oldest| age(topic) < oldest);
        // One that was made anew after somebody asked is another one.
        let broker_stays =
            self.brokers.get(&home).is_some_and(|(made, broker)| *made < since && !is_going(broker));
        let never_there = topic["status"]["topicId"].is_null();
        if !is_holder || !broker_stays || never_there || topic["spec"]["managementPolicy"] == "Observe" {
            return Ok(());
        }
        let Some(node) = self.nodes.get(&address_of(&home).bootstrap) else { return Ok(()) };
        let name = log_name(topic);
        let rules = rules_for(node, &name);
        if !rules.is_empty() {
            return Err(format!("{rules:?} outlived {topic}"));
        }
        if topic["spec"]["deletionPolicy"] == "Delete" && node.topics.contains_key(&name) {
            return Err(format!("topic {name} outlived {topic}"));
        }
        Ok(())
    }
}
