//! All metrics of the operator. Label values are kinds, results and webhooks, bounded by this
//! code, and namespaces of our objects.

mod admission;
mod objects;
mod pods;
mod sidecars;

pub use admission::AdmissionMetrics;
pub use objects::NotReadyObjects;
pub use pods::UninjectedPods;
pub use sidecars::Sidecars;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, core::Collector};
use std::time::Duration;

/// Seconds: a reconcile that only compares takes well below a millisecond, one that waits for a broker seconds.
const RECONCILE_BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];
/// What the whole operator counts.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Reconciles of the controllers.
    pub reconciles: ReconcileMetrics,
    /// Answers of the webhooks.
    pub admission: AdmissionMetrics,
    /// 1 while this replica holds the Lease.
    pub leader: IntGauge,
    /// Upgrades of sidecars in place.
    pub sidecar_upgrades: IntCounterVec,
    /// What the control plane counts; it also says when certificates end.
    pub control_plane: control_plane::Metrics,
}

/// What the controllers count.
#[derive(Clone, Debug)]
pub struct ReconcileMetrics {
    duration: HistogramVec,
    writes: IntCounterVec,
    broker_changes: IntCounterVec,
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

impl Metrics {
    /// Registers all metrics.
    ///
    /// # Errors
    /// When one of the names is registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let upgrades = Opts::new(
            "pinnace_sidecar_upgrades_total",
            "Sidecars that were given another image while their Pod ran, by what came of it.",
        );
        let upgrades = IntCounterVec::new(upgrades, &["outcome"])?;
        for outcome in ["begun", "done", "failed", "refused"] {
            upgrades.with_label_values(&[outcome]);
        }
        let leader = IntGauge::new("pinnace_leader", "1 while this replica holds the Lease and writes")?;
        Ok(Self {
            reconciles: ReconcileMetrics::new(registry)?,
            admission: AdmissionMetrics::register(registry)?,
            leader: registered(registry, leader)?,
            sidecar_upgrades: registered(registry, upgrades)?,
            control_plane: control_plane::Metrics::register(registry)?,
        })
    }
}

impl ReconcileMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let duration = HistogramVec::new(
            HistogramOpts::new("pinnace_reconcile_duration_seconds", "how long a reconcile took")
                .buckets(RECONCILE_BUCKETS.to_vec()),
            &["kind", "result"],
        )?;
        let writes = IntCounterVec::new(
            Opts::new("pinnace_api_writes_total", "writes to the Kubernetes API; none while nothing changes"),
            &["kind", "verb"],
        )?;
        let broker_changes = IntCounterVec::new(
            Opts::new("pinnace_broker_changes_total", "changes that were made on brokers"),
            &["change", "result"],
        )?;
        Ok(Self {
            duration: registered(registry, duration)?,
            writes: registered(registry, writes)?,
            broker_changes: registered(registry, broker_changes)?,
        })
    }

    /// A reconcile of `kind` ended.
    pub fn reconciled(&self, kind: &str, result: &str, took: Duration) {
        self.duration.with_label_values(&[kind, result]).observe(took.as_secs_f64());
    }

    /// Something was written to the Kubernetes API.
    pub fn written(&self, kind: &str, verb: &str) {
        self.writes.with_label_values(&[kind, verb]).inc();
    }

    /// A change was tried on a broker.
    pub fn changed(&self, change: &str, result: &str) {
        self.broker_changes.with_label_values(&[change, result]).inc();
    }
}
