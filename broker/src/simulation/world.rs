//! What a run remembers across lives: histories, commits, owners, and a hash of all answers.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher as _},
    sync::{Arc, Mutex},
};

use kafka_wire::{Request, frame};
use record_log::storage::memory::{Chance, MemoryStorage};
use testkit::{copier::Copier, copies::Copies, history::Line};
use tokio::sync::Notify;
use uuid::Uuid;

use super::clients::Producer;
use super::consumer_groups::Heir;
use super::groups::Member;
use super::table::Table;
use crate::{
    access::Principal,
    broker::{Broker, Caller, Context, Protocol},
    dispatch::dispatch,
    quotas::mute::Mute,
};

/// A partition that producers write to.
pub(super) struct Track {
    pub(super) topic: &'static str,
    pub(super) partition: i32,
    pub(super) line: RefCell<Line>,
}

/// Topics, their partitions and configs.
pub(super) const TOPICS: [(&str, i32, &str, &str); 2] =
    [("first", 2, "segment.bytes", "16384"), ("short", 1, "retention.bytes", "20000")];

/// Topics that transactions write to; the first has a partition for each copier.
pub(super) const COPY_TOPICS: [(&str, i32, &str, &str); 2] =
    [("copies", 2, "segment.bytes", "16384"), ("ledger", 1, "segment.bytes", "16384")];

/// What is known of a topic that comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Asked,
    There(Uuid),
    Leaving(Uuid),
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Committed {
    pub(super) acknowledged: i64,
    pub(super) sent: i64,
}

/// What is remembered.
pub(super) struct World {
    pub(super) tracks: Vec<Track>,
    pub(super) producers: RefCell<[Producer; 2]>,
    pub(super) members: RefCell<[Member; 2]>,
    pub(super) topics: RefCell<BTreeMap<String, Known>>,
    pub(super) committed: RefCell<BTreeMap<(&'static str, usize), Committed>>,
    pub(super) owners: RefCell<BTreeMap<usize, (i32, String)>>,
    pub(super) writers: Cell<u32>,
    pub(super) named: Cell<u32>,
    pub(super) identity: RefCell<Option<(String, VecDeque<Uuid>)>>,
    pub(super) commits: Cell<u64>,
    pub(super) table: RefCell<Table>,
    pub(super) compactions: Cell<u64>,
    pub(super) copiers: RefCell<[Option<Copier>; 2]>,
    pub(super) copies: [Arc<Mutex<Copies>>; 2],
    pub(super) heirs: RefCell<[Heir; 3]>,
    /// The largest epoch that a member of the consumer group was told.
    pub(super) epoch: Cell<i32>,
    chance: RefCell<Chance>,
    hasher: RefCell<DefaultHasher>,
    wrong: RefCell<Option<String>>,
    life: Cell<u64>,
    excuses: Cell<bool>,
    looked: Cell<bool>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let tracks = TOPICS.iter().flat_map(|(topic, partitions, ..)| {
            let track = |partition| Track { topic, partition, line: RefCell::default() };
            (0..*partitions).map(track)
        });
        Self {
            tracks: tracks.collect(),
            producers: RefCell::default(),
            members: RefCell::default(),
            topics: RefCell::default(),
            committed: RefCell::default(),
            owners: RefCell::default(),
            writers: Cell::new(0),
            named: Cell::new(0),
            identity: RefCell::default(),
            commits: Cell::new(0),
            table: RefCell::default(),
            compactions: Cell::new(0),
            copiers: RefCell::default(),
            copies: <[_; 2]>::default(),
            heirs: RefCell::default(),
            epoch: Cell::new(0),
            chance: RefCell::new(Chance::new(seed ^ 0x5555)),
            hasher: RefCell::default(),
            wrong: RefCell::default(),
            life: Cell::new(0),
            excuses: Cell::new(false),
            looked: Cell::new(false),
        }
    }

    pub(super) fn begin(&self, life: u64, excuses: bool) {
        self.life.set(life);
        self.excuses.set(excuses);
        self.looked.set(false);
        for heir in &mut *self.heirs.borrow_mut() {
            heir.doubts(excuses);
        }
    }

    pub(super) fn life(&self) -> u64 {
        self.life.get()
    }

    /// A number below `limit`, which must not be 0.
    pub(super) fn below(&self, limit: u64) -> u64 {
        self.chance.borrow_mut().below(limit)
    }

    pub(super) fn number(&self) -> u64 {
        self.below(u64::MAX)
    }

    pub(super) fn index(&self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).expect("it is below a size")
    }

    /// A rest of a few milliseconds of the simulated clock.
    pub(super) async fn pause(&self, limit_ms: u64) {
        let pause = self.below(limit_ms);
        tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
    }

    /// Notes the first thing that must not be.
    pub(super) fn wrong(&self, what: &str) {
        self.wrong.borrow_mut().get_or_insert_with(|| what.to_owned());
    }

    pub(super) fn found(&self) -> Option<String> {
        self.wrong.borrow().clone()
    }

    /// Whether an error is no wonder: the machine has stopped, or the disk gives errors in this life.
    pub(super) fn excused(&self, storage: &MemoryStorage) -> bool {
        self.excuses.get() || storage.has_crashed()
    }

    /// What the life before left was looked at.
    pub(super) fn has_looked(&self) {
        self.looked.set(true);
    }

    pub(super) fn looked(&self) -> bool {
        self.looked.get()
    }

    pub(super) fn note(&self, what: impl Hash) {
        what.hash(&mut *self.hasher.borrow_mut());
    }

    pub(super) fn hash(&self) -> u64 {
        self.hasher.borrow().finish()
    }

    pub(super) fn proven(&self) -> u64 {
        self.tracks.iter().map(|track| track.line.borrow().proven).sum()
    }

    /// How many transactions are known to be committed, and how many copies were found.
    pub(super) fn copied(&self) -> (u64, u64) {
        let copies = self.copies.iter().map(|copies| copies.lock().expect("nobody panicked"));
        copies.fold((0, 0), |(committed, proven), copies| {
            (committed + copies.committed() as u64, proven + copies.proven())
        })
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.get()
    }

    /// Sends a request as a connection would, and waits for its answer.
    pub(super) async fn call<R: Request>(&self, context: &Context, request: &R, version: i16) -> R::Response {
        let sent = frame::request(request, version, 1, Some("simulated")).expect("it can be written");
        let bytes = sent.into_bytes().slice(frame::LENGTH_BYTES..);
        let answer = dispatch(context, bytes).expect("the request is a right one");
        let encoded = answer.await.expect("an answer can be written").expect("an answer is wanted");
        let bytes = encoded.into_bytes().slice(frame::LENGTH_BYTES..);
        frame::decode_response::<R>(bytes, version).expect("an answer can be read").1
    }
}

/// A caller of its own, as each connection has one.
pub(super) fn context(broker: &Arc<Broker>) -> Context {
    let caller = Caller {
        principal: Principal::anonymous(broker.settings.authorizer),
        host: "127.0.0.1".to_owned(),
        advertised: ("127.0.0.1".to_owned(), 9092),
        waiter: Arc::new(Notify::new()),
        protocol: Protocol::Plaintext,
        mute: Arc::new(Mute::new(std::time::Duration::from_secs(60))),
    };
    Context { broker: Arc::clone(broker), caller: Arc::new(caller), client_id: "simulated".into() }
}
