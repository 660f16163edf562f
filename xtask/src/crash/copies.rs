//! Applications that copy a partition with transactions (`testkit::copier`), each on a connection that the kills cut.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use kafka_wire::Request;
use kafka_wire::messages::ProduceRequest;
use kafka_wire::messages::produce::{PartitionProduceData, TopicProduceData};
use kafka_wire::records::{BatchBuilder, Record};
use testkit::chance::Chance;
use testkit::copier::{Caller, Copier, Task, Trouble};

use super::Topic;
use super::world::World;
use crate::link::{Broken, Link};
use crate::wait;

/// What is copied, and where to.
pub(crate) const TOPICS: [Topic; 3] = [
    ("source", 2, &[("segment.bytes", "65536")]),
    ("copies", 2, &[("segment.bytes", "16384")]),
    ("ledger", 1, &[("segment.bytes", "16384")]),
];
const PRODUCE_VERSION: i16 = 9;
const TIMEOUT_MS: i32 = 300;

struct Door<'a>(&'a mut Link);

impl Caller for Door<'_> {
    type Error = Broken;

    async fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, Broken> {
        self.0.call(request, version)
    }

    async fn rest(&mut self, milliseconds: u64) {
        wait::rest(std::time::Duration::from_millis(milliseconds));
    }

    fn unix_ms(&self) -> i64 {
        wait::unix_ms()
    }
}

/// Runs what never waits for anybody: calls and rests block.
fn run_now<T>(future: impl Future<Output = Result<T, Trouble<Broken>>>) -> Result<T, Broken> {
    let polled = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(outcome) = polled else {
        return Err(Broken::Wrong("a call that blocks was not done at once".to_owned()));
    };
    outcome.map_err(|trouble| match trouble {
        Trouble::Call(broken) => broken,
        Trouble::Refused(what, code) => Broken::Wrong(format!("{what} was refused with error {code}")),
        Trouble::Wrong(what) => Broken::Wrong(what),
    })
}

fn started(world: &World, which: u32, chance: Chance) -> Copier {
    let partition = i32::try_from(which).unwrap_or(0);
    let task = Task {
        which,
        input: ("source".to_owned(), partition),
        own: ("copies".to_owned(), partition),
        shared: ("ledger".to_owned(), 0),
        group: "copiers".to_owned(),
        id: format!("copier-{which}"),
        timeout_ms: TIMEOUT_MS,
    };
    let copies = world.copies.get(usize::try_from(which).unwrap_or(0)).map(Arc::clone);
    Copier::new(task, copies.unwrap_or_default(), chance)
}

/// Copies until the end. Mostly the application outlives the broker; now and then another takes its place.
pub(crate) fn run(world: &World, part: u64, which: u32) {
    let mut chance = Chance::new(world.seed, part);
    let mut copier = started(world, which, Chance::new(chance.next(), part));
    let mut seen = 0;
    while let Some((life, mut link)) = world.connect(seen) {
        seen = life;
        if chance.one_in(8) {
            copier = started(world, which, Chance::new(chance.next(), part));
        }
        match work(&mut copier, &mut link, which) {
            Ok(never) => match never {},
            Err(broken) => world.lost(life, "copying with transactions", broken),
        }
    }
}

fn work(copier: &mut Copier, link: &mut Link, which: u32) -> Result<Infallible, Broken> {
    run_now(copier.read_again(&mut Door(link)))?;
    loop {
        feed(link, which)?;
        run_now(copier.step(&mut Door(link)))?;
    }
}

/// Something to copy: which records are there does not matter, only where they are.
fn feed(link: &mut Link, which: u32) -> Result<(), Broken> {
    let record = |_| Record {
        timestamp_ms: wait::unix_ms(),
        value: Some("something to copy".into()),
        ..Record::default()
    };
    let built = BatchBuilder::default().build(&(0..3).map(record).collect::<Vec<_>>());
    let records = Some(built.map_err(|error| Broken::Wrong(format!("a batch of ours: {error}")))?);
    let index = i32::try_from(which).unwrap_or(0);
    let topic = TopicProduceData {
        name: "source".to_owned(),
        partition_data: vec![PartitionProduceData { index, records }],
        ..Default::default()
    };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    let answer = link.call(&request, PRODUCE_VERSION)?;
    let mut parts = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    match parts.find(|part| part.error_code != 0) {
        Some(part) => Err(Broken::Wrong(format!("something to copy was refused: {part:?}"))),
        None => Ok(()),
    }
}

/// Everything that was ever read of committed transactions is there, and nothing else.
pub(crate) fn verify(world: &World, link: &mut Link) -> Result<(), Broken> {
    for which in 0..u32::try_from(world.copies.len()).unwrap_or(0) {
        let copier = started(world, which, Chance::new(world.seed, 0));
        run_now(copier.read_again(&mut Door(link)))?;
    }
    Ok(())
}
