//! All metrics of the broker. Label values are topic names and partitions, which configuration bounds, and
//! APIs.

mod compaction;
mod requests;

pub(crate) use compaction::CompactionMetrics;
use prometheus::{
    CounterVec, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};
pub(crate) use requests::RequestMetrics;

/// Upper bounds in seconds: a sync takes 0.1 ms on a good disk and seconds on a sick one.
const SYNC_BUCKETS: [f64; 13] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The metrics; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) sync_duration: Histogram,
    pub(crate) connections: IntGauge,
    pub(crate) refused_connections: IntCounterVec,
    pub(crate) topics: IntGauge,
    pub(crate) partitions: IntGauge,
    pub(crate) read_only_partitions: IntGauge,
    pub(crate) groups: IntGauge,
    pub(crate) group_members: IntGauge,
    pub(crate) transactional_ids: IntGauge,
    pub(crate) open_transactions: IntGauge,
    pub(crate) committed_transactions: IntCounter,
    pub(crate) aborted_transactions: IntCounter,
    pub(crate) timed_out_transactions: IntCounter,
    pub(crate) disk: DiskMetrics,
    pub(crate) requests: RequestMetrics,
    pub(crate) denied: IntCounter,
    pub(crate) quotas: QuotaMetrics,
    pub(crate) failed_authentications: IntCounter,
    pub(crate) scrubbed_bytes: IntCounter,
    pub(crate) evicted_producers: IntCounter,
    pub(crate) compaction: CompactionMetrics,
    pub(crate) commit: CommitMetrics,
    produced_bytes: IntCounterVec,
    produced_messages: IntCounterVec,
    fetched_bytes: IntCounterVec,
    fetched_messages: IntCounterVec,
    log_size: IntGaugeVec,
}

/// The metrics of quotas.
#[derive(Clone, Debug)]
pub(crate) struct QuotaMetrics {
    /// By what was over its quota.
    pub(crate) throttled: IntCounterVec,
    pub(crate) throttled_seconds: CounterVec,
    pub(crate) muted_connections: IntGauge,
    pub(crate) unmetered: IntCounter,
}

impl QuotaMetrics {
    fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            throttled: make.by_quota(
                "pinnace_broker_throttled_requests_total",
                "Requests and connections over a quota, by what it is of.",
            )?,
            throttled_seconds: make.register(CounterVec::new(
                Opts::new(
                    "pinnace_broker_throttled_seconds_total",
                    "Time that clients over a quota were told to wait.",
                ),
                &["quota"],
            )?)?,
            muted_connections: make.gauge(
                "pinnace_broker_muted_connections",
                "Connections that are not read from because their client is over a quota.",
            )?,
            unmetered: make.counter(
                "pinnace_broker_unmetered_requests_total",
                "Requests that were not held to their quota, because too many clients are counted already.",
            )?,
        })
    }
}

/// The disk of the data folder.
#[derive(Clone, Debug)]
pub(crate) struct DiskMetrics {
    pub(crate) capacity_bytes: IntGauge,
    pub(crate) used_bytes: IntGauge,
    pub(crate) low: IntGauge,
    pub(crate) open_files_max: IntGauge,
}

/// How logs become durable.
#[derive(Clone, Debug)]
pub(crate) struct CommitMetrics {
    pub(crate) rounds: IntCounter,
    pub(crate) synced_logs: IntCounterVec,
    pub(crate) journal_written_bytes: IntCounter,
    pub(crate) journal_used_bytes: IntGauge,
    pub(crate) journal_stored_logs: IntCounter,
    pub(crate) journal_replayed_batches: IntCounter,
    pub(crate) journal_failed: IntGauge,
}

/// The metrics of one topic.
#[derive(Clone, Debug)]
pub(crate) struct TopicMetrics {
    pub(crate) produced_bytes: IntCounter,
    pub(crate) produced_messages: IntCounter,
    pub(crate) fetched_bytes: IntCounter,
    pub(crate) fetched_messages: IntCounter,
    pub(crate) log_size: IntGauge,
}

/// Makes and registers metrics.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::new(name, help)?)
    }

    fn real(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.register(Gauge::new(name, help)?)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::new(name, help)?)
    }

    fn by(&self, label: &str, name: &str, help: &str) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Opts::new(name, help), &[label])?)
    }

    fn by_quota(&self, name: &str, help: &str) -> Result<IntCounterVec, prometheus::Error> {
        self.by("quota", name, help)
    }

    fn by_topic(&self, name: &str, help: &str) -> Result<IntCounterVec, prometheus::Error> {
        self.by("topic", name, help)
    }
}

impl DiskMetrics {
    fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            capacity_bytes: make
                .gauge("pinnace_broker_disk_capacity_bytes", "Size of the data folder's file system.")?,
            used_bytes: make
                .gauge("pinnace_broker_disk_used_bytes", "Bytes used on the data folder's file system.")?,
            low: make.gauge(
                "pinnace_broker_disk_nearly_full",
                "1 while produce requests are refused because the disk is nearly full.",
            )?,
            open_files_max: make.gauge(
                "pinnace_broker_log_files_open_max",
                "Files of logs that are open at a time; others are opened when they are needed.",
            )?,
        })
    }
}

impl CommitMetrics {
    fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            rounds: make
                .counter("pinnace_broker_commit_rounds_total", "Rounds in which logs were made durable.")?,
            synced_logs: make.by(
                "place",
                "pinnace_broker_synced_logs_total",
                "Logs made durable in a round, in the journal together or each in its own file.",
            )?,
            journal_written_bytes: make.counter(
                "pinnace_broker_journal_written_bytes_total",
                "Bytes of batches that were written to the journal.",
            )?,
            journal_used_bytes: make.gauge(
                "pinnace_broker_journal_used_bytes",
                "Bytes of the journal that logs still need.",
            )?,
            journal_stored_logs: make.counter(
                "pinnace_broker_journal_stored_logs_total",
                "Logs synced in their own files so that the journal can be used again.",
            )?,
            journal_replayed_batches: make.counter(
                "pinnace_broker_journal_replayed_batches_total",
                "Batches that only the journal had at the start, put back into their logs.",
            )?,
            journal_failed: make.gauge(
                "pinnace_broker_journal_failed",
                "1 when the disk failed under the journal: every log is synced in its own file until a restart.",
            )?,
        })
    }
}

impl Metrics {
    /// Registers all metrics.
    ///
    /// # Errors
    /// A name is taken in this registry.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let make = Maker(registry);
        let sync = HistogramOpts::new(
            "pinnace_log_sync_duration_seconds",
            "Time that a sync of a log to disk took.",
        );
        let size = Opts::new("pinnace_log_size_bytes", "Bytes of record batches, by topic.");
        Ok(Self {
            sync_duration: make.register(Histogram::with_opts(sync.buckets(SYNC_BUCKETS.to_vec()))?)?,
            connections: make.gauge("pinnace_broker_connections", "Client connections that are open.")?,
            refused_connections: make.by(
                "reason",
                "pinnace_broker_refused_connections_total",
                "Connections closed: too many, too fast, a failed handshake, or too large a request.",
            )?,
            topics: make.gauge("pinnace_broker_topics", "Topics.")?,
            partitions: make.gauge("pinnace_broker_partitions", "Partitions of all topics.")?,
            read_only_partitions: make.gauge(
                "pinnace_broker_read_only_partitions",
                "Partitions that take no writes because of damage or a failed disk.",
            )?,
            groups: make.gauge("pinnace_broker_groups", "Consumer groups.")?,
            group_members: make.gauge("pinnace_broker_group_members", "Members of all consumer groups.")?,
            transactional_ids: make
                .gauge("pinnace_broker_transactional_ids", "Transactional ids that are known.")?,
            open_transactions: make
                .gauge("pinnace_broker_open_transactions", "Transactions that have begun and not ended.")?,
            committed_transactions: make.counter(
                "pinnace_broker_committed_transactions_total",
                "Transactions that were committed.",
            )?,
            aborted_transactions: make
                .counter("pinnace_broker_aborted_transactions_total", "Transactions that were aborted.")?,
            timed_out_transactions: make.counter(
                "pinnace_broker_timed_out_transactions_total",
                "Transactions that were aborted for being open too long.",
            )?,
            requests: RequestMetrics::new(&make)?,
            denied: make
                .counter("pinnace_broker_denied_requests_total", "Things that an ACL did not allow.")?,
            quotas: QuotaMetrics::new(&make)?,
            failed_authentications: make.counter(
                "pinnace_broker_failed_authentications_total",
                "Connections closed because a SASL authentication failed.",
            )?,
            evicted_producers: make.counter(
                "pinnace_broker_evicted_producers_total",
                "Idempotent producers that a partition forgot before their time, to make room for others.",
            )?,
            scrubbed_bytes: make.counter(
                "pinnace_broker_scrubbed_bytes_total",
                "Bytes of batches read through after an unclean end.",
            )?,
            compaction: CompactionMetrics::new(&make)?,
            disk: DiskMetrics::new(&make)?,
            commit: CommitMetrics::new(&make)?,
            produced_bytes: make
                .by_topic("pinnace_broker_produced_bytes_total", "Bytes of batches taken.")?,
            produced_messages: make.by_topic("pinnace_broker_produced_messages_total", "Messages taken.")?,
            fetched_bytes: make.by_topic("pinnace_broker_fetched_bytes_total", "Bytes of batches given.")?,
            fetched_messages: make.by_topic("pinnace_broker_fetched_messages_total", "Messages given.")?,
            log_size: make.register(IntGaugeVec::new(size, &["topic"])?)?,
        })
    }

    /// The metrics of one topic.
    pub(crate) fn topic(&self, topic: &str) -> TopicMetrics {
        TopicMetrics {
            produced_bytes: self.produced_bytes.with_label_values(&[topic]),
            produced_messages: self.produced_messages.with_label_values(&[topic]),
            fetched_bytes: self.fetched_bytes.with_label_values(&[topic]),
            fetched_messages: self.fetched_messages.with_label_values(&[topic]),
            log_size: self.log_size.with_label_values(&[topic]),
        }
    }

    /// Forgets a topic that is gone. Metrics that were not there need no forgetting.
    pub(crate) fn forget_topic(&self, topic: &str) {
        let by_topic =
            [&self.produced_bytes, &self.produced_messages, &self.fetched_bytes, &self.fetched_messages];
        for metric in by_topic {
            drop(metric.remove_label_values(&[topic]));
        }
        drop(self.log_size.remove_label_values(&[topic]));
    }
}
