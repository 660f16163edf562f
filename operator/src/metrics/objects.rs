//! How many objects are not Ready, read from the stores when somebody asks: nothing is counted while nobody looks.
//! Label values are our kinds and the namespaces that have such an object.

use crate::{
    cluster::{Cluster, Kind},
    guard::Guarded,
};
use api::condition::is_ready;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use prometheus::{
    IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use serde::de::DeserializeOwned;
use std::{collections::BTreeMap, fmt::Debug};

/// The stores, as something that Prometheus can ask.
#[derive(Debug)]
pub struct NotReadyObjects {
    cluster: Cluster,
    described: IntGaugeVec,
}

/// Objects by namespace.
type Counts = BTreeMap<String, i64>;

fn gauge() -> Result<IntGaugeVec, prometheus::Error> {
    let options = Opts::new(
        "pinnace_not_ready_objects",
        "Objects whose condition Ready is not True for their newest spec; a namespace without any is not there.",
    );
    IntGaugeVec::new(options, &["kind", "namespace"])
}

impl NotReadyObjects {
    /// Looks into the stores of `cluster`.
    ///
    /// # Errors
    /// When the metric's name or a label cannot be, which a test excludes.
    pub fn new(cluster: Cluster) -> Result<Self, prometheus::Error> {
        Ok(Self { cluster, described: gauge()? })
    }

    fn counts(&self) -> [(&'static str, Counts); 4] {
        let Cluster { topics, channels, brokers, subscriptions, .. } = &self.cluster;
        [
            ("Topic", not_ready(topics, |topic| topic.status.as_ref().map(|status| &*status.conditions))),
            (
                "Channel",
                not_ready(channels, |channel| channel.status.as_ref().map(|status| &*status.conditions)),
            ),
            ("Broker", not_ready(brokers, |broker| broker.status.as_ref().map(|status| &*status.conditions))),
            (
                "Subscription",
                not_ready(subscriptions, |one| one.status.as_ref().map(|status| &*status.conditions)),
            ),
        ]
    }
}

impl Collector for NotReadyObjects {
    fn desc(&self) -> Vec<&Desc> {
        self.described.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // A new one each time: what became Ready must not stay, and two may ask at once.
        let Ok(gauge) = gauge() else { return Vec::new() };
        for (kind, counts) in self.counts() {
            for (namespace, count) in counts {
                gauge.with_label_values(&[kind, &namespace]).set(count);
            }
        }
        gauge.collect()
    }
}

/// An object that could not be decoded is not Ready; one that is going away does not count.
fn not_ready<K>(kind: &Kind<Guarded<K>>, conditions: fn(&K) -> Option<&[Condition]>) -> Counts
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let mut counts = Counts::new();
    for object in kind.all() {
        let metadata = object.meta();
        let ready = object
            .decoded()
            .is_some_and(|decoded| is_ready(conditions(decoded).unwrap_or_default(), metadata.generation));
        if !ready && metadata.deletion_timestamp.is_none() {
            let namespace = metadata.namespace.clone().unwrap_or_default();
            let count = counts.entry(namespace).or_insert(0_i64);
            *count = count.saturating_add(1);
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Objects;
    use prometheus::Registry;

    const OBJECTS: &str = r#"
kind: Topic
metadata: {name: well, namespace: shop, generation: 1}
spec: {}
status:
  conditions: [{type: Ready, status: "True", reason: Ready, message: "", observedGeneration: 1, lastTransitionTime: "2026-01-01T00:00:00Z"}]
---
kind: Topic
metadata: {name: stale, namespace: shop, generation: 2}
spec: {}
status:
  conditions: [{type: Ready, status: "True", reason: Ready, message: "", observedGeneration: 1, lastTransitionTime: "2026-01-01T00:00:00Z"}]
---
kind: Topic
metadata: {name: new, namespace: shop, generation: 1}
spec: {}
---
kind: Topic
metadata: {name: going, namespace: shop, generation: 1, deletionTimestamp: "2026-01-01T00:00:00Z"}
spec: {}
---
kind: Broker
metadata: {name: undecodable, namespace: lab, generation: 1}
spec: {engine: Abacus}
"#;

    /// Goal: what is not Ready for its newest spec, or cannot be read, is counted in its namespace; what is well
    /// or goes away is not.
    #[test]
    fn counts_what_is_not_ready() {
        let registry = Registry::new();
        let cluster = Objects::from_yaml(OBJECTS).cluster();
        registry.register(Box::new(NotReadyObjects::new(cluster).unwrap())).unwrap();
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                r#"pinnace_not_ready_objects{kind="Broker",namespace="lab"} 1"#,
                r#"pinnace_not_ready_objects{kind="Topic",namespace="shop"} 2"#,
            ]
        );
    }
}
