//! Messages that one receiver gets, or that are acknowledged: at most once, or until somebody was done with them.

use super::super::apps::KEYS;
use super::super::plan::{Plan, Scene};
use super::super::records::{Ending, Event, Life, Numbering, Outcome, Records, Sent, Taking, subject_of};
use super::super::world::World;
use super::{Proven, lives};
use crate::view::{Acknowledge, Overflow, Pattern};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Judges one Channel.
pub(super) fn judge(
    (plan, world, records): (&Plan, &World, &Records),
    index: usize,
    proven: &mut Proven,
) -> Result<(), String> {
    let scene = &plan.scenes[index];
    let all: Vec<&Taking> = records.takings.iter().filter(|taking| taking.scene == index).collect();
    if scene.view.pattern == Pattern::PubSub {
        for taking in all {
            one((plan, world, records), (index, scene), &[taking], proven)?;
        }
        return Ok(());
    }
    one((plan, world, records), (index, scene), &all, proven)
}

/// Judges those who share the messages.
fn one(
    (plan, world, records): (&Plan, &World, &Records),
    (index, scene): (usize, &Scene),
    takings: &[&Taking],
    proven: &mut Proven,
) -> Result<(), String> {
    let attempts = attempts(scene, takings)?;
    // A receiver that goes away leaves what it had to others, whatever they have had since.
    if scene.view.pattern == Pattern::PubSub || !(plan.faults.any() || scene.fickle) {
        takings.iter().try_for_each(|taking| ascend(scene, taking))?;
    }
    let came: BTreeSet<Sent> = attempts.keys().map(|(sent, _)| *sent).collect();
    let acked: BTreeSet<Sent> = takings.iter().flat_map(|taking| taking.acked.iter().copied()).collect();
    proven.delivered += came.len() as u64;
    let required = scene.view.acknowledge == Acknowledge::Required;
    let done = if required { &acked } else { &came };
    for (process, life) in &records.lives {
        let Some(numbering) = records.numberings.get(&(index, *process)) else { continue };
        for sent in came.iter().filter(|sent| sent.process == *process) {
            if sent.scene != index || sent.id >= numbering.next_id {
                return Err(format!("scene {index}: {sent:?} came, and nobody has sent it"));
            }
        }
        let Some(since) = since((world, records), scene, (takings, *process)) else { continue };
        if !is_owed((plan, world, records), (scene, takings), (*process, life)) {
            continue;
        }
        let prefix = takings.first().map_or("", |taking| taking.prefix);
        let missing: Vec<u64> = published(numbering, since)
            .filter(|id| subject_of(*id).starts_with(prefix))
            .filter(|id| !done.contains(&Sent { scene: index, process: *process, id: *id }))
            .collect();
        let mut counted = life.dropped_at_all(&scene.name);
        if !required {
            // What had reached a receiver's process and not its app is counted there.
            let others = records.lives.iter().filter(|(other, _)| *other != process);
            counted += others.map(|(_, life)| life.dropped(&scene.name, "disconnected")).sum::<u64>();
        }
        if missing.len() as u64 > counted {
            let first = &missing[..missing.len().min(9)];
            return Err(format!(
                "scene {index}, process {process}: {} messages are missing, the first with ids {first:?}, and {counted} were \
                 counted as dropped",
                missing.len()
            ));
        }
        let quiet = !plan.faults.any() && !scene.fickle && !required;
        if quiet && scene.view.overflow == Overflow::Block && !missing.is_empty() {
            return Err(format!(
                "scene {index}, process {process}: {missing:?} are missing, and nothing went wrong"
            ));
        }
        proven.told += missing.len() as u64;
    }
    Ok(())
}

/// How often each attempt at a message came. None comes twice, and none is above what is allowed.
fn attempts(scene: &Scene, takings: &[&Taking]) -> Result<BTreeMap<(Sent, u32), u64>, String> {
    let required = scene.view.acknowledge == Acknowledge::Required;
    let most = if required { scene.view.redeliver.attempts } else { 1 };
    let mut attempts: BTreeMap<(Sent, u32), u64> = BTreeMap::new();
    for taking in takings {
        for event in &taking.events {
            let Event::Message { sent, attempt, .. } = event else { continue };
            let times = attempts.entry((*sent, *attempt)).or_default();
            *times += 1;
            if *times > 1 || *attempt > most {
                return Err(format!("{sent:?} came {times} times at attempt {attempt}, of at most {most}"));
            }
        }
    }
    Ok(attempts)
}

/// What comes for the first time comes in the order of publishing; with keys, that of each key.
fn ascend(scene: &Scene, taking: &Taking) -> Result<(), String> {
    let mut last: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for event in &taking.events {
        let Event::Message { sent, attempt: 1, offset, .. } = event else { continue };
        let key = if scene.keyed && scene.view.pattern != Pattern::PubSub { sent.id % KEYS } else { 0 };
        let before = last.insert((sent.process, key), *offset).unwrap_or(0);
        if *offset <= before {
            return Err(format!(
                "subscription {} of process {}: {offset} came after {before}",
                taking.id, taking.process
            ));
        }
    }
    Ok(())
}

/// From when on everything is meant for them; `None`: maybe nothing is.
fn since(
    (world, records): (&World, &Records),
    scene: &Scene,
    (takings, process): (&[&Taking], u64),
) -> Option<Duration> {
    if scene.view.pattern == Pattern::Pipeline {
        return Some(Duration::ZERO);
    }
    let taking = takings.first()?;
    if taking.closed.is_some() || !lives(records, taking.process) {
        return None;
    }
    // Nobody knows how much it missed while it was away for too long.
    let unknown = taking.events.iter().any(|event| matches!(event, Event::Gap { messages: 0, .. }));
    if unknown {
        return None;
    }
    let local = taking.process == process;
    if local {
        Some(taking.opened)
    } else {
        world.beginning((taking.process, taking.id), process).map(|begun| begun.at)
    }
}

/// Whether what that process published must have been done, or counted.
fn is_owed(
    (plan, world, records): (&Plan, &World, &Records),
    (scene, takings): (&Scene, &[&Taking]),
    (process, life): (u64, &Life),
) -> bool {
    let faults = plan.faults;
    match life.ended {
        None => {}
        // What nobody is there for goes with its process, and nobody counts any more.
        Some((at, Ending::Drained)) if !faults.lines && !faults.partitions && !faults.crashes => {
            let stayed = takings.iter().any(|taking| {
                let began = world.beginning((taking.process, taking.id), process);
                let own = records.lives.get(&taking.process).and_then(|life| life.ended);
                let until = taking.closed.or_else(|| own.map(|(ended, _)| ended));
                began.is_some_and(|began| began.at < at) && until.is_none_or(|until| until > at)
            });
            if !stayed {
                return false;
            }
        }
        Some(_) => return false,
    }
    // Somebody must be there at the end to take it.
    let open = takings.iter().any(|taking| taking.closed.is_none() && lives(records, taking.process));
    let crashed = records.lives.values().any(|life| matches!(life.ended, Some((_, Ending::Crashed))));
    // Without acknowledgement, what has reached a process is lost with it.
    open && (scene.view.acknowledge == Acknowledge::Required || !crashed)
}

/// Ids that were published by then or later.
fn published(numbering: &Numbering, since: Duration) -> impl Iterator<Item = u64> {
    let batches = numbering.batches.iter().filter(move |batch| batch.begun > since || since.is_zero());
    batches.flat_map(|batch| {
        let taken = match batch.outcome {
            Outcome::Taken(_) => batch.count,
            Outcome::Part(count) => count,
            Outcome::Unknown => 0,
        };
        batch.first_id..batch.first_id + taken
    })
}
