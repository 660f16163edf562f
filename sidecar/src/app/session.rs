//! One app's subscription, whatever the door and whatever is subscribed to: numbers the
//! deliveries, carries credit, acks and nacks to where they belong.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Doors;
use crate::durable::{CREDIT_MAX, Delivery, Start, TopicEvent, TopicOptions, TopicSubscription};
use crate::messaging::{
    ChannelEvent, ChannelName, ChannelSubscription, Name, Problem, ProblemKind, SubscribeOptions,
};

/// Prefixes of one subscription, and bytes of each.
const PREFIXES_MAX: usize = 10_000;
const PREFIX_BYTES_MAX: usize = 8 * 1024;

/// How an app opens a subscription; `None` and empty = not said.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) prefixes: Vec<Bytes>,
    pub(super) group: String,
    pub(super) start: Option<Start>,
    pub(super) credit: u32,
    pub(super) acknowledge: bool,
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
    last_id: u64,
}

impl Session {
    pub(super) async fn open(doors: &Doors, name: &Name, open: Open) -> Result<Self, Problem> {
        let source = match name {
            Name::Channel(name) => {
                check_channel(name, &open)?;
                let options = SubscribeOptions { prefixes: open.prefixes, credit: open.credit };
                Source::Channel(doors.channels.subscribe(name, options).await?)
            }
            Name::Topic(name) => {
                if !open.prefixes.is_empty() {
                    return Err(invalid(&name, "prefixes: Topics have no subjects to match; leave it empty"));
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
        Ok(Self { source, last_id: 0 })
    }

    /// What came, at least one item; `None` after the end. Safe to drop and call again.
    pub(super) async fn next(&mut self) -> Option<Vec<Item>> {
        match &mut self.source {
            Source::Channel(subscription) => {
                let events = subscription.next().await?;
                let last_id = &mut self.last_id;
                Some(events.into_iter().map(|event| channel_item(event, last_id)).collect())
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
    pub(super) async fn ack(&self, deliveries: Vec<u64>) {
        if let Source::Topic(subscription) = &self.source {
            subscription.ack(deliveries).await;
        }
    }

    /// The app wants these again.
    ///
    /// # Errors
    /// `NotSupported` for Channels: an app that counts on redelivery must not believe in it.
    pub(super) async fn nack(&self, deliveries: Vec<u64>, delay: Duration) -> Result<(), Problem> {
        match &self.source {
            Source::Topic(subscription) => {
                subscription.nack(deliveries, delay).await;
                Ok(())
            }
            Source::Channel(_) => Err(Problem::new(
                ProblemKind::NotSupported,
                "nack: this Channel has spec.delivery.acknowledge None, so nothing is redelivered",
            )),
        }
    }
}

fn channel_item(event: ChannelEvent, last_id: &mut u64) -> Item {
    match event {
        ChannelEvent::Message { position, message } => {
            *last_id += 1;
            Item::Delivery(Delivery { id: *last_id, position, message, attempt: 1 })
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
        return Err(invalid(name, "group: Channels of pattern PubSub have no groups; leave it empty"));
    }
    if open.start == Some(Start::Earliest) {
        return Err(invalid(name, "start: a Channel keeps nothing to start from; leave it out"));
    }
    if open.acknowledge {
        return Err(invalid(name, "acknowledge: this Channel has spec.delivery.acknowledge None"));
    }
    Ok(())
}

fn invalid(name: &impl std::fmt::Display, text: &str) -> Problem {
    Problem::new(ProblemKind::InvalidArgument, format!("{name}: {text}"))
}
