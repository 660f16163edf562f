//! All metrics of the sidecar. Labels are objects of the view and fixed words, never what a client sends.

use crate::messaging::{ChannelName, TopicName};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

const NAME_LABELS: [&str; 3] = ["kind", "namespace", "name"];
const REASON_LABELS: [&str; 4] = ["kind", "namespace", "name", "reason"];

/// The registry and what is on it. Clones share the values.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub registry: Registry,
    /// Labels kind, namespace, name.
    pub published: IntCounterVec,
    /// Labels kind, namespace, name.
    pub delivered: IntCounterVec,
    /// Labels kind, namespace, name, reason.
    pub dropped: IntCounterVec,
    /// Labels kind, namespace, name.
    pub gap: IntCounterVec,
    /// Labels kind, namespace, name, operation = publish, subscribe; side = app, peer.
    pub audited: IntCounterVec,
    /// Labels kind, namespace, name, reason.
    pub unanswered: IntCounterVec,
    /// Labels kind, namespace, name.
    pub dead_letters: IntCounterVec,
    /// Labels kind, namespace, name.
    pub recorded: IntCounterVec,
    /// Labels kind, namespace, name.
    pub unrecorded: IntCounterVec,
    /// Labels kind, namespace, name.
    pub record_waiting: IntGaugeVec,
    /// Labels kind, namespace, name.
    pub spilled: IntCounterVec,
    /// Labels kind, namespace, name.
    pub spill_waiting: IntGaugeVec,
    /// Labels kind, namespace, name.
    pub lag: IntGaugeVec,
    /// Labels kind, namespace, name.
    pub replay_messages: IntGaugeVec,
    /// Labels kind, namespace, name.
    pub replay_bytes: IntGaugeVec,
    /// Labels kind, namespace, name.
    pub publish_duration: HistogramVec,
    /// Labels kind, namespace, name.
    pub delivery_duration: HistogramVec,
    pub certificate_expiration: IntGauge,
    pub view_version: IntGauge,
    /// 1 while the control plane's stream stands.
    pub control_connected: IntGauge,
    /// Connections to peers that stand, by who dialled: label direction = dialled, accepted.
    pub peer_connections: IntGaugeVec,
    /// Label version, of peer-wire.
    pub peer_versions: IntGaugeVec,
    /// Label reason = no_common_version, wrong_name.
    pub peer_refusals: IntCounterVec,
    /// Labels door = http, grpc, zmtp; reason = a fixed word.
    pub door_refusals: IntCounterVec,
    /// Labels kind, namespace, name, outcome = done, later, unreachable, failed.
    pub pushes: IntCounterVec,
    /// Clients of the Kafka door that reach a broker.
    pub kafka_door_connections: IntGauge,
    /// Clients of the Kafka door that were turned away: label reason.
    pub kafka_door_refused: IntCounterVec,
}

/// The label values of one Channel or Topic, in the order of the labels.
#[derive(Debug, Clone, Copy)]
pub struct ObjectLabels<'a> {
    pub kind: &'static str,
    pub namespace: &'a str,
    pub name: &'a str,
}

impl<'a> ObjectLabels<'a> {
    #[must_use]
    pub fn values(&self) -> [&'a str; 3] {
        [self.kind, self.namespace, self.name]
    }
}

impl<'a> From<&'a ChannelName> for ObjectLabels<'a> {
    fn from(name: &'a ChannelName) -> Self {
        Self { kind: "channel", namespace: &name.namespace, name: &name.name }
    }
}

impl<'a> From<&'a TopicName> for ObjectLabels<'a> {
    fn from(name: &'a TopicName) -> Self {
        Self { kind: "topic", namespace: &name.namespace, name: &name.name }
    }
}

/// From 25 µs, doubling, to about 13 s.
fn latency_buckets() -> Vec<f64> {
    (0..20).map(|step| 25e-6 * f64::powi(2.0, step)).collect()
}

impl Metrics {
    /// Makes them on a registry of their own.
    ///
    /// # Errors
    /// Only when two metrics share a name, which a test excludes.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let make = Maker { registry: &registry };
        let (published, delivered) = make.flow()?;
        let (replay_messages, replay_bytes) = make.replay()?;
        let (kafka_door_connections, kafka_door_refused) = make.kafka_door()?;
        let (recorded, unrecorded, record_waiting) = make.record()?;
        let (spilled, spill_waiting) = make.spill()?;
        let (publish_duration, delivery_duration) = make.durations()?;
        let (peer_connections, peer_versions, peer_refusals) = make.peers()?;
        Ok(Self {
            published,
            delivered,
            dropped: make.counters(
                "pinnace_dropped_messages_total",
                "Messages that a subscriber did not get, counted at the publisher.",
                &REASON_LABELS,
            )?,
            unanswered: make.counters(
                "pinnace_unanswered_requests_total",
                "Requests of ZeroMQ apps that got no reply.",
                &REASON_LABELS,
            )?,
            gap: make.counters(
                "pinnace_gap_messages_total",
                "Missed messages that subscribers were told of.",
                &NAME_LABELS,
            )?,
            audited: make.audited()?,
            dead_letters: make.counters(
                "pinnace_dead_letter_messages_total",
                "Messages that used up their attempts and were written to the dead letter Topic.",
                &NAME_LABELS,
            )?,
            recorded,
            unrecorded,
            record_waiting,
            spilled,
            spill_waiting,
            lag: make.gauges(
                "pinnace_subscription_lag_messages",
                "Messages waiting for subscribers.",
                &NAME_LABELS,
            )?,
            replay_messages,
            replay_bytes,
            publish_duration,
            delivery_duration,
            certificate_expiration: make.gauge(
                "pinnace_certificate_expiration_timestamp_seconds",
                "When our own certificate ends.",
            )?,
            view_version: make
                .gauge("pinnace_view_version", "Version of the view that the sidecar works with.")?,
            control_connected: make
                .gauge("pinnace_control_connected", "1 while the control plane's stream stands.")?,
            kafka_door_connections,
            kafka_door_refused,
            peer_connections,
            peer_versions,
            peer_refusals,
            door_refusals: make.counters(
                "pinnace_door_refusals_total",
                "Requests and connections of apps that were refused.",
                &["door", "reason"],
            )?,
            pushes: make.pushes()?,
            registry,
        })
    }
}

struct Maker<'a> {
    registry: &'a Registry,
}

impl Maker<'_> {
    fn replay(&self) -> Result<(IntGaugeVec, IntGaugeVec), prometheus::Error> {
        let messages = self.gauges(
            "pinnace_replay_messages",
            "Messages that are kept for late joiners and gaps.",
            &NAME_LABELS,
        )?;
        let bytes = self.gauges(
            "pinnace_replay_bytes",
            "Bytes that are kept for late joiners and gaps, the cost of keeping them included.",
            &NAME_LABELS,
        )?;
        Ok((messages, bytes))
    }

    fn kafka_door(&self) -> Result<(IntGauge, IntCounterVec), prometheus::Error> {
        let connections =
            self.gauge("pinnace_kafka_door_connections", "Clients of the Kafka door that reach a broker.")?;
        let refused = self.counters(
            "pinnace_kafka_door_refused_total",
            "Clients of the Kafka door that were turned away.",
            &["reason"],
        )?;
        Ok((connections, refused))
    }

    fn flow(&self) -> Result<(IntCounterVec, IntCounterVec), prometheus::Error> {
        let published =
            self.counters("pinnace_published_messages_total", "Messages taken from apps.", &NAME_LABELS)?;
        let delivered =
            self.counters("pinnace_delivered_messages_total", "Messages handed to apps.", &NAME_LABELS)?;
        Ok((published, delivered))
    }

    fn peers(&self) -> Result<(IntGaugeVec, IntGaugeVec, IntCounterVec), prometheus::Error> {
        let connections =
            self.gauges("pinnace_peer_connections", "Standing connections to peers.", &["direction"])?;
        let versions = self.gauges(
            "pinnace_peer_version_connections",
            "Standing connections to peers, by the version of peer-wire that both sides speak.",
            &["version"],
        )?;
        let refusals = self.counters(
            "pinnace_peer_refused_connections_total",
            "Connections to peers that ended before they carried anything: no common version of peer-wire, or another name than the view's.",
            &["reason"],
        )?;
        Ok((connections, versions, refusals))
    }

    fn audited(&self) -> Result<IntCounterVec, prometheus::Error> {
        let labels = ["kind", "namespace", "name", "operation", "side"];
        self.counters(
            "pinnace_access_audited_total",
            "What spec.access.mode Audit let through and Enforce would refuse: each publish or request, and each service account that subscribes or is heard, again every minute.",
            &labels,
        )
    }

    fn pushes(&self) -> Result<IntCounterVec, prometheus::Error> {
        let labels = ["kind", "namespace", "name", "outcome"];
        self.counters(
            "pinnace_push_requests_total",
            "Messages and requests POSTed to the app, by what came of it.",
            &labels,
        )
    }

    fn record(&self) -> Result<(IntCounterVec, IntCounterVec, IntGaugeVec), prometheus::Error> {
        let recorded = self.counters(
            "pinnace_recorded_messages_total",
            "Messages of which the Topic of spec.record has a copy.",
            &NAME_LABELS,
        )?;
        let unrecorded = self.counters(
            "pinnace_unrecorded_messages_total",
            "Messages that were published and of which the Topic of spec.record takes no copy.",
            &NAME_LABELS,
        )?;
        let waiting = self.gauges(
            "pinnace_record_waiting_messages",
            "Messages whose copy waits to be written to the Topic of spec.record.",
            &NAME_LABELS,
        )?;
        Ok((recorded, unrecorded, waiting))
    }

    fn spill(&self) -> Result<(IntCounterVec, IntGaugeVec), prometheus::Error> {
        let spilled = self.counters(
            "pinnace_spilled_messages_total",
            "Messages that a subscriber had no room for and that were written to the Topic of spec.delivery.spill.",
            &NAME_LABELS,
        )?;
        let waiting = self.gauges(
            "pinnace_spill_waiting_messages",
            "Messages that overflowed and have not come back to their subscribers.",
            &NAME_LABELS,
        )?;
        Ok((spilled, waiting))
    }

    fn durations(&self) -> Result<(HistogramVec, HistogramVec), prometheus::Error> {
        let publish = self.latencies("pinnace_publish_duration_seconds", "From publish to its answer.")?;
        let delivery = self.latencies(
            "pinnace_delivery_duration_seconds",
            "From publish to leaving the subscriber's queue at the publisher.",
        )?;
        Ok((publish, delivery))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        let made = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        let made = IntGaugeVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        let made = IntGauge::with_opts(Opts::new(name, help))?;
        self.registry.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn latencies(&self, name: &str, help: &str) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::new(name, help).buckets(latency_buckets());
        let made = HistogramVec::new(options, &NAME_LABELS)?;
        self.registry.register(Box::new(made.clone()))?;
        Ok(made)
    }
}

/// The values of one Channel, looked up once instead of for each batch.
#[derive(Clone, Debug)]
pub(crate) struct ChannelMetrics {
    pub(crate) published: prometheus::IntCounter,
    pub(crate) delivered: prometheus::IntCounter,
    pub(crate) gap: prometheus::IntCounter,
    pub(crate) dead_letters: prometheus::IntCounter,
    pub(crate) recorded: prometheus::IntCounter,
    pub(crate) unrecorded: prometheus::IntCounter,
    pub(crate) record_waiting: IntGauge,
    pub(crate) spilled: prometheus::IntCounter,
    pub(crate) spill_waiting: IntGauge,
    pub(crate) lag: IntGauge,
    pub(crate) replay_messages: IntGauge,
    pub(crate) replay_bytes: IntGauge,
    pub(crate) publish_duration: Histogram,
    pub(crate) delivery_duration: Histogram,
    dropped: IntCounterVec,
    name: ChannelName,
}

impl ChannelMetrics {
    pub(crate) fn new(metrics: &Metrics, name: &ChannelName) -> Self {
        let labels = ObjectLabels::from(name).values();
        Self {
            published: metrics.published.with_label_values(&labels),
            delivered: metrics.delivered.with_label_values(&labels),
            gap: metrics.gap.with_label_values(&labels),
            dead_letters: metrics.dead_letters.with_label_values(&labels),
            recorded: metrics.recorded.with_label_values(&labels),
            unrecorded: metrics.unrecorded.with_label_values(&labels),
            record_waiting: metrics.record_waiting.with_label_values(&labels),
            spilled: metrics.spilled.with_label_values(&labels),
            spill_waiting: metrics.spill_waiting.with_label_values(&labels),
            lag: metrics.lag.with_label_values(&labels),
            replay_messages: metrics.replay_messages.with_label_values(&labels),
            replay_bytes: metrics.replay_bytes.with_label_values(&labels),
            publish_duration: metrics.publish_duration.with_label_values(&labels),
            delivery_duration: metrics.delivery_duration.with_label_values(&labels),
            dropped: metrics.dropped.clone(),
            name: name.clone(),
        }
    }

    pub(crate) fn drop_counted(&self, reason: &str, messages: u64) {
        let [kind, namespace, name] = ObjectLabels::from(&self.name).values();
        self.dropped.with_label_values(&[kind, namespace, name, reason]).inc_by(messages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: all metrics fit on one registry and the first bucket is 25 µs.
    #[test]
    fn metrics_register() {
        let metrics = Metrics::new().unwrap();
        let name = ChannelName { namespace: "shop".into(), name: "prices".into() };
        ChannelMetrics::new(&metrics, &name).drop_counted("dropped_newest", 2);
        let families = metrics.registry.gather();
        assert!(families.iter().all(|family| family.name().starts_with("pinnace_")));
        assert!((latency_buckets()[0] - 25e-6).abs() < f64::EPSILON);
    }
}
