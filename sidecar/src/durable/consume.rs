//! Subscriptions to Topics: one consumer each, owned by one task that never stops polling.
//!
//! The task keeps its group membership alive while the app is slow (librdkafka answers rebalances
//! only when polled): out of credit, it pauses the partitions and polls on. With a group, the
//! contiguous prefix of what is done is stored and committed every [`COMMIT_INTERVAL`], when
//! partitions move away, and at the end. Without a group, it reads all partitions and commits nothing.

pub(super) mod client;
mod reader;

use std::time::Duration;

use prometheus::IntCounter;
use runtime::clock;
use runtime::tasks::{OnError, Tasks};
use tokio::sync::{mpsc, oneshot};

use super::{Delivery, Settings};
use crate::messaging::{Problem, ProblemKind, TopicName};
use crate::view::{TopicView, ViewReceiver};

const COMMIT_INTERVAL: Duration = Duration::from_millis(500);
/// How long opening may take: joining a group waits for its other members.
const OPEN_DEADLINE: Duration = Duration::from_secs(60);
/// Acks and grants that wait for the task; it always takes them.
const COMMANDS: usize = 64;

/// Where a reader without a committed offset begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Latest,
    Earliest,
}

/// How an app wants to read a Topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOptions {
    /// Empty = no group, nothing is committed.
    pub group: String,
    pub start: Start,
    pub credit: u32,
    /// With a group: a message counts as done when it is acked, not when the app took it.
    pub acknowledge: bool,
}

/// What a subscription brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicEvent {
    Delivery(Delivery),
    /// Nothing follows.
    End(Problem),
}

/// What a subscription reads, and what it counts into.
pub(super) struct Source {
    pub(super) name: TopicName,
    pub(super) topic: TopicView,
    pub(super) view: ViewReceiver,
    pub(super) tasks: Tasks,
    pub(super) delivered: IntCounter,
}

enum Command {
    Grant(u32),
    Ack(Vec<u64>),
    Nack(Vec<u64>, Duration),
    /// The app took everything up to this delivery.
    HandedOver(u64),
}

/// One app's subscription to one Topic. Dropping it leaves the group and commits what is done.
pub struct TopicSubscription {
    events: mpsc::Receiver<Vec<TopicEvent>>,
    commands: mpsc::Sender<Command>,
    taken: Option<u64>,
    ended: oneshot::Receiver<()>,
}

impl TopicSubscription {
    /// Ends it like dropping it does, and waits until the group is left and what is done is
    /// committed: at most until the client's own deadline.
    pub async fn end(self) {
        let Self { events, commands, ended, .. } = self;
        drop((events, commands));
        // The sender goes with the reader; that it sends nothing is how it says so.
        drop(ended.await);
    }

    /// What came, at least one event; `None` after the end. To call it again says that the app
    /// took what the last call brought. Safe to drop and call again.
    pub async fn next(&mut self) -> Option<Vec<TopicEvent>> {
        if let Some(id) = self.taken {
            self.command(Command::HandedOver(id)).await;
            self.taken = None;
        }
        let events = self.events.recv().await?;
        self.taken = events.iter().rev().find_map(|event| match event {
            TopicEvent::Delivery(delivery) => Some(delivery.id),
            TopicEvent::End(_) => None,
        });
        Some(events)
    }

    /// The app is ready for `messages` more.
    pub async fn grant(&self, messages: u32) {
        self.command(Command::Grant(messages)).await;
    }

    /// The app is done with these deliveries; ids that are not open are ignored.
    pub async fn ack(&self, deliveries: Vec<u64>) {
        self.command(Command::Ack(deliveries)).await;
    }

    /// The app wants these deliveries again after `delay`.
    pub async fn nack(&self, deliveries: Vec<u64>, delay: Duration) {
        self.command(Command::Nack(deliveries, delay)).await;
    }

    async fn command(&self, command: Command) {
        // A closed channel means that the end is in the events: the app will read it there.
        drop(self.commands.send(command).await);
    }
}

pub(super) async fn open(
    settings: &Settings,
    source: Source,
    options: TopicOptions,
) -> Result<TopicSubscription, Problem> {
    let deadline = clock::now() + OPEN_DEADLINE;
    let name = source.name.clone();
    let opened = tokio::time::timeout_at(deadline, client::open(settings, &source, &options)).await;
    let opened = opened.map_err(|_| {
        Problem::new(
            ProblemKind::DeadlineExceeded,
            format!("{name}: the broker gave no positions within {} s", OPEN_DEADLINE.as_secs()),
        )
    })??;
    let (event_sender, events) = mpsc::channel(1);
    let (commands, command_receiver) = mpsc::channel(COMMANDS);
    let tasks = source.tasks.clone();
    let reader = reader::Reader::new(opened, source, &options, event_sender);
    let (running, ended) = oneshot::channel();
    tasks.spawn("topic subscription", OnError::Log, async move {
        reader.run(command_receiver).await;
        drop(running);
        Ok::<(), std::convert::Infallible>(())
    });
    Ok(TopicSubscription { events, commands, taken: None, ended })
}
