//! `cargo xtask crash`: the real broker under load, killed at random moments and started again on the same folder.
//! Afterwards every message that was acknowledged is there once, in order, at its offset; nothing else is; groups,
//! topics and ids are as they were said to be; and what transactions copied is whole, once, and in step with offsets.
//!
//! A kill keeps what the process wrote in the page cache: this tests the process, not the disk. What a disk may do
//! is `cargo xtask simulate`. The seed gives the choices and moments; the threads meet as they like.

mod clerk;
mod copies;
mod member;
mod process;
mod producer;
mod reader;
mod text;
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;

use crate::cache::{CacheArgs, remove_folder};
use crate::link::{Broken, Link};
use crate::tools;
use crate::wait::{self, Stopwatch};
use process::Home;
use testkit::chance::Chance;
use world::{World, lock};

/// How often to kill.
#[derive(Args)]
pub(crate) struct CrashArgs {
    /// Kills of the broker.
    #[arg(long, default_value_t = 1000)]
    rounds: u64,
    /// Repeats the choices of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// A pinnace-broker to run instead of one built from the checkout.
    #[arg(long, value_name = "FILE")]
    broker: Option<PathBuf>,
    /// Keep the broker's folder also when all is well.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Name, partitions, configs.
type Topic = (&'static str, i32, &'static [(&'static str, &'static str)]);

/// Large enough to last, small segments, and one with retention.
const TOPICS: [Topic; 3] = [
    ("numbers", 3, &[("segment.bytes", "262144")]),
    ("small", 2, &[("segment.bytes", "16384")]),
    ("short", 1, &[("segment.bytes", "16384"), ("retention.bytes", "131072")]),
];
const PRODUCERS: u64 = 4;
const MEMBERS: u64 = 2;
/// The longest life under load.
const LIFE_MS: u64 = 700;
/// After so many rounds everything is read again from its start, and most of it is let go of.
const WHOLE_ROUNDS: u64 = 25;

/// What never changes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Identity {
    cluster: Option<String>,
    topics: BTreeMap<String, String>,
}

struct Run<'a> {
    world: &'a World,
    home: &'a Home,
    chance: Chance,
    identity: Option<Identity>,
    epoch: i32,
    kills_in_start: u64,
    start: Duration,
    start_longest: Duration,
}

/// Kills and checks.
pub(crate) fn run(root: &Path, args: &CrashArgs) -> Result<()> {
    let program = match &args.broker {
        Some(program) => program.clone(),
        None => tools::build(root, "pinnace-broker", &["--release", "--package", "broker"])?,
    };
    let seed = args.seed.unwrap_or_else(|| wait::unix_ms().unsigned_abs());
    let folder = args.cache.open()?.place("crash", &seed.to_string());
    remove_folder(&folder)?;
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    println!("seed {seed}, {} rounds", args.rounds);
    let tracks: Vec<(&'static str, i32)> = TOPICS
        .iter()
        .flat_map(|(topic, partitions, _)| (0..*partitions).map(|partition| (*topic, partition)))
        .collect();
    let world = World::new(seed, &tracks);
    let home = Home::new(program, &folder)?;
    let clock = Stopwatch::start();
    let mut run = Run {
        world: &world,
        home: &home,
        chance: Chance::new(seed, 0),
        identity: None,
        epoch: -1,
        kills_in_start: 0,
        start: Duration::from_millis(20),
        start_longest: Duration::ZERO,
    };
    let outcome = run.load(args.rounds);
    let findings = world.findings();
    println!("{}", run.line(args.rounds, clock.elapsed(), findings.len() + usize::from(outcome.is_err())));
    if outcome.is_err() || !findings.is_empty() {
        println!("the broker's log and data are in {}", folder.display());
    } else if !args.keep {
        remove_folder(&folder)?;
    }
    outcome?;
    match findings.first() {
        None => Ok(()),
        Some(first) => {
            bail!("{first}; again: cargo xtask crash --seed {seed} --rounds {}", args.rounds)
        }
    }
}

impl Run<'_> {
    /// Starts everybody, goes through the rounds, and ends everybody.
    fn load(&mut self, rounds: u64) -> Result<()> {
        let world = self.world;
        std::thread::scope(|scope| {
            for part in 1..=PRODUCERS {
                scope.spawn(move || producer::run(world, part));
            }
            for part in 1..=MEMBERS {
                scope.spawn(move || member::run(world, 100 + part));
            }
            scope.spawn(move || clerk::run(world, 200));
            for (part, which) in [(301, 0), (302, 1)] {
                scope.spawn(move || copies::run(world, part, which));
            }
            let outcome = self.rounds(rounds);
            world.moves(None);
            world.end();
            outcome
        })?;
        if world.has_failed() {
            return Ok(());
        }
        // Nobody writes any more: what is there now is all.
        let mut running = self.home.start()?;
        let (address, _) = running.ready()?;
        let life = world.moves(Some(address));
        let checked = Link::open(address).and_then(|mut link| {
            reader::verify(world, &mut link, life, true)?;
            copies::verify(world, &mut link)?;
            let all: Vec<usize> = (0..world.tracks.len()).collect();
            reader::committed(world, &mut link, member::GROUP, &all)
        });
        if let Err(broken) = checked {
            world.lost(life, "the last look", broken);
        }
        running.kill()?.into_iter().for_each(|what| world.wrong(what));
        Ok(())
    }

    fn rounds(&mut self, rounds: u64) -> Result<()> {
        for round in 1..=rounds {
            if self.world.has_failed() {
                break;
            }
            if round > 1 && self.chance.one_in(4) {
                self.kill_in_start()?;
            } else {
                self.live(round)?;
            }
            if round % 10 == 0 {
                println!("round {round} of {rounds}: {} messages proven", self.proven());
            }
        }
        Ok(())
    }

    fn proven(&self) -> u64 {
        self.world.tracks.iter().map(|track| lock(&track.line).proven).sum()
    }

    /// Kills it while it starts, at a moment between nothing and a little after.
    fn kill_in_start(&mut self) -> Result<()> {
        let running = self.home.start()?;
        let longest = u64::try_from(self.start.as_micros()).unwrap_or(0) * 5 / 4;
        wait::rest(Duration::from_micros(self.chance.below(longest)));
        running.kill()?.into_iter().for_each(|what| self.world.wrong(what));
        self.kills_in_start += 1;
        Ok(())
    }

    /// Starts it, looks at what the life before left, lets it work, kills it.
    fn live(&mut self, round: u64) -> Result<()> {
        let mut running = self.home.start()?;
        let (address, took) = running.ready()?;
        self.start = took;
        self.start_longest = self.start_longest.max(took);
        if self.identity.is_none() {
            make_topics(address)?;
        }
        let life = self.world.moves(Some(address));
        let whole = round.is_multiple_of(WHOLE_ROUNDS);
        let looked = Link::open(address).and_then(|mut link| {
            self.look(&mut link)?;
            reader::verify(self.world, &mut link, life, whole)?;
            if whole { reader::let_go(self.world, &mut link) } else { Ok(()) }
        });
        match looked {
            Ok(()) => wait::rest(Duration::from_millis(self.chance.below(LIFE_MS))),
            Err(broken) => self.world.lost(life, "looking after a start", broken),
        }
        self.world.moves(None);
        running.kill()?.into_iter().for_each(|what| self.world.wrong(what));
        Ok(())
    }

    /// Ids stay, the leader epoch grows.
    fn look(&mut self, link: &mut Link) -> Result<(), Broken> {
        let answer = clerk::metadata(link, TOPICS.iter().map(|(name, ..)| *name))?;
        let id = |topic: &kafka_wire::messages::metadata::MetadataResponseTopic| {
            (topic.name.clone().unwrap_or_default(), topic.topic_id.to_string())
        };
        let epochs = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let epoch = epochs.map(|partition| partition.leader_epoch).min().unwrap_or(-1);
        if epoch <= self.epoch {
            return Err(Broken::Wrong(format!("leader epoch {epoch} follows {}", self.epoch)));
        }
        self.epoch = epoch;
        let now =
            Identity { cluster: answer.cluster_id.clone(), topics: answer.topics.iter().map(id).collect() };
        match &self.identity {
            Some(before) if *before != now => {
                return Err(Broken::Wrong(format!("ids were {before:?} and are {now:?}")));
            }
            _ => self.identity = Some(now),
        }
        Ok(())
    }

    fn line(&self, rounds: u64, took: Duration, wrong: usize) -> String {
        let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.world.counts;
        let copied = self.world.copies.iter().map(|copies| lock(copies));
        let (transactions, copies) = copied.fold((0, 0), |(transactions, copies), known| {
            (transactions + known.committed(), copies + known.proven())
        });
        let expired: u64 = self.world.tracks.iter().map(|track| lock(&track.line).expired).sum();
        json!({
            "crash": {
                "seed": self.world.seed,
                "rounds": rounds,
                "kills_in_start": self.kills_in_start,
                "messages_proven": self.proven(),
                "messages_expired_unread": expired,
                "transactions": transactions,
                "copies_proven": copies,
                "requests_sent_again": of(&counts.resent),
                "producers": of(&counts.writers),
                "commits": of(&counts.commits),
                "rebalances": of(&counts.rebalances),
                "evictions": of(&counts.evictions),
                "topics_made": of(&counts.topics_made),
                "start_longest_ms": u64::try_from(self.start_longest.as_millis()).unwrap_or(u64::MAX),
                "seconds": took.as_secs(),
                "wrong": wrong,
            }
        })
        .to_string()
    }
}

fn make_topics(address: std::net::SocketAddr) -> Result<()> {
    let mut link = Link::open(address).map_err(|broken| anyhow::anyhow!("{broken:?}"))?;
    for (name, partitions, configs) in TOPICS.into_iter().chain(copies::TOPICS) {
        let made = clerk::create(&mut link, name, partitions, configs);
        made.map_err(|broken| anyhow::anyhow!("{broken:?}"))?.context("the folder is not a new one")?;
    }
    Ok(())
}
