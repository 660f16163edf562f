//! PubSub without acknowledgement: in order, never twice, and what is missing is told to the last message.

use super::super::plan::{Plan, Scene};
use super::super::records::{Ending, Event, Life, Records, Taking, subject_of};
use super::super::world::World;
use super::{Placed, Proven, lives};
use crate::view::Overflow;

/// One subscription at one publisher's process.
struct Course<'a> {
    who: String,
    scene: &'a Scene,
    placed: &'a Placed,
    prefix: &'a str,
    /// It goes on where another one stood.
    resumed: bool,
    /// The last message that came, or after which it began.
    last: u64,
    /// The last number that was told of.
    told_to: u64,
    /// Messages told as missing since the last one that came; and whether somebody did not know how many.
    missing: u64,
    unknown: bool,
    /// It was away for longer than the publisher waits.
    forgotten: bool,
}

/// What a queue that was full gave up is counted, at least as often as it is told.
pub(super) fn counted(plan: &Plan, records: &Records, index: usize) -> Result<(), String> {
    for (number, life) in &records.lives {
        for reason in ["dropped_newest", "dropped_oldest", "replaced"] {
            let takings = records.takings.iter().filter(|taking| taking.scene == index);
            let events = takings.flat_map(|taking| &taking.events).filter(|event| is_of(event, life));
            let told: u64 = events
                .map(|event| match event {
                    Event::Gap { messages, reason: why, .. } if *why == reason => *messages,
                    _ => 0,
                })
                .sum();
            let counted = life.dropped(&plan.scenes[index].name, reason);
            if told > counted {
                return Err(format!(
                    "process {number}, scene {index}: {told} were told as {reason}, {counted} counted"
                ));
            }
        }
    }
    Ok(())
}

/// Judges one subscription at all publishers.
pub(super) fn judge(
    (plan, world, records): (&Plan, &World, &Records),
    taking: &Taking,
    proven: &mut Proven,
) -> Result<(), String> {
    let scene = &plan.scenes[taking.scene];
    let nothing = super::Numbering::default();
    for (number, life) in records.lives.iter().filter(|(_, life)| scene.publishers.contains(&life.node)) {
        let numbering = records.numberings.get(&(taking.scene, *number)).unwrap_or(&nothing);
        let placed = Placed::of(numbering)
            .map_err(|what| format!("process {number}, scene {}: {what}", taking.scene))?;
        let events: Vec<&Event> = taking.events.iter().filter(|event| is_of(event, life)).collect();
        let who = format!("subscription {} of process {} at process {number}", taking.id, taking.process);
        let local = *number == taking.process;
        let stood = taking.resumed.iter().find(|resumed| resumed.epoch == life.epoch);
        let stood = stood.map(|stood| stood.received);
        let began = if local {
            stood.or_else(|| local_beginning(taking, numbering, &events))
        } else {
            let answer = world.beginning((taking.process, taking.id), *number).map(|began| began.after);
            // Of a process that is gone, it is told that it is.
            answer.or_else(|| stood.filter(|_| !events.is_empty()))
        };
        let remote = world
            .beginning((taking.process, taking.id), *number)
            .filter(|_| !local && taking.kept && taking.resumed.is_empty());
        if let (Some(remote), Some(replay)) = (remote, scene.view.replay) {
            let most = remote.offered.saturating_sub(replay.messages as u64);
            if remote.after > most {
                return Err(format!("{who}: it began after {}, and {most} and more were kept", remote.after));
            }
        }
        if let (Some(stood), Some(began)) = (stood, began)
            && stood != began
        {
            return Err(format!("{who}: it began after {began}, and stood at {stood}"));
        }
        let stays = taking.closed.is_none() && lives(records, taking.process);
        let Some(began) = began else {
            if let Some(event) = events.first() {
                return Err(format!("{who}: {event:?} came before it began"));
            }
            if stays && lives(records, *number) {
                return Err(format!("{who}: it never began"));
            }
            continue;
        };
        let mut course = Course {
            who,
            scene,
            placed: &placed,
            prefix: taking.prefix,
            resumed: !taking.resumed.is_empty(),
            last: began,
            told_to: began,
            missing: 0,
            unknown: false,
            forgotten: false,
        };
        for event in events {
            course.take(event, (plan, *number), proven)?;
        }
        let calm_drain = !plan.faults.lines && !plan.faults.partitions && !plan.faults.crashes;
        let ended_well = life.ended.is_none_or(|(_, ending)| ending == Ending::Drained && calm_drain);
        if stays && ended_well {
            course.end(life.ended.is_none())?;
        }
    }
    Ok(())
}

fn is_of(event: &Event, life: &Life) -> bool {
    let (Event::Message { publisher, epoch, .. } | Event::Gap { publisher, epoch, .. }) = event;
    *epoch == life.epoch && **publisher == *Plan::sidecar(life.node)
}

/// At the publisher of its own pod a subscription begins with the first publish that begins after it, or earlier.
fn local_beginning(taking: &Taking, numbering: &super::Numbering, events: &[&Event]) -> Option<u64> {
    let first = events.first().map(|event| match event {
        Event::Message { offset, .. } => offset - 1,
        Event::Gap { first, .. } => first - 1,
    });
    let mut before = 0;
    for batch in numbering.batches.iter().filter(|batch| batch.begun <= taking.opened) {
        before += match batch.outcome {
            super::Outcome::Taken(_) => batch.count,
            super::Outcome::Part(count) => count,
            // A process that died had published nobody knows how much of it.
            super::Outcome::Unknown => batch.count,
        };
    }
    Some(first.map_or(before, |first| first.min(before)))
}

impl Course<'_> {
    fn wrong<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("{}: {what}", self.who))
    }

    fn wants(&self, number: u64) -> bool {
        self.placed.id(number).is_some_and(|id| subject_of(id).starts_with(self.prefix))
    }

    fn take(
        &mut self,
        event: &Event,
        (plan, process): (&Plan, u64),
        proven: &mut Proven,
    ) -> Result<(), String> {
        match event {
            Event::Message { offset, sent, .. } => {
                if *offset <= self.told_to {
                    return self.wrong(&format!("message {offset} came after {}", self.told_to));
                }
                if sent.process != process || self.placed.id(*offset) != Some(sent.id) || !self.wants(*offset)
                {
                    return self.wrong(&format!(
                        "number {offset} was not given to {sent:?}, or it was not asked for"
                    ));
                }
                self.settle(*offset)?;
                (self.last, self.told_to) = (*offset, *offset);
                proven.delivered += 1;
            }
            Event::Gap { first, last, messages, reason, .. } => {
                if *first <= self.told_to || last < first {
                    return self.wrong(&format!("a gap from {first} to {last} came after {}", self.told_to));
                }
                let may = match self.scene.view.overflow {
                    Overflow::DropNewest => *reason == "dropped_newest",
                    Overflow::DropOldest => *reason == "dropped_oldest",
                    Overflow::KeepLatest => matches!(*reason, "dropped_oldest" | "replaced"),
                    _ => false,
                };
                let excused = (plan.faults.any() || self.resumed)
                    && matches!(*reason, "disconnected" | "lost" | "shutdown");
                if !may && !excused {
                    return self.wrong(&format!("a gap from {first} to {last} with reason {reason}"));
                }
                self.told_to = *last;
                self.missing += messages;
                self.unknown |= *messages == 0;
                self.forgotten |= matches!(*reason, "disconnected" | "lost");
                proven.told += messages;
            }
        }
        Ok(())
    }

    /// What is missing before `next` must have been told.
    fn settle(&mut self, next: u64) -> Result<(), String> {
        let missed = (self.last + 1..next).filter(|number| self.wants(*number)).count() as u64;
        let fits = if self.unknown { self.missing <= missed } else { self.missing == missed };
        if !fits {
            let text = format!(
                "between {} and {next}, {missed} are missing and {} were told",
                self.last, self.missing
            );
            return self.wrong(&text);
        }
        (self.missing, self.unknown, self.forgotten) = (0, false, false);
        Ok(())
    }

    /// Nothing follows, although there was time.
    fn end(mut self, publisher_lives: bool) -> Result<(), String> {
        let end = self.placed.last() + 1;
        let newest = (self.last + 1..end).rev().find(|number| self.wants(*number));
        let kept = matches!(self.scene.view.overflow, Overflow::DropOldest | Overflow::KeepLatest);
        if kept && publisher_lives && newest.is_some() && !self.forgotten {
            return self.wrong(&format!("the newest message, {newest:?}, did not come"));
        }
        self.settle(end)
    }
}
