//! The task behind one subscription: polls, delivers within credit, takes acks, stores offsets.

use std::time::Duration;

use futures::FutureExt as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use runtime::clock::{self, Instant};
use tokio::sync::mpsc;

use super::client::{self, Moved, Opened, is_final, receive};
use super::{Command, Source, TopicEvent, TopicOptions};
use crate::durable::progress::{Done, DoneBy, Progress};
use crate::durable::{access, translate};
use crate::messaging::{Message, Position, Problem, ProblemKind};

/// Records taken in one go; the app gets them as one batch.
const BATCH_MESSAGES: usize = 500;
/// How long an app may be out of credit before the partitions are paused. Shorter would throw
/// away what was fetched ahead at every breath of the app; longer would hold up rebalances.
const PAUSE_AFTER: Duration = Duration::from_secs(1);

pub(super) struct Reader {
    opened: Opened,
    source: Source,
    progress: Progress,
    grouped: bool,
    outbox: Vec<TopicEvent>,
    events: mpsc::Sender<Vec<TopicEvent>>,
    /// Since when the app had no room; `None` while it has.
    stuck: Option<Instant>,
    paused: bool,
    /// Partitions read without a group.
    assigned: i32,
    ended: bool,
}

impl Reader {
    pub(super) fn new(
        opened: Opened,
        source: Source,
        options: &TopicOptions,
        events: mpsc::Sender<Vec<TopicEvent>>,
    ) -> Self {
        let grouped = !options.group.is_empty();
        let done_by = match (grouped, options.acknowledge) {
            (false, _) => DoneBy::Nothing,
            (true, false) => DoneBy::HandOver,
            (true, true) => DoneBy::Ack,
        };
        Self {
            opened,
            progress: Progress::new(done_by, options.credit),
            grouped,
            outbox: Vec::new(),
            events,
            stuck: None,
            paused: false,
            assigned: i32::try_from(source.topic.partitions).unwrap_or(i32::MAX),
            source,
            ended: false,
        }
    }

    /// Works until the subscription is dropped, the shutdown begins, or the Topic cannot be read on.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let shutdown = self.source.tasks.shutdown().clone();
        let mut view = self.source.view.clone();
        while !(self.ended && self.outbox.is_empty()) {
            self.take_moved();
            self.collect();
            self.update_flow();
            let polls = !self.ended && (self.progress.has_room() || self.paused);
            let wake = self.next_wake();
            let events = self.events.clone();
            tokio::select! {
                permit = events.reserve(), if !self.outbox.is_empty() => match permit {
                    Ok(permit) => permit.send(std::mem::take(&mut self.outbox)),
                    Err(_) => break,
                },
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => break,
                },
                record = receive(&self.opened.client), if polls => self.record(record),
                () = self.opened.client.context().moved() => {}
                () = sleep_until(wake) => {}
                changed = view.changed(), if !self.ended => match changed {
                    Ok(()) => self.view_changed(),
                    Err(_) => break,
                },
                () = shutdown.begun() => break,
            }
        }
        // What the app acknowledged last is still to be committed.
        while let Ok(command) = commands.try_recv() {
            self.command(command);
        }
        self.opened.client.close().await;
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Grant(messages) => self.progress.grant(messages),
            Command::Ack(ids) => {
                for id in ids {
                    if let Some(done) = self.progress.ack(id) {
                        self.store(done);
                    }
                }
            }
            Command::Nack(ids, delay) => {
                let due = clock::now() + delay;
                for id in ids {
                    self.progress.nack(id, due);
                }
            }
            Command::HandedOver(id) => {
                for done in self.progress.handed_over(id) {
                    self.store(done);
                }
            }
        }
    }

    fn store(&self, done: Done) {
        let stored =
            self.opened.client.store_offset(&self.source.topic.topic_name, done.partition, done.last_offset);
        if let Err(error) = stored {
            // The partition moved away between the ack and now: its new reader gets the message again.
            tracing::debug!(%error, topic = %self.source.name, partition = done.partition, "offset not stored");
        }
    }

    fn record(&mut self, first: Result<(Position, Message), KafkaError>) {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(record) = next.take() {
            match record {
                Ok(record) => self.opened.early.push_back(record),
                Err(error) => return self.consumer_error(&error),
            }
            self.collect();
            taken += 1;
            // What is received must be kept, so nothing is received without room for it.
            if taken < BATCH_MESSAGES && !self.paused && self.progress.has_room() {
                next = receive(&self.opened.client).now_or_never();
            }
        }
        // A partition that was assigned while we are paused is not paused itself.
        if self.paused {
            self.set_paused(true);
        }
    }

    fn consumer_error(&mut self, error: &KafkaError) {
        let about_group =
            error.rdkafka_error_code() == Some(rdkafka::error::RDKafkaErrorCode::GroupAuthorizationFailed);
        if is_final(error) && (self.grouped || !about_group) {
            self.end(translate::problem(&self.source.name, "read", error));
        } else {
            tracing::debug!(%error, topic = %self.source.name, "the Kafka client tries again");
        }
    }

    /// Moves what is due again and what was received into the outbox, as far as there is room.
    fn collect(&mut self) {
        let before = self.outbox.len();
        let now = clock::now();
        while let Some(delivery) = self.progress.redeliver(now) {
            self.outbox.push(TopicEvent::Delivery(delivery));
        }
        while self.progress.has_room() {
            let Some((position, message)) = self.opened.early.pop_front() else {
                break;
            };
            self.outbox.push(TopicEvent::Delivery(self.progress.deliver(position, message)));
        }
        let new = self.outbox.len().saturating_sub(before);
        self.source.delivered.inc_by(u64::try_from(new).unwrap_or(u64::MAX));
    }

    fn take_moved(&mut self) {
        for moved in self.opened.client.context().take_moved() {
            if let Moved::Revoked(partitions) = moved {
                self.progress.revoke(&partitions);
                self.opened.early.retain(|(position, _)| !partitions.contains(&position.partition));
            }
        }
    }

    fn update_flow(&mut self) {
        if self.progress.has_room() {
            self.stuck = None;
            if self.paused {
                self.set_paused(false);
            }
            return;
        }
        let now = clock::now();
        let since = *self.stuck.get_or_insert(now);
        if !self.paused && now.saturating_duration_since(since) >= PAUSE_AFTER {
            self.set_paused(true);
        }
    }

    fn set_paused(&mut self, paused: bool) {
        let client = &self.opened.client;
        let changed = client.assignment().and_then(|partitions| {
            if paused { client.pause(&partitions) } else { client.resume(&partitions) }
        });
        if let Err(error) = changed {
            tracing::debug!(%error, topic = %self.source.name, paused, "partitions not paused or resumed");
        }
        self.paused = paused;
    }

    fn next_wake(&self) -> Option<Instant> {
        let pause = self.stuck.filter(|_| !self.paused).map(|since| since + PAUSE_AFTER);
        // Without credit a due message cannot go out; a grant wakes us.
        let again = if self.progress.has_credit() { self.progress.next_due() } else { None };
        pause.into_iter().chain(again).min()
    }

    /// The Topic may have been taken from us, or have grown.
    fn view_changed(&mut self) {
        let checked = access::subscribe(&self.source.view.borrow(), &self.source.name);
        let topic = match checked {
            Ok(topic) => topic,
            // A Topic that is in trouble may get well; the broker says so in its own time.
            Err(problem) if problem.kind == ProblemKind::Unavailable => return,
            Err(problem) => return self.end(problem),
        };
        let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
        if !self.grouped && partitions > self.assigned {
            let new = client::beginning(&topic.topic_name, self.assigned..partitions);
            match self.opened.client.incremental_assign(&new) {
                Ok(()) => self.assigned = partitions,
                Err(error) => {
                    tracing::warn!(%error, topic = %self.source.name, "new partitions are not read yet");
                }
            }
        }
    }

    fn end(&mut self, problem: Problem) {
        if !self.ended {
            self.ended = true;
            self.outbox.push(TopicEvent::End(problem));
        }
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
