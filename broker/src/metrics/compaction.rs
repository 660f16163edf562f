//! Metrics of compaction.

use prometheus::{Gauge, IntCounter, IntGauge};

use super::Maker;

/// What compaction does; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct CompactionMetrics {
    pub(crate) runs: IntCounter,
    pub(crate) failures: IntCounter,
    pub(crate) read_bytes: IntCounter,
    pub(crate) written_bytes: IntCounter,
    pub(crate) uncleanable_partitions: IntGauge,
    pub(crate) dirty_ratio: Gauge,
    pub(crate) last_duration: Gauge,
}

impl CompactionMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            runs: make.counter("pinnace_broker_compactions_total", "Compactions of a partition that ended well.")?,
            failures: make.counter(
                "pinnace_broker_failed_compactions_total",
                "Compactions of a partition that failed; the log says why.",
            )?,
            read_bytes: make
                .counter("pinnace_broker_compaction_read_bytes_total", "Bytes of batches read to compact.")?,
            written_bytes: make.counter(
                "pinnace_broker_compaction_written_bytes_total",
                "Bytes of batches written by compaction.",
            )?,
            uncleanable_partitions: make.gauge(
                "pinnace_broker_uncleanable_partitions",
                "Partitions whose compaction failed and is not tried again; the log names each and says what to do.",
            )?,
            dirty_ratio: make.real(
                "pinnace_broker_compaction_dirty_ratio",
                "Of the compacted partition that is worst off: which part of it could be compacted and is not.",
            )?,
            last_duration: make.real(
                "pinnace_broker_last_compaction_duration_seconds",
                "Time that the last compaction of a partition took, with its rests.",
            )?,
        })
    }
}
