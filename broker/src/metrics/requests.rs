//! How many requests came, by API.

use super::Maker;
use prometheus::IntCounter;
use std::sync::Arc;

/// One counter for each API that is served, in the order of the table of what is supported.
#[derive(Clone, Debug)]
pub(crate) struct RequestMetrics(Arc<[IntCounter]>);

impl RequestMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let by_api = make.by(
            "api",
            "pinnace_broker_requests_total",
            "Requests that came, by the name that Kafka's documentation gives the API; none while nobody asks.",
        )?;
        let names = crate::dispatch::SUPPORTED.iter().map(|entry| entry.api_key.name());
        Ok(Self(names.map(|name| by_api.with_label_values(&[name])).collect()))
    }

    /// A request of the API in this row of the table came.
    pub(crate) fn came(&self, row: usize) {
        if let Some(counter) = self.0.get(row) {
            counter.inc();
        }
    }

    /// How many came of the API in this row.
    #[cfg(test)]
    pub(crate) fn count(&self, row: usize) -> u64 {
        self.0[row].get()
    }
}
