//! Apps that ask, and apps that answer.

use super::super::node::Process;
use super::super::records::{Batch, Event, Outcome, Sent, Taking};
use super::LATE_MAX;
use crate::messaging::{Message, Problem, ProblemKind, Serving};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Requests of one app at once.
const ASKING: usize = 4;

/// Whether the request with that id may be executed twice.
pub(in super::super) const fn is_idempotent(id: u64) -> bool {
    id.is_multiple_of(2)
}

pub(super) fn ask(process: &Arc<Process>, scene: usize) {
    for _ in 0..ASKING {
        process.run("requester", ask_on(Arc::clone(process), scene));
    }
}

async fn ask_on(process: Arc<Process>, scene: usize) {
    process.publishes(true);
    let world = &process.world;
    tokio::time::sleep(world.moment(1_000)).await;
    while world.now() < process.plan.busy && !process.is_closing() {
        ask_once(&process, scene).await;
        let pause = world.moment(process.plan.scenes[scene].publish_pause_ms);
        tokio::time::sleep(pause + Duration::from_millis(1)).await;
    }
    process.publishes(false);
}

async fn ask_once(process: &Process, scene: usize) {
    let (world, what) = (&process.world, &process.plan.scenes[scene]);
    let begun = world.now();
    let (place, id) = {
        let mut records = world.records();
        let numbering = records.numberings.entry((scene, process.number)).or_default();
        let first_id = numbering.next_id;
        numbering.next_id += 1;
        numbering.batches.push(Batch { first_id, count: 1, begun, ended: None, outcome: Outcome::Unknown });
        (numbering.batches.len() - 1, first_id)
    };
    let request = super::message(process, scene, id);
    let asked = request.parts.clone();
    let answer = process.channels.request(&what.name, request, None, is_idempotent(id)).await;
    let took = world.now() - begun;
    world.log(format_args!("process {} asked {scene} for {id}: {:?}", process.number, answer.as_ref().err()));
    if took > what.view.request_timeout + LATE_MAX {
        world.wrong(&format!(
            "a request to {scene} took {took:?}, and may take {:?}",
            what.view.request_timeout
        ));
    }
    let outcome = match answer {
        Ok(reply) if reply.parts != asked => return world.wrong("a reply to another request"),
        Ok(_) => Outcome::Taken(0),
        Err(_) => Outcome::Part(0),
    };
    let mut records = world.records();
    let numbering = records.numberings.entry((scene, process.number)).or_default();
    let batch = &mut numbering.batches[place];
    (batch.ended, batch.outcome) = (Some(world.now()), outcome);
}

pub(super) async fn answer(process: Arc<Process>, scene: usize) {
    let (world, what) = (&process.world, &process.plan.scenes[scene]);
    tokio::time::sleep(world.moment(1_500)).await;
    while !process.is_closing() {
        let credit = 1 + world.below(what.credit_max);
        let served = process.channels.serve(&what.name, u32::try_from(credit).unwrap_or(1)).await;
        let Ok(serving) = served else { return };
        let place = {
            let taking = Taking {
                scene,
                process: process.number,
                id: process.next_subscription(),
                prefix: "",
                kept: false,
                resumed: Vec::new(),
                opened: world.now(),
                closed: None,
                events: Vec::new(),
                acked: BTreeSet::new(),
            };
            let mut records = world.records();
            records.takings.push(taking);
            records.takings.len() - 1
        };
        let ended = answer_with(&process, (scene, place), serving).await;
        world.records().takings[place].closed = Some(world.now());
        if ended {
            return;
        }
        tokio::time::sleep(world.moment(2_000)).await;
    }
}

/// Answers until there is nothing more, which it returns, or the app has had enough.
async fn answer_with(process: &Process, (scene, place): (usize, usize), mut serving: Serving) -> bool {
    let (world, what) = (&process.world, &process.plan.scenes[scene]);
    loop {
        let Some(requests) = serving.next().await else { return true };
        for request in requests {
            let Some(sent) = Sent::parse(&request.message.parts[0]) else {
                world.wrong("a request that nobody has sent");
                continue;
            };
            let publisher = Arc::from("");
            let event = Event::Message { publisher, epoch: 0, offset: 0, sent, attempt: 1 };
            world.log(format_args!("subscription {place}: {event:?}"));
            world.records().takings[place].events.push(event);
            if world.one_in(3) {
                tokio::time::sleep(world.moment(what.slow_ms)).await;
            }
            let word = if what.careless { world.below(20) } else { 2 };
            match word {
                0 => {}
                1 => serving.reply(request.id, Err(Problem::new(ProblemKind::NotFound, "there is none"))),
                _ => {
                    let reply = Message { parts: request.message.parts, ..Message::default() };
                    serving.reply(request.id, Ok(reply));
                    world.records().takings[place].acked.insert(sent);
                }
            }
            serving.grant(1);
        }
        if what.fickle && world.one_in(60) && world.now() < process.plan.busy {
            return false;
        }
    }
}
