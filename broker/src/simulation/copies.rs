//! Applications that copy with transactions: `testkit::copier` on a broker without sockets.

use std::{convert::Infallible, sync::Arc, time::Duration};

use kafka_wire::Request;
use record_log::storage::memory::MemoryStorage;
use testkit::{
    chance::Chance,
    copier::{Caller, Copier, Task, Trouble},
};

use super::world::{World, context};
use crate::broker::{Broker, Context};

/// Where their offsets are.
const GROUP: &str = "copiers";
/// Short, so that some are too slow.
const TIMEOUT_MS: i32 = 120;

struct Door<'a> {
    world: &'a World,
    context: Context,
}

impl Caller for Door<'_> {
    type Error = Infallible;

    async fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, Infallible> {
        Ok(self.world.call(&self.context, request, version).await)
    }

    async fn rest(&mut self, milliseconds: u64) {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }

    fn unix_ms(&self) -> i64 {
        runtime::clock::unix_ms()
    }
}

fn started(world: &World, which: usize) -> Copier {
    let index = i32::try_from(which).expect("there are two");
    let task = Task {
        which: u32::try_from(which).expect("there are two"),
        input: ("first".to_owned(), index),
        own: ("copies".to_owned(), index),
        shared: ("ledger".to_owned(), 0),
        group: GROUP.to_owned(),
        id: format!("copier-{which}"),
        timeout_ms: TIMEOUT_MS,
    };
    Copier::new(task, Arc::clone(&world.copies[which]), Chance::new(world.number(), 0))
}

/// Takes note of what a step came to; what a sick disk refuses is no wonder.
fn judge(world: &World, storage: &MemoryStorage, outcome: Result<(), Trouble<Infallible>>) {
    match outcome {
        Ok(()) => {}
        Err(Trouble::Call(never)) => match never {},
        Err(Trouble::Refused(..)) if world.excused(storage) => {}
        Err(Trouble::Refused(what, code)) => world.wrong(&format!("{what} was refused with error {code}")),
        // A machine that stopped under an answer says anything.
        Err(Trouble::Wrong(_)) if storage.has_crashed() => {}
        Err(Trouble::Wrong(what)) => world.wrong(&what),
    }
}

/// What was once read of committed transactions is there, and nothing else.
pub(super) async fn look_back(world: &World, broker: &Arc<Broker>, storage: &MemoryStorage) {
    for which in 0..world.copies.len() {
        let outcome = started(world, which).read_again(&mut Door { world, context: context(broker) }).await;
        judge(world, storage, outcome);
    }
}

/// Copies as long as the life lasts. Mostly the application outlives the broker; now and then another takes its place.
pub(super) async fn copy(world: &World, broker: &Arc<Broker>, storage: &MemoryStorage, which: usize) {
    let mut door = Door { world, context: context(broker) };
    loop {
        world.pause(5).await;
        let known = world.copiers.borrow_mut()[which].take().filter(|_| world.below(25) > 0);
        // One that is cut off in the middle of a step never comes back.
        let mut copier = known.unwrap_or_else(|| started(world, which));
        let outcome = copier.step(&mut door).await;
        world.note(world.copied());
        judge(world, storage, outcome);
        world.copiers.borrow_mut()[which] = Some(copier);
    }
}
