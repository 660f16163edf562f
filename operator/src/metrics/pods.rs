//! Pods without the sidecar that they asked for, read from the store when somebody asks.
//! Label values are the namespaces that have such a Pod, and reasons.

use crate::{
    cluster::{Cluster, name_of},
    workloads::missed::reason,
};
use prometheus::{
    IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// The store, as something that Prometheus can ask.
#[derive(Debug)]
pub struct UninjectedPods {
    cluster: Cluster,
    excluded_namespaces: Vec<String>,
    described: IntGaugeVec,
}

fn gauge() -> Result<IntGaugeVec, prometheus::Error> {
    let options = Opts::new(
        "pinnace_uninjected_pods",
        "Pods that run without the sidecar that their label asks for; a namespace without any is not there.",
    );
    IntGaugeVec::new(options, &["namespace", "reason"])
}

impl UninjectedPods {
    /// Looks into the store of `cluster`.
    ///
    /// # Errors
    /// When the metric's name or a label cannot be, which a test excludes.
    pub fn new(cluster: Cluster, excluded_namespaces: Vec<String>) -> Result<Self, prometheus::Error> {
        Ok(Self { cluster, excluded_namespaces, described: gauge()? })
    }
}

impl Collector for UninjectedPods {
    fn desc(&self) -> Vec<&Desc> {
        self.described.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // A new one each time: what is mended must not stay, and two may ask at once.
        let Ok(gauge) = gauge() else { return Vec::new() };
        for pod in self.cluster.pods.all() {
            if let Some(reason) = reason(&pod, &self.excluded_namespaces) {
                gauge.with_label_values(&[&*name_of(pod.as_ref()).namespace, reason]).inc();
            }
        }
        gauge.collect()
    }
}
