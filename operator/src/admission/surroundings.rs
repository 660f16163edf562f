//! The watched cluster as validation sees it. Reads stores in memory and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::quota::Used;
use api::{Broker, Topic};
use control::ObjectName;

use super::validate::Surroundings;
use crate::cluster::Cluster;

impl Surroundings for Cluster {
    fn broker(&self, namespace: &str, name: &str) -> Option<Arc<Broker>> {
        Self::broker(self, &ObjectName::new(namespace, name))
    }

    fn topics_on(&self, (namespace, name): (&str, &str)) -> Vec<Arc<Topic>> {
        Self::topics_on(self, &ObjectName::new(namespace, name))
    }

    fn claimants(&self, (namespace, name): (&str, &str), log_name: &str) -> Vec<Arc<Topic>> {
        self.topics_claiming(&ObjectName::new(namespace, name), log_name)
    }

    fn used_by_others(&self, (namespace, name): (&str, &str), topic: (&str, &str)) -> Used {
        self.homes.others(&ObjectName::new(namespace, name), &ObjectName::new(topic.0, topic.1))
    }

    fn used(&self, (namespace, name): (&str, &str)) -> BTreeMap<String, Used> {
        self.homes.used(&ObjectName::new(namespace, name))
    }

    fn namespace_labels(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        Self::namespace_labels(self, namespace)
    }

    fn uid_range(&self, namespace: &str) -> Option<String> {
        Self::uid_range(self, namespace)
    }

    fn outside(&self, namespace: &str) -> Option<String> {
        self.scope.outside(namespace)
    }

    fn namespace_is_going(&self, namespace: &str) -> bool {
        let found = self.namespaces.get(&ObjectName::new("", namespace));
        found.is_none_or(|found| found.metadata.deletion_timestamp.is_some())
    }
}
