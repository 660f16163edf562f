//! Topics over gRPC and HTTP, with librdkafka through the sidecar's own Kafka door.
//!
//! Who may do what is decided here before the broker is asked (its ACLs say the same again).
//! Nothing starts before the first use: a pod that never touches a Topic pays nothing.
//!
//! How a message becomes a record: `key` is the record's key, headers are its headers, the one
//! part is its value, and a subject that is not empty is the header `pinnace-subject`. A record
//! without a value (a tombstone that a Kafka client wrote) comes back as a message without parts.
//! A Channel's message with several parts becomes one value: see `parts.rs`.

mod access;
mod consume;
pub(crate) mod parts;
mod produce;
mod progress;
mod read;
mod translate;

use std::sync::Arc;

use runtime::tasks::Tasks;

use crate::messaging::{Message, Position, Problem, TopicName};
use crate::metrics::{Metrics, ObjectLabels};
use crate::view::ViewReceiver;

pub use consume::{Start, TopicEvent, TopicOptions, TopicSubscription};
pub use produce::InFlight;
pub(crate) use produce::Placement;
pub(crate) use read::{LogReader, Read};

/// The most messages that a subscription may ask for at once.
pub const CREDIT_MAX: u32 = 1_000_000;

/// Where the broker is and as whom we speak.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `HOST:PORT` of the sidecar's own Kafka door.
    pub bootstrap: String,
    /// Shows up in the broker's logs: `NAMESPACE/POD`.
    pub client_name: String,
}

/// The handle to Topics. Clones share everything.
#[derive(Clone)]
pub struct Topics {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    producer: produce::ProducerSlot,
    view: ViewReceiver,
    metrics: Metrics,
    tasks: Tasks,
}

/// One delivery of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Unique in the subscription, ascending.
    pub id: u64,
    pub position: Position,
    pub message: Message,
    /// 1 for the first try.
    pub attempt: u32,
}

impl Topics {
    #[must_use]
    pub fn new(settings: Settings, view: ViewReceiver, metrics: Metrics, tasks: Tasks) -> Self {
        let producer = produce::ProducerSlot::new(settings.clone());
        Self { shared: Arc::new(Shared { settings, producer, view, metrics, tasks }) }
    }

    /// Publishes a batch; returns when the broker has all of it.
    ///
    /// # Errors
    /// See [`Topics::begin`] and [`InFlight::finish`].
    pub async fn publish(&self, name: &TopicName, messages: Vec<Message>) -> Result<Vec<Position>, Problem> {
        self.begin(name, messages).await?.finish().await
    }

    /// Whether this app may publish to the Topic as things are, and the most bytes of a message.
    ///
    /// # Errors
    /// As [`Topics::begin`] before anything is queued.
    pub(crate) fn check_publish(&self, name: &TopicName) -> Result<usize, Problem> {
        access::publish(&self.shared.view.borrow(), name).map(|topic| topic.max_message_bytes)
    }

    /// Publishes a batch; one outcome for each message.
    ///
    /// # Errors
    /// As [`Topics::begin`].
    pub(crate) async fn publish_each(
        &self,
        name: &TopicName,
        messages: Vec<Message>,
        placement: Placement<'_>,
    ) -> Result<Vec<Result<Position, Problem>>, Problem> {
        Ok(self.queue(name, messages, placement).await?.outcomes().await)
    }

    /// Whether this app may read the Topic as things are.
    ///
    /// # Errors
    /// As [`Topics::subscribe`] before the broker is asked.
    pub(crate) fn check_subscribe(&self, name: &TopicName) -> Result<(), Problem> {
        access::subscribe(&self.shared.view.borrow(), name).map(drop)
    }

    /// Queues a batch behind all that was queued before; the order of calls is the order of the log per key.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, `InvalidArgument`, `Unavailable` before anything is queued;
    /// `ResourceExhausted` when the queue stayed full (a leading part may already be on its way).
    pub async fn begin(&self, name: &TopicName, messages: Vec<Message>) -> Result<InFlight, Problem> {
        self.queue(name, messages, Placement::ByKey).await
    }

    async fn queue(
        &self,
        name: &TopicName,
        messages: Vec<Message>,
        placement: Placement<'_>,
    ) -> Result<InFlight, Problem> {
        let topic = access::publish(&self.shared.view.borrow(), name)?;
        for message in &messages {
            access::check_message(name, &topic, message)?;
        }
        let labels = ObjectLabels::from(name).values();
        let counters = produce::Counters {
            published: self.shared.metrics.published.with_label_values(&labels),
            duration: self.shared.metrics.publish_duration.with_label_values(&labels),
        };
        self.shared.producer.begin(name, &topic, (messages, placement), counters).await
    }

    /// Subscribes; returns once the position of the subscription is settled.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, `InvalidArgument`, `Unavailable`, `DeadlineExceeded`.
    pub async fn subscribe(
        &self,
        name: &TopicName,
        options: TopicOptions,
    ) -> Result<TopicSubscription, Problem> {
        let topic = access::subscribe(&self.shared.view.borrow(), name)?;
        access::check_options(name, &options)?;
        let delivered = self.shared.metrics.delivered.with_label_values(&ObjectLabels::from(name).values());
        let from = consume::Source {
            name: name.clone(),
            topic,
            view: self.shared.view.clone(),
            tasks: self.shared.tasks.clone(),
            delivered,
        };
        consume::open(&self.shared.settings, from, options).await
    }
}

#[cfg(test)]
pub(crate) mod tests;
