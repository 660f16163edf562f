//! What the admission webhooks count.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// Answers that a webhook gives, so that each is there with 0 from the start.
const RESULTS: [(&str, &[&str]); 2] = [
    (
        "inject",
        &[
            "injected",
            "refused",
            "not_labelled",
            "static_pod",
            "already_injected",
            "other_object",
            "bad_request",
        ],
    ),
    ("validate", &["valid", "valid_with_warnings", "refused", "bad_request"]),
];
/// In seconds; the API server waits, so anything past 100 ms is late.
const BUCKETS: [f64; 7] = [0.000_25, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5];

/// All of them. Clones share the values.
#[derive(Debug, Clone)]
pub struct AdmissionMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
}

impl AdmissionMetrics {
    /// Declares them in `registry`.
    ///
    /// # Errors
    /// When the registry has one of these names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = Opts::new(
            "pinnace_admission_requests_total",
            "Requests of the API server, by webhook and by what became of them.",
        );
        let duration = HistogramOpts::new(
            "pinnace_admission_duration_seconds",
            "From the first byte of a request of the API server to its answer.",
        );
        let metrics = Self {
            requests: IntCounterVec::new(requests, &["webhook", "result"])?,
            duration: HistogramVec::new(duration.buckets(BUCKETS.to_vec()), &["webhook"])?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        for (webhook, results) in RESULTS {
            for result in results {
                metrics.requests.with_label_values(&[webhook, result]);
            }
        }
        Ok(metrics)
    }

    /// One request was answered.
    pub fn answered(&self, webhook: &str, result: &str, took: Duration) {
        self.requests.with_label_values(&[webhook, result]).inc();
        self.duration.with_label_values(&[webhook]).observe(took.as_secs_f64());
    }
}
