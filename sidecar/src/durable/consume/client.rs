//! The librdkafka consumer: its settings, its rebalances, and where it begins.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::{Notify, oneshot};

use super::{COMMIT_INTERVAL, Settings, Source, Start, TopicOptions};
use crate::durable::translate;
use crate::messaging::{Message, Position, Problem, TopicName};

/// One answer about one partition's offsets.
const WATERMARK_DEADLINE: Duration = Duration::from_secs(10);
/// How long leaving a group may take.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);
/// What librdkafka may fetch ahead, in memory of its own.
const PREFETCH_KIB: u32 = 8 * 1024;
const PREFETCH_MESSAGES: u32 = 2_000;
/// Partitions of a broker that has something are answered at once; others wait this long.
const FETCH_WAIT_MS: u32 = 500;

/// A consumer whose end (leaving the group, the last commit) blocks a thread of its own.
pub(in crate::durable) struct Client(Option<Arc<StreamConsumer<Context>>>);

impl std::ops::Deref for Client {
    type Target = StreamConsumer<Context>;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref().expect("it is taken only when dropped")
    }
}

impl Client {
    pub(in crate::durable) fn new(client: StreamConsumer<Context>) -> Self {
        Self(Some(Arc::new(client)))
    }

    /// For a call that blocks a thread of its own.
    pub(in crate::durable) fn share(&self) -> Arc<StreamConsumer<Context>> {
        self.0.clone().expect("it is taken only when dropped")
    }

    /// Ends it; returns when it has left the group, or after [`CLOSE_DEADLINE`]: a broker that is
    /// gone must not hold up a shutdown.
    pub(super) async fn close(mut self) {
        if let Some(ended) = self.end() {
            drop(tokio::time::timeout(CLOSE_DEADLINE, ended).await);
        }
    }

    /// Ends it on a thread that nobody waits for, so that the process may exit meanwhile.
    fn end(&mut self) -> Option<oneshot::Receiver<()>> {
        let client = self.0.take()?;
        let (sender, ended) = oneshot::channel();
        let thread = runtime::tasks::spawn_thread("topic consumer end", move || {
            drop(client);
            drop(sender);
        });
        if let Err(error) = thread {
            tracing::warn!(%error, "no thread to end a Kafka consumer on");
        }
        Some(ended)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.end());
    }
}

/// What rebalances did, in order, until the reader takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Moved {
    Assigned,
    Revoked(Vec<i32>),
}

/// Called by librdkafka while it is polled.
#[derive(Default)]
pub(in crate::durable) struct Context {
    moved: Mutex<Vec<Moved>>,
    notify: Notify,
}

impl Context {
    pub(super) fn take_moved(&self) -> Vec<Moved> {
        std::mem::take(&mut *self.moved.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until something moved.
    pub(super) async fn moved(&self) {
        self.notify.notified().await;
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(?level, facility, text, "kafka consumer");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka consumer");
    }
}

impl ConsumerContext for Context {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let moved = match rebalance {
            Rebalance::Assign(_) => Moved::Assigned,
            Rebalance::Revoke(list) => {
                Moved::Revoked(list.elements().iter().map(|element| element.partition()).collect())
            }
            Rebalance::Error(error) => {
                tracing::warn!(%error, "a rebalance failed; the group tries again");
                return;
            }
        };
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).push(moved);
        self.notify.notify_one();
    }
}

/// A consumer whose beginning is settled, and what came while it was.
pub(super) struct Opened {
    pub(super) client: Client,
    pub(super) early: VecDeque<(Position, Message)>,
}

pub(super) async fn open(
    settings: &Settings,
    source: &Source,
    options: &TopicOptions,
) -> Result<Opened, Problem> {
    let problem = |action: &str, error: &KafkaError| translate::problem(&source.name, action, error);
    let client: StreamConsumer<Context> = config(settings, options)
        .create_with_context(Context::default())
        .map_err(|error| problem("start the Kafka client", &error))?;
    let client = Client::new(client);
    let topic_name = &source.topic.topic_name;
    if options.group.is_empty() {
        let partitions = 0..i32::try_from(source.topic.partitions).unwrap_or(i32::MAX);
        let list = match options.start {
            Start::Earliest => beginning(topic_name, partitions),
            Start::Latest => ends(&client, topic_name.clone(), partitions)
                .await
                .map_err(|error| problem("ask for the end of the log", &error))?,
        };
        client.assign(&list).map_err(|error| problem("read", &error))?;
        return Ok(Opened { client, early: VecDeque::new() });
    }
    client.subscribe(&[topic_name]).map_err(|error| problem("join the group", &error))?;
    let early = joined(&client, &source.name).await?;
    Ok(Opened { client, early })
}

/// The partitions, each from its first record.
pub(super) fn beginning(topic_name: &str, partitions: std::ops::Range<i32>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        // Only a logical offset that is out of range is refused here.
        drop(list.add_partition_offset(topic_name, partition, Offset::Beginning));
    }
    list
}

/// The partitions, each from where its log ends now: so that what is published after the
/// subscription stands is not missed.
async fn ends(
    client: &Client,
    topic_name: String,
    partitions: std::ops::Range<i32>,
) -> Result<TopicPartitionList, KafkaError> {
    let client = client.share();
    let asked = tokio::task::spawn_blocking(move || {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            let (_, end) = client.fetch_watermarks(&topic_name, partition, WATERMARK_DEADLINE)?;
            list.add_partition_offset(&topic_name, partition, Offset::Offset(end))?;
        }
        Ok(list)
    });
    asked.await.unwrap_or(Err(KafkaError::Canceled))
}

/// Polls until the group has given this member its share, which may be nothing.
async fn joined(client: &Client, name: &TopicName) -> Result<VecDeque<(Position, Message)>, Problem> {
    let mut early = VecDeque::new();
    loop {
        tokio::select! {
            () = client.context().moved() => return Ok(early),
            record = receive(client) => match record {
                Ok(record) => {
                    early.push_back(record);
                    return Ok(early);
                }
                Err(error) if is_final(&error) => return Err(translate::problem(name, "join the group", &error)),
                Err(error) => tracing::debug!(%error, "the Kafka client tries again"),
            },
        }
    }
}

/// The next record as our own types. Safe to drop and call again.
pub(in crate::durable) async fn receive(client: &Client) -> Result<(Position, Message), KafkaError> {
    use rdkafka::Message as _;
    let record = client.recv().await?;
    let position =
        Position { partition: record.partition(), offset: record.offset(), publisher: "".into(), epoch: 0 };
    Ok((position, translate::message(&record)))
}

/// Whether the consumer cannot heal by itself.
pub(in crate::durable) fn is_final(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::UnknownTopicOrPartition
                | Code::InvalidGroupId
                | Code::Fatal
                | Code::FencedInstanceId
        )
    )
}

fn config(settings: &Settings, options: &TopicOptions) -> ClientConfig {
    let reset = match options.start {
        Start::Latest => "latest",
        Start::Earliest => "earliest",
    };
    let mut config = config_without_group(settings);
    config.set("auto.offset.reset", reset);
    if !options.group.is_empty() {
        config.set("group.id", &options.group).set("enable.auto.commit", "true");
    }
    config
}

/// For reading partitions of one's own choice. librdkafka wants a group id all the same; nothing is ever committed to it.
pub(in crate::durable) fn config_without_group(settings: &Settings) -> ClientConfig {
    let none = format!("pinnace.none.{}", settings.client_name.replace('/', "."));
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.bootstrap)
        .set("client.id", &settings.client_name)
        .set("group.id", none)
        .set("enable.auto.offset.store", "false")
        .set("enable.auto.commit", "false")
        .set("auto.commit.interval.ms", COMMIT_INTERVAL.as_millis().to_string())
        .set("allow.auto.create.topics", "false")
        .set("isolation.level", "read_committed")
        .set("queued.min.messages", PREFETCH_MESSAGES.to_string())
        .set("queued.max.messages.kbytes", PREFETCH_KIB.to_string())
        .set("fetch.wait.max.ms", FETCH_WAIT_MS.to_string())
        .set("fetch.error.backoff.ms", "100")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("topic.metadata.refresh.interval.ms", "60000")
        .set("socket.keepalive.enable", "true")
        .set("log.connection.close", "false");
    config
}
