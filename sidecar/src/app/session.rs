//! One app's subscription, whatever the door and whatever is subscribed to: numbers the
//! deliveries, carries credit, acks and nacks to where they belong.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Doors;
use crate::durable::{CREDIT_MAX, Delivery, Start, TopicEvent, TopicOptions, TopicSubscription};
use crate::messaging::{
    ChannelEvent, ChannelName, ChannelStart, ChannelSubscription, Name, Problem, ProblemKind, Receipt,
    Resumed, SubscribeOptions,
};

/// Prefixes of one subscription, and bytes of each.
const PREFIXES_MAX: usize = 10_000;
const PREFIX_BYTES_MAX: usize = 8 * 1024;
/// Deliveries of a Channel that wait for their ack.
const OPEN_MAX: usize = 1 << 20;

/// How an app opens a subscription; `None` and empty = not said.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) prefixes: Vec<Bytes>,
    pub(super) group: String,
    pub(super) start: Option<Start>,
    pub(super) credit: u32,
    pub(super) acknowledge: bool,
    /// Channels: what the app has from an earlier subscription.
    pub(super) resumed: Vec<Resumed>,
}

/// What a subscription brings, in one shape for both engines.
#[derive(Debug)]
pub(super) enum Item {
    Delivery(Delivery),
    Gap(Gap),
    End(Problem),
}

/// Missed messages.
#[derive(Debug)]
pub(super) struct Gap {
    pub(super) publisher: Arc<str>,
    pub(super) epoch: u64,
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) messages: u64,
    pub(super) reason: &'static str,
}

enum Source {
    Channel(ChannelSubscription),
    Topic(TopicSubscription),
}

/// A subscription that stands. Dropping it unsubscribes.
pub(super) struct Session {
    source: Source,
    numbers: Numbers,
}

/// Numbers the deliveries of a Channel, and remembers those that the app has to acknowledge: as many as its publishers
/// keep for it.
#[derive(Default)]
struct Numbers {
    last: u64,
    acknowledges: bool,
    open: std::collections::BTreeMap<u64, Receipt>,
}

impl Numbers {
    fn take(&mut self, deliveries: &[u64]) -> Vec<Receipt> {
        deliveries.iter().filter_map(|id| self.open.remove(id)).collect()
    }
}

impl Session {
    pub(super) async fn open(doors: &Doors, name: &Name, open: Open) -> Result<Self, Problem> {
        let mut numbers = Numbers::default();
        let source = match name {
            Name::Channel(name) => {
                check_channel(name, &open)?;
                let start = match open.start {
                    Some(Start::Earliest) => ChannelStart::Kept,
                    // Publishers that the app has not heard of may have published while it was away.
                    None if !open.resumed.is_empty() => ChannelStart::KeptIfAny,
                    Some(Start::Latest) | None => ChannelStart::Live,
                };
                let Open { prefixes, credit, resumed, acknowledge, .. } = open;
                let options = SubscribeOptions { prefixes, credit, acknowledge, start, resumed };
                let subscription = doors.channels.subscribe(name, options).await?;
                if acknowledge && !subscription.acknowledges() {
                    return Err(invalid(
                        name,
                        "acknowledge: this Channel has spec.delivery.acknowledge None",
                    ));
                }
                numbers.acknowledges = acknowledge;
                Source::Channel(subscription)
            }
            Name::Topic(name) => {
                if !open.prefixes.is_empty() {
                    return Err(invalid(&name, "prefixes: Topics have no subjects to match; leave it empty"));
                }
                if !open.resumed.is_empty() {
                    return Err(invalid(&name, "Last-Event-ID: a Topic goes on by its group; leave it out"));
                }
                let options = TopicOptions {
                    group: open.group,
                    start: open.start.unwrap_or(Start::Latest),
                    credit: open.credit,
                    acknowledge: open.acknowledge,
                };
                Source::Topic(doors.topics.subscribe(name, options).await?)
            }
        };
        Ok(Self { source, numbers })
    }

    /// What came, at least one item; `None` after the end. Safe to drop and call again.
    pub(super) async fn next(&mut self) -> Option<Vec<Item>> {
        match &mut self.source {
            Source::Channel(subscription) => {
                let events = subscription.next().await?;
                let numbers = &mut self.numbers;
                Some(events.into_iter().map(|event| channel_item(event, numbers)).collect())
            }
            Source::Topic(subscription) => {
                let events = subscription.next().await?;
                Some(events.into_iter().map(topic_item).collect())
            }
        }
    }

    /// The app is ready for `messages` more.
    pub(super) async fn grant(&self, messages: u32) {
        match &self.source {
            Source::Channel(subscription) => subscription.grant(messages),
            Source::Topic(subscription) => subscription.grant(messages).await,
        }
    }

    /// The app is done with these. Channels without acknowledgement have nothing to do.
    pub(super) async fn ack(&mut self, deliveries: Vec<u64>) {
        match &self.source {
            Source::Topic(subscription) => subscription.ack(deliveries).await,
            Source::Channel(subscription) => subscription.ack(&self.numbers.take(&deliveries)),
        }
    }

    /// The app wants these again.
    ///
    /// # Errors
    /// For Channels whose app does not acknowledge: one that counts on redelivery must not believe in it.
    pub(super) async fn nack(&mut self, deliveries: Vec<u64>, delay: Duration) -> Result<(), Problem> {
        match &self.source {
            Source::Topic(subscription) => subscription.nack(deliveries, delay).await,
            Source::Channel(subscription) if self.numbers.acknowledges => {
                subscription.nack(&self.numbers.take(&deliveries), delay);
            }
            Source::Channel(_) => {
                return Err(Problem::new(
                    ProblemKind::NotSupported,
                    "nack: nothing is redelivered; it needs a Channel with spec.delivery.acknowledge Required, and open \
                     with acknowledge",
                ));
            }
        }
        Ok(())
    }
}

fn channel_item(event: ChannelEvent, numbers: &mut Numbers) -> Item {
    match event {
        ChannelEvent::Message { position, message, receipt } => {
            numbers.last += 1;
            let (id, attempt) = (numbers.last, receipt.as_ref().map_or(1, |receipt| receipt.attempt));
            if let Some(receipt) = receipt.filter(|_| numbers.acknowledges) {
                if numbers.open.len() >= OPEN_MAX {
                    // Its publisher has sent it again since, or given it up.
                    numbers.open.pop_first();
                }
                numbers.open.insert(id, receipt);
            }
            Item::Delivery(Delivery { id, position, message, attempt })
        }
        ChannelEvent::Gap { publisher, epoch, first, last, messages, reason } => {
            Item::Gap(Gap { publisher, epoch, first, last, messages, reason })
        }
        ChannelEvent::End { reason } => Item::End(reason),
    }
}

fn topic_item(event: TopicEvent) -> Item {
    match event {
        TopicEvent::Delivery(delivery) => Item::Delivery(delivery),
        TopicEvent::End(problem) => Item::End(problem),
    }
}

fn check_channel(name: &ChannelName, open: &Open) -> Result<(), Problem> {
    if !(1..=CREDIT_MAX).contains(&open.credit) {
        return Err(invalid(name, &format!("credit must be 1 to {CREDIT_MAX}, not {}", open.credit)));
    }
    if open.prefixes.len() > PREFIXES_MAX || open.prefixes.iter().any(|p| p.len() > PREFIX_BYTES_MAX) {
        let text = format!("prefixes: at most {PREFIXES_MAX} of at most {PREFIX_BYTES_MAX} bytes each");
        return Err(invalid(name, &text));
    }
    if !open.group.is_empty() {
        return Err(invalid(name, "group: Channels have no groups; leave it empty"));
    }
    Ok(())
}

fn invalid(name: &impl std::fmt::Display, text: &str) -> Problem {
    Problem::new(ProblemKind::InvalidArgument, format!("{name}: {text}"))
}
