//! One partition of a Topic, read from an offset on, without a group: for who wrote it and knows where.

use super::consume::client::{self, Client};
use super::produce::partition_of;
use super::{Topics, access, translate};
use crate::messaging::{Message, Problem, TopicName};
use futures::FutureExt as _;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::Duration;

/// Records taken in one go.
const BATCH_MESSAGES: usize = 500;
/// What librdkafka may fetch ahead, in memory of its own.
const PREFETCH_KIB: u32 = 2 * 1024;
/// One answer about the partition's offsets.
const WATERMARK_DEADLINE: Duration = Duration::from_secs(10);
/// How long a seek may take.
const SEEK_DEADLINE: Duration = Duration::from_secs(5);

/// What a call brought.
#[derive(Debug)]
pub(crate) enum Read {
    /// With their offsets; none when the end was reached.
    Records(Vec<(i64, Message)>),
    /// The log does not have what was to be read: its beginning was deleted, or it was made anew. It ends before this
    /// offset, and is read from its beginning now.
    Gone { end: i64 },
}

/// See the head of the file.
pub(crate) struct LogReader {
    client: Client,
    name: TopicName,
    topic_name: String,
    partition: i32,
    position: i64,
}

impl Topics {
    /// Reads the partition of `source` from `offset` on: see [`super::Placement::Source`].
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, `Unavailable`.
    pub(crate) fn read_from(
        &self,
        name: &TopicName,
        source: &str,
        offset: i64,
    ) -> Result<LogReader, Problem> {
        let topic = access::subscribe(&self.shared.view.borrow(), name)?;
        let mut config = client::config_without_group(&self.shared.settings);
        config
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("queued.max.messages.kbytes", PREFETCH_KIB.to_string());
        let client: StreamConsumer<client::Context> = config
            .create_with_context(client::Context::default())
            .map_err(|error| translate::problem(name, "start the Kafka client", &error))?;
        let reader = LogReader {
            client: Client::new(client),
            name: name.clone(),
            partition: partition_of(source, topic.partitions),
            topic_name: topic.topic_name,
            position: offset,
        };
        reader.assign()?;
        Ok(reader)
    }
}

impl LogReader {
    fn problem(&self, action: &str, error: &KafkaError) -> Problem {
        translate::problem(&self.name, action, error)
    }

    fn assign(&self) -> Result<(), Problem> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic_name, self.partition, Offset::Offset(self.position))
            .and_then(|()| self.client.assign(&list))
            .map_err(|error| self.problem("read", &error))
    }

    /// Reads on from another offset.
    ///
    /// # Errors
    /// Make another reader after a while.
    pub(crate) fn seek(&mut self, offset: i64) -> Result<(), Problem> {
        self.position = offset;
        self.client
            .seek(&self.topic_name, self.partition, Offset::Offset(offset), SEEK_DEADLINE)
            .map_err(|error| self.problem("seek", &error))
    }

    /// Everything before this offset has come, or is not in the log any more.
    pub(crate) const fn position(&self) -> i64 {
        self.position
    }

    /// What comes next. Safe to drop and call again.
    ///
    /// # Errors
    /// Whatever the broker says; make another reader after a while.
    pub(crate) async fn next(&mut self) -> Result<Read, Problem> {
        let mut records = Vec::new();
        let mut next = Some(client::receive(&self.client).await);
        while let Some(came) = next {
            match came {
                Ok((at, message)) => {
                    self.position = at.offset.saturating_add(1);
                    records.push((at.offset, message));
                }
                Err(KafkaError::PartitionEOF(_)) => break,
                Err(error) if is_out_of_range(&error) => {
                    let end = self.read_what_is_left().await?;
                    return Ok(Read::Gone { end });
                }
                Err(error) if client::is_final(&error) => return Err(self.problem("read", &error)),
                Err(error) => {
                    tracing::debug!(%error, "the Kafka client tries again");
                    break;
                }
            }
            if records.len() >= BATCH_MESSAGES {
                break;
            }
            next = client::receive(&self.client).now_or_never();
        }
        Ok(Read::Records(records))
    }

    /// Behind the last offset of the log. Asks the broker.
    ///
    /// # Errors
    /// Whatever the broker says.
    pub(crate) async fn end(&self) -> Result<i64, Problem> {
        self.watermarks().await.map(|(_, end)| end)
    }

    /// The first offset of the log, and the one behind the last.
    async fn watermarks(&self) -> Result<(i64, i64), Problem> {
        let (client, topic_name, partition) = (self.client.share(), self.topic_name.clone(), self.partition);
        let asked = tokio::task::spawn_blocking(move || {
            client.fetch_watermarks(&topic_name, partition, WATERMARK_DEADLINE)
        });
        asked
            .await
            .unwrap_or(Err(KafkaError::Canceled))
            .map_err(|error| self.problem("ask for the offsets of the log", &error))
    }

    /// Reads on from the log's beginning; returns where it ends.
    async fn read_what_is_left(&mut self) -> Result<i64, Problem> {
        let (first, end) = self.watermarks().await?;
        let partition = self.partition;
        tracing::warn!(topic = %self.name, partition, wanted = self.position, first, end, "what was to be read is not in the log any more");
        self.position = first;
        self.assign()?;
        Ok(end)
    }
}

fn is_out_of_range(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
    )
}
