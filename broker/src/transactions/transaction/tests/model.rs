//! Two producers with one transactional id, two partitions, and a disk that forgets what was not synced.

use std::collections::BTreeSet;

use kafka_wire::ErrorCode;
use proptest::prelude::*;

use crate::transactions::transaction::{End, Head, Init, Output, Producer, Started, Transaction};

#[derive(Clone, Copy, Debug)]
enum Step {
    Start(usize),
    /// Client, partition, and whether its partition is added first, as in the first version of the protocol.
    Write(usize, usize, bool),
    /// Client, whether it commits, the version, and whether the decision comes to disk before what follows.
    End(usize, bool, bool, bool),
    Timeout,
    /// One partition gets its marker.
    Mark(usize),
    Close,
    /// The process is killed; of what was not synced this many writes survive.
    Kill(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..2_usize).prop_map(Step::Start),
        8 => (0..2_usize, 0..2_usize, any::<bool>()).prop_map(|(client, part, first)| Step::Write(client, part, first)),
        4 => (0..2_usize, any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(client, committed, bumps, synced)| Step::End(client, committed, bumps, synced)),
        1 => Just(Step::Timeout),
        4 => (0..2_usize).prop_map(Step::Mark),
        4 => Just(Step::Close),
        2 => (0..4_usize).prop_map(Step::Kill),
    ];
    proptest::collection::vec(step, 1..60)
}

type Stored = (Head, BTreeSet<(String, i32)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    Aborted,
}

/// A record that was acknowledged, and the number of the transaction that its client thinks it is in.
struct Record {
    number: usize,
    fate: Fate,
}

#[derive(Default)]
struct Part {
    records: Vec<Record>,
    open: Option<Producer>,
    epoch: Option<Producer>,
    marked: bool,
}

impl Part {
    fn mark(&mut self, producer: Producer, committed: bool) {
        if self.open.is_some_and(|open| open.id == producer.id && open.epoch <= producer.epoch) {
            let fate = if committed { Fate::Committed } else { Fate::Aborted };
            self.records.iter_mut().filter(|it| it.fate == Fate::Open).for_each(|it| it.fate = fate);
            self.open = None;
        }
        if self.epoch.is_none_or(|known| known.id != producer.id || known.epoch < producer.epoch) {
            self.epoch = Some(producer);
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Client {
    producer: Option<Producer>,
    /// Its transaction, when it has written in it.
    number: Option<usize>,
    /// It asked for this end and has no answer: it asks again and does nothing else.
    ending: Option<bool>,
}

struct World {
    transaction: Transaction,
    /// All states that were written, the last one first to be lost.
    written: Vec<Stored>,
    synced: usize,
    parts: [Part; 2],
    clients: [Client; 2],
    /// Whether the client of each transaction was told that it committed, and whether it ever asked.
    told: Vec<Option<bool>>,
    asked: Vec<bool>,
    next_id: i64,
    now_ms: i64,
}

impl World {
    fn new() -> Self {
        let transaction = Transaction::new(1, 0);
        let stored = (*transaction.head(), BTreeSet::new());
        Self {
            transaction,
            written: vec![stored],
            synced: 1,
            parts: [Part::default(), Part::default()],
            clients: [Client::default(); 2],
            told: Vec::new(),
            asked: Vec::new(),
            next_id: 100,
            now_ms: 1,
        }
    }

    fn save(&mut self) {
        let (mut head, mut places) = self.written.last().cloned().unwrap();
        while let Some(output) = self.transaction.poll_output() {
            match output {
                Output::Head => head = *self.transaction.head(),
                Output::Place(place) => drop(places.insert(place)),
                Output::Group(_) => {}
                Output::Cleared(gone, _) => places.retain(|place| !gone.contains(place)),
            }
        }
        self.written.push((head, places));
    }

    fn sync(&mut self) {
        self.save();
        self.synced = self.written.len();
    }

    fn start(&mut self, client: usize) {
        self.next_id += 1;
        let init = Init { timeout_ms: 1_000_000, expected: None, spare_id: Some(self.next_id) };
        match self.transaction.handle_init(init, self.now_ms) {
            Ok(Started::Ready(producer)) => {
                self.sync();
                let known = self.clients.iter().any(|client| client.producer == Some(producer));
                assert!(!known, "nobody has {producer:?} yet");
                self.clients[client] = Client { producer: Some(producer), ..Client::default() };
            }
            Ok(Started::Aborting) => self.sync(),
            Err(_) => {}
        }
    }

    fn write(&mut self, client: usize, index: usize, first_version: bool) {
        let Some(producer) = self.clients[client].producer else { return };
        if self.clients[client].ending.is_some() {
            return;
        }
        let place = ("orders".to_owned(), i32::try_from(index).unwrap());
        if first_version {
            if self.transaction.handle_add_places(producer, vec![place.clone()], self.now_ms).is_err() {
                return;
            }
            self.sync();
            if self.transaction.check_place(producer, &place).is_err() {
                return;
            }
        } else if self.transaction.check(producer).is_err() {
            return;
        }
        let part = &mut self.parts[index];
        assert!(part.epoch.is_none_or(|known| known.id != producer.id || known.epoch <= producer.epoch));
        assert!(part.open.is_none_or(|open| open == producer), "two transactions at a time");
        let number = *self.clients[client].number.get_or_insert(self.told.len());
        if number == self.told.len() {
            self.told.push(None);
            self.asked.push(false);
        }
        part.records.push(Record { number, fate: Fate::Open });
        part.open = Some(producer);
        part.epoch = Some(producer);
        self.transaction.handle_add_places(producer, vec![place], self.now_ms).unwrap();
        self.save();
    }

    fn end(&mut self, client: usize, committed: bool, bumps: bool, synced: bool) {
        let Some(producer) = self.clients[client].producer else { return };
        self.next_id += 1;
        let committed = *self.clients[client].ending.get_or_insert(committed);
        if let (true, Some(number)) = (committed, self.clients[client].number) {
            self.asked[number] = true;
        }
        let bumps = bumps.then_some(Some(self.next_id));
        let outcome = self.transaction.handle_end(producer, committed, bumps, self.now_ms);
        let after = match outcome {
            Ok(End::Begun(_)) if !synced => return self.save(),
            Ok(End::Begun(after)) => {
                self.sync();
                after
            }
            Ok(End::Already(after)) => after,
            Err(ErrorCode::ConcurrentTransactions) => return,
            Err(_) => return self.clients[client] = Client::default(),
        };
        self.clients[client].ending = None;
        if let Some(number) = self.clients[client].number.take() {
            self.told[number] = Some(committed);
        }
        self.clients[client].producer = Some(after);
    }

    fn mark(&mut self, index: usize) {
        let Some(ending) = self.transaction.ending() else { return };
        self.transaction.save_again();
        self.sync();
        if ending.places.contains(&("orders".to_owned(), i32::try_from(index).unwrap())) {
            self.parts[index].mark(ending.producer, ending.committed);
            self.parts[index].marked = true;
        }
    }

    fn close(&mut self) {
        let Some(ending) = self.transaction.ending() else { return };
        if ending.places.iter().all(|(_, index)| self.parts[usize::try_from(*index).unwrap()].marked) {
            self.transaction.save_again();
            self.sync();
            self.transaction.handle_marked(self.now_ms);
            self.sync();
            self.parts.iter_mut().for_each(|part| part.marked = false);
        }
    }

    fn finish(&mut self) {
        self.mark(0);
        self.mark(1);
        self.close();
        assert!(!self.transaction.state().is_ending());
    }

    fn kill(&mut self, kept: usize) {
        self.written.truncate(self.synced + kept);
        let (head, places) = self.written.last().cloned().unwrap();
        self.synced = self.written.len();
        self.transaction = Transaction::from_stored(head, places, BTreeSet::new());
        for index in 0..2 {
            self.parts[index].marked = false;
            let Some(open) = self.parts[index].open else { continue };
            let place = ("orders".to_owned(), i32::try_from(index).unwrap());
            let known = open.id == self.transaction.head().producer.id;
            if !known || !self.transaction.handle_found(&place, open.epoch, self.now_ms) {
                self.parts[index].mark(open, false);
            }
        }
        self.sync();
        self.finish();
    }

    fn step(&mut self, step: Step) {
        self.now_ms += 1;
        match step {
            Step::Start(client) => self.start(client),
            Step::Write(client, part, first) => self.write(client, part, first),
            Step::End(client, committed, bumps, synced) => self.end(client, committed, bumps, synced),
            Step::Timeout => {
                self.now_ms += 2_000_000;
                if self.transaction.handle_timeout(self.now_ms) {
                    self.save();
                }
            }
            Step::Mark(part) => self.mark(part),
            Step::Close => self.close(),
            Step::Kill(kept) => self.kill(kept),
        }
    }

    fn check(&self) {
        for (number, told) in self.told.iter().enumerate() {
            let records = self.parts.iter().flat_map(|part| &part.records);
            let fates: Vec<Fate> = records.filter(|it| it.number == number).map(|it| it.fate).collect();
            assert!(
                fates.windows(2).all(|pair| pair[0] == pair[1]),
                "transaction {number} is torn: {fates:?}"
            );
            let committed = fates.contains(&Fate::Committed);
            assert!(!committed || self.asked[number], "transaction {number} was never to be committed");
            match told {
                Some(true) => assert!(committed, "transaction {number} is lost: {fates:?}"),
                Some(false) => assert!(!committed, "transaction {number} was aborted"),
                None => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Goal: whatever happens in whatever order, each transaction is whole, commits only if it was asked to, and is
    /// what its client was told; nobody writes behind the back of another.
    #[test]
    fn transactions_are_whole(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.kill(0);
        world.check();
    }
}
