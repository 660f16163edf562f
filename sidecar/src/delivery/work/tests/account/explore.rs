//! All histories of a small desk up to a depth, breadth first: credit, acks, redelivery, receivers that go, come back and
//! drain. The desk is the real one; each state that is new is also played to its end, so none is a dead end.

use super::*;
use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Receivers at once, and over a whole history.
const PRESENT_MAX: usize = 2;
const JOINED_MAX: u32 = 3;
/// Messages of a history.
const OFFERED_MAX: u64 = 3;

/// What can happen next.
fn steps(settle: Settle) -> Vec<Step> {
    let mut steps =
        vec![Step::Offer { count: 1, keyed: false, block: true }, Step::Join, Step::Wait { seconds: 31 }];
    for who in 0..PRESENT_MAX {
        steps.extend([
            Step::Take { who, room: 1 },
            Step::Credit { who, more: 1 },
            Step::Away { who },
            Step::Back { who, lost: 0 },
            Step::Back { who, lost: 1 },
            Step::Leave { who },
            Step::Drain { who },
        ]);
        match settle {
            Settle::Receipt => steps.push(Step::Confirm { who }),
            _ => steps.extend([Step::Ack { who, every: 1 }, Step::Nack { who, delay: 0 }]),
        }
    }
    steps
}

/// The history so far.
fn play(settle: Settle, shared: bool, history: &[Step]) -> World {
    let mut world = World::new(settle, shared);
    for step in history {
        world.act(step);
    }
    world
}

/// Whether a step can do anything there that no other step does.
fn applies(world: &World, step: &Step) -> bool {
    match *step {
        Step::Offer { .. } => world.sequence < OFFERED_MAX,
        Step::Join => world.peers.len() < PRESENT_MAX && world.joined < JOINED_MAX,
        Step::Take { who, .. }
        | Step::Credit { who, .. }
        | Step::Confirm { who }
        | Step::Ack { who, .. }
        | Step::Nack { who, .. }
        | Step::Away { who }
        | Step::Back { who, .. }
        | Step::Leave { who }
        | Step::Drain { who } => who < world.peers.len(),
        Step::Wait { .. } => true,
    }
}

/// What makes two states one: all that is known of them, with turns by their order and times by their distance.
fn mark(world: &World) -> u64 {
    let text = format!("{:?}", (&world.desk, &world.peers, &world.settled, world.dropped, &world.attempts));
    let mut hasher = DefaultHasher::new();
    (world.sequence, world.joined).hash(&mut hasher);
    let mut turns: Vec<&str> =
        text.split("turn: ").skip(1).map(|rest| rest.split(',').next().unwrap_or("")).collect();
    turns.sort_unstable();
    turns.dedup();
    for (index, piece) in text.split("turn: ").enumerate() {
        let rest = if index == 0 { piece } else { piece.split_once(',').map_or("", |(_, rest)| rest) };
        if index > 0 {
            let turn = piece.split(',').next().unwrap_or("");
            turns.iter().position(|known| *known == turn).hash(&mut hasher);
        }
        rest.hash(&mut hasher);
    }
    world.now.hash(&mut hasher);
    hasher.finish()
}

/// Goes through all histories of at most `depth` steps; returns how many states there are.
fn explore(settle: Settle, shared: bool, depth: usize) -> usize {
    let steps = steps(settle);
    let mut known = HashSet::new();
    let mut next: VecDeque<Vec<Step>> = VecDeque::from([Vec::new()]);
    while let Some(history) = next.pop_front() {
        let mut world = play(settle, shared, &history);
        if !known.insert(mark(&world)) {
            continue;
        }
        if history.len() < depth {
            for step in steps.iter().filter(|step| applies(&world, step)) {
                next.push_back(history.iter().chain([step]).cloned().collect());
            }
        }
        world.finish();
    }
    known.len()
}

/// How deep: what a command names, or what every test run can afford.
#[expect(clippy::disallowed_methods, reason = "a test harness takes no arguments of its own")]
fn depth() -> usize {
    std::env::var("PINNACE_EXPLORE").ok().and_then(|depth| depth.parse().ok()).unwrap_or(6)
}

/// Goal: in no history of so many steps is a message lost without being counted, delivered after it was settled, or tried
/// too often, and from every state everything can still be settled.
#[test]
fn all_short_histories_end_settled_or_counted() {
    let depth = depth();
    for (name, settle, shared) in [
        ("shared, acknowledged", ACK, true),
        ("shared, not acknowledged", Settle::Receipt, true),
        ("one receiver, acknowledged", ACK, false),
    ] {
        let states = explore(settle, shared, depth);
        println!("{{\"explored\":{{\"desk\":\"{name}\",\"depth\":{depth},\"states\":{states}}}}}");
        assert!(states > 100);
    }
}
