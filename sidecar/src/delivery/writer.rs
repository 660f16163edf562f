//! What a Channel writes to a Topic beside what it delivers: one writer for each outbox, which tries again until the Topic
//! has everything, in order, or can never take it.

use super::core::Core;
use super::origin::Origin;
use crate::durable::{Placement, Topics};
use crate::messaging::{ChannelName, Message, Position, Problem, ProblemKind, TopicName};
use crate::view::{ChannelView, ViewReceiver};
use runtime::backoff::Backoff;
use std::sync::Arc;
use std::time::Duration;

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(10);

/// Messages that wait for a Topic, oldest first. They stay until the writer says what became of them.
pub(super) trait Outbox: Send + Sync + 'static {
    type Entry: Send + Sync;
    /// What is written, for logs.
    const WHAT: &'static str;

    /// Where they go; `None`: nowhere any more.
    fn topic(&self, channel: &ChannelView) -> Option<TopicName>;
    fn placement(origin: &Origin) -> Placement<'_>;
    fn record(&self, origin: &Origin, entry: &Self::Entry) -> Message;
    /// The oldest ones, as many as are written at once. Safe to drop.
    fn oldest(&self) -> impl Future<Output = Vec<Self::Entry>> + Send;
    /// The Topic has the oldest ones, at these places.
    fn written(&self, places: &[Position]);
    /// The Topic never takes the oldest one.
    fn refused(&self);
    /// There is no Topic for the oldest `count`.
    fn unwanted(&self, count: usize);
    /// Why the last try failed, empty when it did not; returns whether that is news.
    fn tell(&self, problem: &str) -> bool;
}

struct Writer<O> {
    origin: Origin,
    topics: Topics,
    view: ViewReceiver,
    outbox: Arc<O>,
}

impl<O: Outbox> Writer<O> {
    async fn run(self) {
        let mut backoff = Backoff::new(PAUSE_FIRST, PAUSE_MOST);
        loop {
            let entries = self.outbox.oldest().await;
            let Err(problem) = self.write(&entries).await else {
                backoff.reset();
                self.outbox.tell("");
                continue;
            };
            if self.outbox.tell(&problem.message) {
                tracing::warn!(channel = %self.origin.channel, what = O::WHAT, %problem, "not written to the Topic; tried again");
            }
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }

    /// Writes them all, or says why the rest is to be tried again.
    async fn write(&self, entries: &[O::Entry]) -> Result<(), Problem> {
        let topic = {
            let view = self.view.borrow();
            view.channels.get(&self.origin.channel).and_then(|channel| self.outbox.topic(channel))
        };
        let Some(topic) = topic else {
            // It was taken out of the Channel meanwhile.
            self.outbox.unwanted(entries.len());
            return Ok(());
        };
        let (written, problem) = self.write_to(&topic, entries).await;
        match problem {
            None => Ok(()),
            // A broker refuses a batch as a whole: which of them it means, each alone tells.
            Some(problem) if problem.kind == ProblemKind::InvalidArgument => {
                if let [_] = entries {
                    self.refused(&problem);
                    return Ok(());
                }
                for entry in entries.get(written..).unwrap_or_default() {
                    self.write_one(&topic, entry).await?;
                }
                Ok(())
            }
            Some(problem) => Err(problem),
        }
    }

    /// How many were written, and why no more: those behind the first that failed are tried again with it, in order,
    /// and some of them are then written twice.
    async fn write_to(&self, topic: &TopicName, entries: &[O::Entry]) -> (usize, Option<Problem>) {
        let records = entries.iter().map(|entry| self.outbox.record(&self.origin, entry)).collect();
        let outcomes = match self.topics.publish_each(topic, records, O::placement(&self.origin)).await {
            Ok(outcomes) => outcomes,
            Err(problem) => return (0, Some(problem)),
        };
        let (mut places, mut problem) = (Vec::with_capacity(outcomes.len()), None);
        for outcome in outcomes {
            match outcome {
                Ok(place) if problem.is_none() => places.push(place),
                Ok(_) => {}
                Err(failed) => problem = problem.or(Some(failed)),
            }
        }
        self.outbox.written(&places);
        (places.len(), problem)
    }

    async fn write_one(&self, topic: &TopicName, entry: &O::Entry) -> Result<(), Problem> {
        match self.write_to(topic, std::slice::from_ref(entry)).await.1 {
            None => Ok(()),
            Some(problem) if problem.kind == ProblemKind::InvalidArgument => {
                self.refused(&problem);
                Ok(())
            }
            Some(problem) => Err(problem),
        }
    }

    /// The Topic can never take the oldest one.
    fn refused(&self, problem: &Problem) {
        tracing::warn!(channel = %self.origin.channel, what = O::WHAT, %problem, "the Topic does not take a message");
        self.outbox.refused();
    }
}

impl Core {
    pub(super) fn origin_of(&self, channel: &ChannelName) -> Origin {
        Origin { channel: channel.clone(), publisher: Arc::clone(self.sidecar()), epoch: self.epoch() }
    }

    /// Whether the Topic of that field can be written and takes copies of these, with so many bytes added to each.
    pub(super) fn check_copies(
        &self,
        name: &ChannelName,
        (field, topic): (&str, &TopicName),
        (messages, more): (&[Message], usize),
    ) -> Result<(), Problem> {
        let bytes_max = self
            .topics
            .check_publish(topic)
            .map_err(|problem| Problem::new(problem.kind, format!("{name}: {field}: {}", problem.message)))?;
        let origin = self.origin_of(name);
        let size = |message: &Message| {
            message.size_bytes().saturating_add(origin.bytes_max(message)).saturating_add(more)
        };
        let largest = messages.iter().map(size).max().unwrap_or(0);
        if largest > bytes_max {
            let text = format!(
                "{name}: {field}: a message of {largest} bytes, what says where it comes from included, is above \
                 spec.maxMessageSize of {topic} ({bytes_max} bytes); raise it by 1 KiB above the Channel's"
            );
            return Err(Problem::new(ProblemKind::InvalidArgument, text));
        }
        Ok(())
    }

    /// Waits until every copy, every dead letter and all that overflowed is written. Nothing may be published meanwhile.
    pub(crate) async fn flushed(&self) {
        for outlet in self.outlets() {
            outlet.recorder.flushed().await;
            outlet.spill.flushed().await;
            outlet.dead_letters.flushed().await;
        }
    }

    /// Writes what comes into an outbox. To be started once.
    pub(super) fn write_out<O: Outbox>(&self, origin: Origin, outbox: Arc<O>) {
        let writer = Writer { origin, topics: self.topics.clone(), view: self.view_receiver(), outbox };
        drop(self.background.spawn_until_shutdown(O::WHAT, writer.run()));
    }
}
