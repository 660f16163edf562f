//! How the sidecars of all Pods stand to what is injected now, read from the store when somebody asks.

use crate::{
    cluster::Cluster,
    workloads::upgrade::{Policy, State, state},
};
use prometheus::{
    IntGauge, IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// The store, as something that Prometheus can ask.
#[derive(Debug)]
pub struct Sidecars {
    cluster: Cluster,
    policy: Policy,
    described: Gauges,
}

#[derive(Debug)]
struct Gauges {
    states: IntGaugeVec,
    older: IntGauge,
}

impl Gauges {
    fn new() -> Result<Self, prometheus::Error> {
        let states = Opts::new(
            "pinnace_sidecars",
            "Sidecars of Pods that run, by how they stand to the image that is injected now.",
        );
        Ok(Self {
            states: IntGaugeVec::new(states, &["state"])?,
            older: IntGauge::new(
                "pinnace_sidecars_with_older_settings",
                "Sidecars whose settings, but the image, are not those that are injected now: they get them with their next Pod.",
            )?,
        })
    }
}

impl Sidecars {
    /// Looks into the store of `cluster`.
    ///
    /// # Errors
    /// When the metric's name or a label cannot be, which a test excludes.
    pub fn new(cluster: Cluster, policy: Policy) -> Result<Self, prometheus::Error> {
        Ok(Self { cluster, policy, described: Gauges::new()? })
    }
}

impl Collector for Sidecars {
    fn desc(&self) -> Vec<&Desc> {
        [self.described.states.desc(), self.described.older.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // New ones each time: two may ask at once.
        let Ok(Gauges { states, older }) = Gauges::new() else { return Vec::new() };
        for state in State::ALL {
            states.with_label_values(&[state.name()]);
        }
        let now_ms = runtime::clock::unix_ms();
        for pod in self.cluster.pods.all() {
            let Some(state) = state(&pod, &self.policy, now_ms) else { continue };
            states.with_label_values(&[state.name()]).inc();
            let is_older =
                pod.sidecar.as_ref().is_some_and(|sidecar| sidecar.settings != self.policy.settings);
            older.add(i64::from(is_older));
        }
        [states.collect(), older.collect()].concat()
    }
}
