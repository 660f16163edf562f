//! The Kafka door, with a real Kafka client: nothing here knows of Pinnace.

use super::{Incoming, Outgoing, Received, Wanted, text};
use crate::args::Via;
use crate::tools::Failure;
use crate::tools::target::Target;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{CommitMode, Consumer as _, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long one message may take.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(30);
/// The group of those that name none; nothing is committed for it.
const NO_GROUP: &str = "pinnace-subscribe";

/// The client's own log lines are left out: what matters comes as an error.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, line: &str) {
        tracing::debug!(facility, line, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for Quiet {}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("client.id", "pinnace")
        .set("broker.address.family", "v4")
        .set("reconnect.backoff.max.ms", "1000");
    config
}

fn failure(error: &KafkaError, topic: &str, bootstrap: &str) -> Failure {
    let code = error.rdkafka_error_code();
    match code {
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed,
        ) => Failure::Refused(format!(
            "the broker does not allow it for topic {topic}: add this service account to spec.access of the Topic ({error})"
        )),
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::InvalidRecord,
        ) => Failure::Refused(format!("topic {topic}: {error}")),
        _ => Failure::Unavailable(format!("topic {topic} at {bootstrap}: {error}")),
    }
}

pub(crate) struct Publisher {
    producer: FutureProducer<Quiet>,
    topic: String,
    bootstrap: String,
}

impl Publisher {
    pub(super) fn open(target: &Target, bootstrap: &str) -> Result<Self, Failure> {
        let topic = target.log_name();
        let mut config = config(bootstrap);
        config.set("enable.idempotence", "true").set("linger.ms", "0");
        let producer =
            config.create_with_context(Quiet).map_err(|error| failure(&error, &topic, bootstrap))?;
        Ok(Self { producer, topic, bootstrap: bootstrap.to_owned() })
    }

    pub(super) async fn publish(&mut self, message: Outgoing) -> Result<String, Failure> {
        let mut record = FutureRecord::<str, str>::to(&self.topic).payload(&message.payload);
        if let Some(key) = &message.key {
            record = record.key(key);
        }
        let sent = self.producer.send(record, PUBLISH_DEADLINE).await;
        let delivery = sent.map_err(|(error, _)| failure(&error, &self.topic, &self.bootstrap))?;
        Ok(format!("{}:{}", delivery.partition, delivery.offset))
    }
}

/// Leaves its group when dropped, so that the next member need not wait.
struct Consumer(StreamConsumer<Quiet>);

impl Drop for Consumer {
    fn drop(&mut self) {
        self.0.unsubscribe();
    }
}

pub(super) async fn subscribe(
    wanted: &Wanted,
    bootstrap: &str,
    queue: &mpsc::Sender<Incoming>,
) -> Result<(), Failure> {
    let topic = wanted.target.log_name();
    let failed = |error: KafkaError| failure(&error, &topic, bootstrap);
    let has_group = !wanted.group.is_empty();
    let mut config = config(bootstrap);
    config
        .set("group.id", if has_group { wanted.group.as_str() } else { NO_GROUP })
        .set("enable.auto.commit", if has_group { "true" } else { "false" })
        .set("auto.commit.interval.ms", "1000")
        // Stored, and so committed, once it was handed on.
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", if wanted.from_start { "earliest" } else { "latest" })
        .set("topic.metadata.refresh.interval.ms", "5000")
        .set("session.timeout.ms", "10000");
    let consumer = Consumer(config.create_with_context(Quiet).map_err(failed)?);
    consumer.0.subscribe(&[&topic]).map_err(failed)?;
    drop(queue.send(Incoming::Open { via: Via::Kafka }).await);
    loop {
        let message = match consumer.0.recv().await {
            Ok(message) => message,
            Err(error) => match failure(&error, &topic, bootstrap) {
                refused @ Failure::Refused(_) => return Err(refused),
                // The client itself goes on trying.
                Failure::Unavailable(text) => {
                    tracing::debug!(text, "kafka");
                    tokio::time::sleep(super::super::RETRY_FIRST).await;
                    continue;
                }
            },
        };
        let received = Received {
            subject: String::new(),
            key: message.key().map(text),
            payload: message.payload().map(text).unwrap_or_default(),
            position: format!("{}:{}", message.partition(), message.offset()),
        };
        if queue.send(Incoming::Message { via: Via::Kafka, message: received }).await.is_err() {
            break;
        }
        consumer.0.store_offset_from_message(&message).map_err(failed)?;
    }
    consumer.0.commit_consumer_state(CommitMode::Sync).map_err(failed)
}
