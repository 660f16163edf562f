//! What the control plane counts.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// All of them. Clones share the values.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Sidecars that count as alive.
    pub sidecars: IntGauge,
    /// Views sent.
    pub views_sent: IntCounter,
    /// Reports taken.
    pub reports: IntCounter,
    /// Answers to Certify, by `result`: issued, refused, unavailable, invalid.
    pub certificates: IntCounterVec,
    /// When certificates end, by `certificate`: root, control_plane, and what the owner adds.
    pub certificate_expiration: IntGaugeVec,
}

impl Metrics {
    /// Declares them in `registry`.
    ///
    /// # Errors
    /// When the registry has one of these names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            sidecars: IntGauge::new(
                "pinnace_control_sidecars",
                "Sidecars that follow the control plane, and those that left a moment ago.",
            )?,
            views_sent: IntCounter::new("pinnace_control_views_sent_total", "Views sent to sidecars.")?,
            reports: IntCounter::new("pinnace_control_reports_total", "Reports taken from sidecars.")?,
            certificates: IntCounterVec::new(
                Opts::new("pinnace_control_certificates_total", "Requests for a sidecar's certificate."),
                &["result"],
            )?,
            certificate_expiration: IntGaugeVec::new(
                Opts::new(
                    "pinnace_certificate_expiration_timestamp_seconds",
                    "When a certificate ends to be valid, in seconds since the Unix epoch.",
                ),
                &["certificate"],
            )?,
        };
        registry.register(Box::new(metrics.sidecars.clone()))?;
        registry.register(Box::new(metrics.views_sent.clone()))?;
        registry.register(Box::new(metrics.reports.clone()))?;
        registry.register(Box::new(metrics.certificates.clone()))?;
        registry.register(Box::new(metrics.certificate_expiration.clone()))?;
        for result in ["issued", "refused", "unavailable", "invalid"] {
            metrics.certificates.with_label_values(&[result]);
        }
        Ok(metrics)
    }
}
