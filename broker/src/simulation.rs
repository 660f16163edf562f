//! The whole broker in one thread, on a disk and a clock that are made up: lives that end in a stop of the machine,
//! a kill, or after errors of the disk, then a judge who reads everything back. The same seed gives the same run.
//!
//! No sockets: requests go in as frames where a connection would put them, answers come out where it would take them.

mod clients;
mod consumer_groups;
mod copies;
mod groups;
mod table;
mod world;

use std::{sync::Arc, time::Duration};

use clap::Parser as _;
use record_log::journal;
use record_log::storage::memory::{Chance, Fault, MemoryStorage};
use runtime::{clock, shutdown::Shutdown, tasks::Tasks};

use crate::{
    args::Args,
    broker::Broker,
    commit::Committer,
    disk::DiskStorage,
    metrics::Metrics,
    run::{self, Foundation},
    settings::Settings,
    transactions,
};
use world::World;

/// Lives of a run, the last of which nothing disturbs.
const LIVES: u64 = 6;
/// Where the wall clock of a run begins, in milliseconds since 1970.
const BEGIN_MS: u64 = 1_700_000_000_000;
/// The longest life, in milliseconds of the simulated clock.
const LIFE_MS: u64 = 600;
/// A life that has not ended by then hangs.
const LIFE_LIMIT: Duration = Duration::from_secs(600);
/// Small, so that it goes round.
const JOURNAL: journal::Settings = journal::Settings { file_bytes: 32 * 1024, files_max: 3 };
const SETTINGS: &str = "group.initial.rebalance.delay.ms=20
group.consumer.min.session.timeout.ms=300
group.consumer.session.timeout.ms=300
group.consumer.min.heartbeat.interval.ms=20
group.consumer.heartbeat.interval.ms=20
log.retention.check.interval.ms=200
transaction.abort.timed.out.transaction.cleanup.interval.ms=20
";

/// What goes wrong in a life, and how it ends.
#[derive(Clone, Copy, Debug)]
struct Plan {
    fault: Option<(u64, Fault)>,
    /// The disk is well again after so many milliseconds.
    heals_ms: u64,
    ends_ms: u64,
    /// Power goes, or only the process.
    power: bool,
}

impl Plan {
    fn choose(chance: &mut Chance, life: u64) -> Self {
        let last = life == LIVES;
        let at = if chance.below(3) == 0 { chance.below(30) } else { chance.below(900) };
        let fault = match chance.below(8) {
            _ if last => None,
            0..=3 => Some((at, Fault::Crash)),
            4 => Some((at, Fault::Full)),
            5 => Some((at, Fault::Broken)),
            _ => None,
        };
        let ends_ms = 50 + chance.below(LIFE_MS);
        Self { fault, heals_ms: 5 + chance.below(ends_ms), ends_ms, power: chance.below(3) > 0 }
    }

    /// Errors are right only when the disk gives some.
    fn excuses_errors(self) -> bool {
        matches!(self.fault, Some((_, Fault::Full | Fault::Broken)))
    }
}

/// How a run came out.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// Of all that was answered, in order.
    hash: u64,
    proven: u64,
    commits: u64,
    compactions: u64,
    /// Transactions that were committed, and the copies that they made.
    copied: (u64, u64),
}

/// Goes through the lives of a seed.
fn simulate(seed: u64) -> Result<Outcome, String> {
    runtime::random::seed(seed);
    let mut chance = Chance::new(seed);
    let world = World::new(seed);
    let mut storage = MemoryStorage::default();
    let mut shows = Duration::from_millis(BEGIN_MS);
    for life in 1..=LIVES {
        let plan = Plan::choose(&mut chance, life);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        world.begin(life, plan.excuses_errors());
        shows = runtime.block_on(async {
            clock::hold(shows);
            if let Some((at, fault)) = plan.fault {
                storage.fail_at(at, fault);
            }
            let lived = tokio::time::timeout(LIFE_LIMIT, live(&world, &storage, plan)).await;
            if lived.is_err() {
                world.wrong("the life did not end");
            }
            clock::since_epoch() + Duration::from_millis(chance.below(2_000))
        });
        drop(runtime);
        if let Some(what) = world.found() {
            return Err(format!("life {life} of {plan:?}: {what}"));
        }
        storage = if plan.power || storage.has_crashed() {
            storage.after_crash(&mut chance)
        } else {
            storage.after_kill()
        };
    }
    Ok(Outcome {
        hash: world.hash(),
        proven: world.proven(),
        commits: world.commits(),
        compactions: world.compactions.get(),
        copied: world.copied(),
    })
}

/// One life: start, look back, work, until the plan ends it.
async fn live(world: &World, storage: &MemoryStorage, plan: Plan) {
    let metrics = Metrics::new(&prometheus::Registry::new()).expect("the registry is new");
    let place = DiskStorage::over(storage.clone());
    let committer = match Committer::driven(place.clone(), JOURNAL, metrics.clone()) {
        Ok(committer) => committer,
        Err(_) if world.excused(storage) => return,
        Err(error) => return world.wrong(&format!("no start: {}", crate::error_text(&error))),
    };
    let args = Args::parse_from(["broker", "--data", "/nowhere"]);
    let settings = Settings::default().read(SETTINGS).expect("they are right");
    let tasks = Tasks::new(Shutdown::new());
    let ground = Foundation {
        storage: place,
        committer: committer.clone(),
        metrics,
        teller: Arc::default(),
        tasks: tasks.clone(),
    };
    let seed = world.number();
    let working = async {
        match run::open(&args, settings, ground).await {
            Ok((broker, _store)) => work(world, storage, (&broker, plan)).await,
            // What cannot be read or written is told, and the next start tries again.
            Err(_) if world.excused(storage) => {}
            Err(error) => world.wrong(&format!("no start: {}", crate::error_text(&error))),
        }
    };
    let mut chance = Chance::new(seed);
    let committing = async {
        loop {
            let pause = chance.below(4);
            tokio::time::sleep(Duration::from_millis(1 + pause)).await;
            committer.drive();
        }
    };
    tokio::select! {
        biased;
        () = working => {}
        () = committing => {}
    }
    tasks.shutdown().begin();
    committer.abandon();
}

async fn work(world: &World, storage: &MemoryStorage, (broker, plan): (&Arc<Broker>, Plan)) {
    let ends = async {
        let (mut passed, mut healed) = (0, false);
        // A step at a time: a crash ends the life at once.
        while !storage.has_crashed() && world.found().is_none() && (passed < plan.ends_ms || !world.looked())
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
            passed += 1;
            if passed >= plan.heals_ms && !healed {
                healed = true;
                if !matches!(plan.fault, Some((_, Fault::Crash))) {
                    storage.heal();
                }
            }
        }
    };
    let retaining = async {
        loop {
            tokio::time::sleep(broker.settings.retention_check).await;
            for topic in broker.topics.all() {
                topic.partitions().iter().for_each(|partition| partition.expire());
            }
        }
    };
    let everybody = async {
        recover(broker).await;
        clients::look_back(world, broker, storage).await;
        copies::look_back(world, broker, storage).await;
        world.has_looked();
        tokio::join!(
            clients::produce(world, broker, storage, 0),
            clients::produce(world, broker, storage, 1),
            clients::keep(world, broker, storage),
            table::write(world, broker, storage),
            table::compact(world, broker),
            groups::consume(world, broker, storage, 0),
            groups::consume(world, broker, storage, 1),
            copies::copy(world, broker, storage, 0),
            copies::copy(world, broker, storage, 1),
            consumer_groups::inherit(world, broker, storage, 0),
            consumer_groups::inherit(world, broker, storage, 1),
            consumer_groups::inherit(world, broker, storage, 2),
        );
    };
    tokio::select! {
        biased;
        () = ends => {}
        () = broker.groups.run() => {}
        () = broker.transactions.run(broker) => {}
        () = retaining => {}
        () = everybody => {}
    }
}

/// What a start does when there are transactions, one log after the other, so that a seed repeats it.
async fn recover(broker: &Arc<Broker>) {
    if !broker.transactions.is_empty() {
        for topic in broker.topics.all() {
            topic.partitions().iter().for_each(|partition| partition.open_existing());
        }
        transactions::recover::recover(broker).await;
    }
}

/// The seeds to run: those that a command names, or a few in every test run.
#[expect(clippy::disallowed_methods, reason = "a test harness takes no arguments of its own")]
fn seeds() -> std::ops::Range<u64> {
    let given = std::env::var("PINNACE_SIMULATE").ok();
    let range = given.as_deref().and_then(|text| text.split_once(".."));
    let parsed = range.and_then(|(first, end)| Some(first.parse().ok()?..end.parse().ok()?));
    parsed.unwrap_or(0..30)
}

/// Goal: whatever the disk does, nothing acknowledged is lost, moved, doubled or invented; committed offsets do not
/// go back; a partition has one owner in a generation, and in a consumer group one at all; epochs do not go back;
/// transactions are whole, counted once, and in step with their offsets, and none is read that was not committed; of a compacted
/// topic the newest value of each key is there.
#[test]
fn given_seeds() {
    let (seeds, mut failed) = (seeds(), Vec::new());
    let (mut proven, mut commits, mut compactions, mut transactions, mut copies) = (0, 0, 0, 0, 0);
    for seed in seeds.clone() {
        match simulate(seed) {
            Ok(outcome) => {
                proven += outcome.proven;
                commits += outcome.commits;
                compactions += outcome.compactions;
                transactions += outcome.copied.0;
                copies += outcome.copied.1;
            }
            Err(what) => {
                println!("seed {seed}: {what}; again: cargo xtask simulate --first {seed} --seeds 1");
                failed.push(seed);
            }
        }
    }
    println!(
        "{{\"simulate\":{{\"seeds\":{},\"messages_proven\":{proven},\"commits\":{commits},\"compactions\":{compactions},\
         \"transactions\":{transactions},\"copies_proven\":{copies},\"failed\":{failed:?}}}}}",
        seeds.count()
    );
    assert!(failed.is_empty(), "seeds {failed:?}");
}

/// Goal: what a seed once found stays mended. In 13 a follower got an assignment that was not on disk yet: after
/// the loss of power the same generation gave its partition to another member. In 0 a consumer group went on from an
/// epoch that a full disk had not taken. In 26 a log was taken for damaged because the disk had no room for its index.
#[test]
fn seeds_that_once_failed() {
    for seed in [0, 13, 26, 27] {
        assert!(simulate(seed).is_ok(), "seed {seed}");
    }
}

/// Goal: a seed repeats its run to the last answer.
#[test]
fn a_seed_repeats_its_run() {
    assert_eq!(simulate(1), simulate(1));
}
