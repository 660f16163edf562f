//! Publishing to Topics: one idempotent producer, made on first use, made anew after a fatal error; and further ones for
//! Topics whose limit is smaller than what the client would put into one batch.
//!
//! `acks=all`: an answer means that the broker has it on disk. The queue is bounded in messages and
//! bytes; a full queue makes publishers wait, and fails them after the delivery deadline.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prometheus::{Histogram, IntCounter};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};
use runtime::clock::{self, Instant};

use super::{Settings, translate};
use crate::messaging::{Message, Position, Problem, ProblemKind, TopicName};
use crate::view::TopicView;

/// How long a message may wait for its acknowledgement, queue included.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(30);
const QUEUE_MESSAGES: u32 = 10_000;
const QUEUE_KIB: u32 = 32 * 1024;
/// The largest message the client lets through; each Topic's own limit was checked before.
const CLIENT_MESSAGE_BYTES_MAX: u32 = 256 * 1024 * 1024;
/// The client fills batches up to here, and brokers hold a batch against `max.message.bytes` of its topic.
const BATCH_BYTES_MAX: usize = 1_000_000;
const BATCH_BYTES_MIN: usize = 1024;
/// Waits for what arrives while a request is being written; more would be latency for nothing.
const LINGER_MS: &str = "0.2";
/// How often a publisher looks whether a full queue has room again.
const FULL_PAUSE: Duration = Duration::from_millis(2);

/// Which partition a message goes to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Placement<'a> {
    /// That of its key; without one the client spreads messages.
    ByKey,
    /// That of its key; without one that of this source, so that they keep their order.
    KeyOrSource(&'a str),
    /// That of this source, whatever the key.
    Source(&'a str),
}

impl Placement<'_> {
    /// `None`: the client decides.
    fn partition(self, keyed: bool, partitions: u32) -> Option<i32> {
        match self {
            Self::Source(source) => Some(partition_of(source, partitions)),
            Self::KeyOrSource(source) if !keyed => Some(partition_of(source, partitions)),
            Self::KeyOrSource(_) | Self::ByKey => None,
        }
    }
}

/// What one batch counts into.
pub(super) struct Counters {
    pub(super) published: IntCounter,
    pub(super) duration: Histogram,
}

/// Where the producer is, once there is one.
pub(super) struct ProducerSlot {
    settings: Settings,
    /// By the size of batches: a dozen at most.
    current: Mutex<BTreeMap<usize, Arc<FutureProducer>>>,
}

/// A batch that is queued and not yet acknowledged.
pub struct InFlight {
    name: TopicName,
    deliveries: Vec<DeliveryFuture>,
    counters: Counters,
    begun: Instant,
}

impl InFlight {
    /// Waits until the broker has all of it; one position for each message.
    ///
    /// # Errors
    /// The first message that failed, by its place in the batch; the others may have been written.
    pub async fn finish(self) -> Result<Vec<Position>, Problem> {
        let outcomes = self.outcomes().await;
        let count = outcomes.len();
        let mut positions = Vec::with_capacity(count);
        let mut first_problem = None;
        for (index, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(position) => positions.push(position),
                Err(problem) => {
                    first_problem.get_or_insert((index, problem));
                }
            }
        }
        match first_problem {
            None => Ok(positions),
            Some((_, problem)) if count == 1 => Err(problem),
            Some((index, problem)) => Err(Problem::new(
                problem.kind,
                format!(
                    "{} (message {index} of the batch; {} of {count} were written)",
                    problem.message,
                    positions.len()
                ),
            )),
        }
    }

    /// Waits until the broker has or refused each of them.
    pub(super) async fn outcomes(self) -> Vec<Result<Position, Problem>> {
        let publisher: Arc<str> = Arc::from("");
        let mut outcomes = Vec::with_capacity(self.deliveries.len());
        for delivery in self.deliveries {
            outcomes.push(match delivery.await {
                Ok(Ok(delivery)) => Ok(Position {
                    partition: delivery.partition,
                    offset: delivery.offset,
                    publisher: Arc::clone(&publisher),
                    epoch: 0,
                }),
                Ok(Err((error, _))) => Err(translate::problem(&self.name, "publish", &error)),
                Err(_) => Err(Problem::new(
                    ProblemKind::Unavailable,
                    format!(
                        "{}: the sidecar's Kafka client was closed before the answer; try again",
                        self.name
                    ),
                )),
            });
        }
        let written = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        self.counters.published.inc_by(u64::try_from(written).unwrap_or(u64::MAX));
        self.counters.duration.observe(clock::now().saturating_duration_since(self.begun).as_secs_f64());
        outcomes
    }
}

/// The partition of what `source` sends.
pub(super) fn partition_of(source: &str, partitions: u32) -> i32 {
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    i32::try_from(hasher.finish() % u64::from(partitions.max(1))).unwrap_or(0)
}

impl ProducerSlot {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, current: Mutex::default() }
    }

    pub(super) async fn begin(
        &self,
        name: &TopicName,
        topic: &TopicView,
        (messages, placement): (Vec<Message>, Placement<'_>),
        counters: Counters,
    ) -> Result<InFlight, Problem> {
        let begun = clock::now();
        let batch_bytes = batch_bytes(topic.max_message_bytes);
        let producer = self.get(name, batch_bytes)?;
        let mut deliveries = Vec::with_capacity(messages.len());
        let count = messages.len();
        for message in messages {
            let queued = enqueue(&producer, topic, (&message, placement), begun).await;
            match queued {
                Ok(delivery) => deliveries.push(delivery),
                Err(error) => {
                    self.drop_if_fatal(&producer, batch_bytes);
                    let problem = translate::problem(name, "publish", &error);
                    let text =
                        format!("{} ({} of {count} messages were queued)", problem.message, deliveries.len());
                    return Err(Problem::new(problem.kind, text));
                }
            }
        }
        Ok(InFlight { name: name.clone(), deliveries, counters, begun })
    }

    fn get(&self, name: &TopicName, batch_bytes: usize) -> Result<Arc<FutureProducer>, Problem> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(producer) = current.get(&batch_bytes)
            && producer.client().fatal_error().is_none()
        {
            return Ok(Arc::clone(producer));
        }
        let made: FutureProducer = config(&self.settings, batch_bytes)
            .create()
            .map_err(|error| translate::problem(name, "start the Kafka client", &error))?;
        let made = Arc::new(made);
        current.insert(batch_bytes, Arc::clone(&made));
        Ok(made)
    }

    /// A fatal error (an idempotent producer that lost its place) is never healed by librdkafka.
    fn drop_if_fatal(&self, producer: &FutureProducer, batch_bytes: usize) {
        if let Some((code, text)) = producer.client().fatal_error() {
            tracing::warn!(%code, text, "the Kafka producer failed for good and is made anew");
            self.current.lock().unwrap_or_else(PoisonError::into_inner).remove(&batch_bytes);
        }
    }
}

/// How large batches may get for a Topic with this limit: few sizes, because each takes a producer.
fn batch_bytes(message_bytes_max: usize) -> usize {
    match message_bytes_max.checked_ilog2() {
        Some(_) if message_bytes_max >= BATCH_BYTES_MAX => BATCH_BYTES_MAX,
        // A power of two is at most the limit, and more than half of it.
        Some(power) => BATCH_BYTES_MIN.max(1 << power),
        None => BATCH_BYTES_MIN,
    }
}

fn config(settings: &Settings, batch_bytes: usize) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.bootstrap)
        .set("client.id", &settings.client_name)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", LINGER_MS)
        .set("batch.size", batch_bytes.to_string())
        .set("message.timeout.ms", DELIVERY_DEADLINE.as_millis().to_string())
        .set("message.max.bytes", CLIENT_MESSAGE_BYTES_MAX.to_string())
        .set("queue.buffering.max.messages", QUEUE_MESSAGES.to_string())
        .set("queue.buffering.max.kbytes", QUEUE_KIB.to_string())
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("topic.metadata.refresh.interval.ms", "60000")
        .set("socket.keepalive.enable", "true")
        .set("log.connection.close", "false");
    config
}

async fn enqueue(
    producer: &FutureProducer,
    topic: &TopicView,
    (message, placement): (&Message, Placement<'_>),
    begun: Instant,
) -> Result<DeliveryFuture, KafkaError> {
    let payload = message.parts.first().map_or(&[][..], |part| &part[..]);
    let timestamp_ms = if message.timestamp_ms == 0 { clock::unix_ms() } else { message.timestamp_ms };
    let mut record: FutureRecord<'_, [u8], [u8]> =
        FutureRecord::to(&topic.topic_name).payload(payload).timestamp(timestamp_ms);
    record.key = message.key.as_ref().map(|key: &Bytes| &key[..]);
    record.headers = translate::headers(message);
    record.partition = placement.partition(record.key.is_some(), topic.partitions);
    loop {
        match producer.send_result(record) {
            Ok(delivery) => return Ok(delivery),
            Err((error, refused)) => {
                let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                if !full || clock::now().saturating_duration_since(begun) >= DELIVERY_DEADLINE {
                    return Err(error);
                }
                record = refused;
                tokio::time::sleep(FULL_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a batch is never larger than its Topic takes, where that is more than a batch of nothing, and there are few
    /// sizes.
    #[test]
    fn batches_fit_their_topic() {
        for (limit, expected) in [
            (1, 1024),
            (1500, 1024),
            (16_384, 16_384),
            (16_383, 8192),
            (999_999, 524_288),
            (1 << 20, 1_000_000),
            (1 << 28, 1_000_000),
        ] {
            assert_eq!(batch_bytes(limit), expected, "{limit}");
        }
    }
}
