//! The apps of a pod: they publish and subscribe through the sidecar's handle to Channels, and write down what they
//! were told.

mod requests;

pub(super) use requests::is_idempotent;

use super::node::Process;
use super::records::{Batch, Event, Outcome, Sent, Taking, subject_of};
use crate::messaging::{
    ChannelEvent, ChannelStart, ChannelSubscription, Message, Problem, Receipt, SubscribeOptions,
};
use crate::view::{Overflow, Pattern};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A publish may end so much later than its time: what waits is woken at whole milliseconds.
const LATE_MAX: Duration = Duration::from_millis(2);

/// How many keys there are, where there are keys.
pub(super) const KEYS: u64 = 5;

/// Starts all apps of a process.
pub(super) fn start(process: &Arc<Process>) {
    for (scene, what) in process.plan.scenes.iter().enumerate() {
        let requests = what.view.pattern == Pattern::RequestReply;
        if what.publishers.contains(&process.node) {
            if requests {
                requests::ask(process, scene);
            } else {
                process.run("publisher", publish(Arc::clone(process), scene));
            }
        }
        if what.subscribers.contains(&process.node) {
            for _ in 0..what.subscriptions {
                if requests {
                    process.run("responder", requests::answer(Arc::clone(process), scene));
                } else {
                    process.run("subscriber", subscribe(Arc::clone(process), scene));
                }
            }
        }
    }
}

async fn publish(process: Arc<Process>, scene: usize) {
    process.publishes(true);
    let world = &process.world;
    tokio::time::sleep(world.moment(1_000)).await;
    while world.now() < process.plan.busy && !process.is_closing() {
        let count = if world.one_in(8) { 1 + world.below(60) } else { 1 + world.below(4) };
        publish_batch(&process, scene, count).await;
        let pause = world.moment(process.plan.scenes[scene].publish_pause_ms);
        tokio::time::sleep(pause + Duration::from_millis(1)).await;
    }
    process.publishes(false);
}

async fn publish_batch(process: &Process, scene: usize, count: u64) {
    let (world, what) = (&process.world, &process.plan.scenes[scene]);
    let begun = world.now();
    let (place, messages) = {
        let mut records = world.records();
        let numbering = records.numberings.entry((scene, process.number)).or_default();
        let first_id = numbering.next_id;
        numbering.next_id += count;
        let batch = Batch { first_id, count, begun, ended: None, outcome: Outcome::Unknown };
        numbering.batches.push(batch);
        let ids = first_id..first_id + count;
        let messages: Vec<Message> = ids.map(|id| message(process, scene, id)).collect();
        (numbering.batches.len() - 1, messages)
    };
    let answer = process.channels.publish(&what.name, messages).await;
    let ended = world.now();
    let outcome = match &answer {
        Ok(positions) => Outcome::Taken(u64::try_from(positions[0].offset).unwrap_or(0)),
        Err(problem) => Outcome::Part(part(problem)),
    };
    world.log(format_args!("process {} published {count} to {scene}: {outcome:?}", process.number));
    let waits = what.view.overflow == Overflow::Block || what.view.pattern != Pattern::PubSub;
    let patience =
        if waits { what.view.block_timeout.max(Duration::from_secs(5)) + LATE_MAX } else { Duration::ZERO };
    if ended - begun > patience {
        world.wrong(&format!("a publish to {scene} took {:?}, and may take {patience:?}", ended - begun));
    }
    let mut records = world.records();
    let numbering = records.numberings.entry((scene, process.number)).or_default();
    let batch = &mut numbering.batches[place];
    (batch.ended, batch.outcome) = (Some(ended), outcome);
}

fn message(process: &Process, scene: usize, id: u64) -> Message {
    let size = process.world.below(process.plan.scenes[scene].payload_max);
    let sent = Sent { scene, process: process.number, id };
    Message {
        subject: Bytes::from_static(subject_of(id).as_bytes()),
        key: process.plan.scenes[scene].keyed.then(|| Bytes::from((id % KEYS).to_string())),
        parts: vec![sent.payload(usize::try_from(size).unwrap_or(0))],
        ..Message::default()
    }
}

/// How much of a batch was published although it failed: the text promises to say it.
fn part(problem: &Problem) -> u64 {
    let (before, _) =
        problem.message.split_once(" messages of this batch were published").unwrap_or_default();
    let mut words = before.rsplit(' ');
    let published = words.nth(2).and_then(|word| word.parse().ok());
    published.unwrap_or(0)
}

async fn subscribe(process: Arc<Process>, scene: usize) {
    let (world, what) = (&process.world, &process.plan.scenes[scene]);
    tokio::time::sleep(world.moment(1_500)).await;
    let mut resumed = Vec::new();
    while !process.is_closing() {
        let credit = 1 + world.below(what.credit_max);
        let prefix = if what.prefixes { ["", "a", "ab", "c"][world.pick(4)] } else { "" };
        let kept = what.view.replay.is_some() && world.one_in(2);
        let options = SubscribeOptions {
            prefixes: if prefix.is_empty() {
                Vec::new()
            } else {
                vec![Bytes::from_static(prefix.as_bytes())]
            },
            credit: u32::try_from(credit).unwrap_or(1),
            acknowledge: world.one_in(2),
            resumed: resumed.clone(),
            start: if kept { ChannelStart::Kept } else { ChannelStart::Live },
        };
        let Ok(subscription) = process.channels.subscribe(&what.name, options).await else { return };
        let place = {
            let taking = Taking {
                scene,
                process: process.number,
                id: process.next_subscription(),
                prefix,
                kept,
                resumed,
                opened: world.now(),
                closed: None,
                events: Vec::new(),
                acked: BTreeSet::new(),
            };
            let mut records = world.records();
            records.takings.push(taking);
            records.takings.len() - 1
        };
        let taker = Taker { process: Arc::clone(&process), scene, place, subscription };
        let ended = taker.take(credit).await;
        world.records().takings[place].closed = Some(world.now());
        if ended {
            return;
        }
        let goes_on = world.one_in(2) && !what.is_numbered();
        resumed = if goes_on { world.records().takings[place].stands() } else { Vec::new() };
        tokio::time::sleep(world.moment(2_000)).await;
    }
}

/// One subscription, and where it is written down.
struct Taker {
    process: Arc<Process>,
    scene: usize,
    place: usize,
    subscription: ChannelSubscription,
}

impl Taker {
    /// Takes until the subscription ends, which it returns, or the app has had enough.
    async fn take(mut self, mut allowed: u64) -> bool {
        let process = Arc::clone(&self.process);
        let (world, what) = (&process.world, &process.plan.scenes[self.scene]);
        loop {
            let Some(events) = self.subscription.next().await else { return true };
            let (mut messages, mut receipts) = (0, Vec::new());
            for event in events {
                if let ChannelEvent::Message { message, receipt, .. } = &event {
                    messages += 1;
                    let sent = Sent::parse(&message.parts[0]);
                    receipts.extend(receipt.clone().zip(sent));
                }
                self.note(event);
            }
            if messages > allowed {
                world.wrong(&format!("{messages} messages came to an app that was ready for {allowed}"));
            }
            allowed -= messages.min(allowed);
            if world.one_in(3) {
                tokio::time::sleep(world.moment(what.slow_ms)).await;
            }
            self.settle(&receipts, what.careless);
            if what.fickle && world.one_in(60) && world.now() < process.plan.busy {
                return false;
            }
            // All that was used comes back, at the latest when nothing is left.
            if messages > 0 {
                allowed += messages;
                self.subscription.grant(u32::try_from(messages).unwrap_or(u32::MAX));
            }
        }
    }

    /// The app is done with them, or wants them again, or forgets to say.
    fn settle(&self, receipts: &[(Receipt, Sent)], careless: bool) {
        let world = &self.process.world;
        // Without acks of its own, an app that comes back for more acknowledges.
        let by_app = self.subscription.acknowledges();
        for (receipt, sent) in receipts {
            let word = if by_app && careless { world.below(20) } else { 2 };
            match word {
                0 => {}
                1 => self.subscription.nack(std::slice::from_ref(receipt), world.moment(500)),
                _ => {
                    if by_app {
                        self.subscription.ack(std::slice::from_ref(receipt));
                    }
                    world.records().takings[self.place].acked.insert(*sent);
                }
            }
        }
    }

    fn note(&self, event: ChannelEvent) {
        let world = &self.process.world;
        let event = match event {
            ChannelEvent::Message { position, message, receipt } => {
                let Some(sent) = Sent::parse(&message.parts[0]) else {
                    return world.wrong("a payload that nobody has sent");
                };
                if message.subject != subject_of(sent.id).as_bytes() {
                    world.wrong("a subject that nobody has sent");
                }
                Event::Message {
                    publisher: position.publisher,
                    epoch: position.epoch,
                    offset: u64::try_from(position.offset).unwrap_or(0),
                    sent,
                    attempt: receipt.map_or(1, |receipt| receipt.attempt),
                }
            }
            ChannelEvent::Gap { publisher, epoch, first, last, messages, reason } => Event::Gap {
                publisher,
                epoch,
                first: u64::try_from(first).unwrap_or(0),
                last: u64::try_from(last).unwrap_or(0),
                messages,
                reason,
            },
            ChannelEvent::End { reason } => {
                return world.log(format_args!("subscription {} ends: {reason}", self.place));
            }
        };
        world.log(format_args!("subscription {}: {event:?}", self.place));
        world.records().takings[self.place].events.push(event);
    }
}
