//! The consumer group with its members in memory: nobody has what another has, and all come to rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kafka_wire::ErrorCode;
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    super::assignor::Assignment, AWAY_EPOCH, Answer, Beat, ConsumerGroup, LEAVE_EPOCH, Limits, Output,
    Refused, StoredMember, Surroundings, TopicsView, parts,
};

const LIMITS: Limits = Limits { session_timeout_ms: 45_000, heartbeat_interval_ms: 5_000, size_max: 10 };

fn id_of(name: &str, incarnation: u64) -> Uuid {
    Uuid::from_u64_pair(incarnation, name.bytes().map(u64::from).sum())
}

/// A view with these topics: name, incarnation, partitions.
fn view(version: u64, topics: &[(&str, u64, i32)]) -> TopicsView {
    let by_name = topics
        .iter()
        .map(|(name, incarnation, count)| (Arc::from(*name), (id_of(name, *incarnation), *count)));
    let names = topics.iter().map(|(name, incarnation, _)| (id_of(name, *incarnation), Arc::from(*name)));
    TopicsView { version, by_name: by_name.collect(), names: names.collect() }
}

fn around(topics: &TopicsView, now_ms: u64) -> Surroundings<'_> {
    Surroundings { topics, allows: &|name| !name.starts_with("hidden"), now_ms }
}

fn joining(member: &str, topics: &[&str]) -> Beat {
    Beat {
        member: member.to_owned(),
        rebalance_timeout_ms: 60_000,
        names: Some(topics.iter().map(ToString::to_string).collect()),
        owned: Some(Assignment::new()),
        client_id: "client".to_owned(),
        ..Beat::default()
    }
}

fn living(member: &str, epoch: i32, owned: Option<&Assignment>) -> Beat {
    Beat {
        member: member.to_owned(),
        epoch,
        rebalance_timeout_ms: -1,
        owned: owned.cloned(),
        client_id: "client".to_owned(),
        ..Beat::default()
    }
}

fn drain(group: &mut ConsumerGroup) -> Vec<Output> {
    std::iter::from_fn(|| group.poll_output()).collect()
}

/// Goal: limits that change hold from the next heartbeat on; until then a member has the session that it was told of.
#[test]
fn limits_change_with_the_next_heartbeat() {
    let topics = view(1, &[("topic", 1, 1)]);
    let mut group = ConsumerGroup::new(LIMITS);
    let joined = group.handle_heartbeat(&joining("m", &["topic"]), &around(&topics, 1_000)).unwrap();
    assert_eq!(group.poll_timeout(), Some(46_000));
    group.use_limits(Limits { session_timeout_ms: 60_000, ..LIMITS });
    assert_eq!(group.poll_timeout(), Some(46_000));
    group.handle_heartbeat(&living("m", joined.epoch, None), &around(&topics, 2_000)).unwrap();
    group.handle_timeout(46_000);
    assert_eq!((group.member_count(), group.poll_timeout()), (1, Some(62_000)));
    group.handle_timeout(62_000);
    assert!(group.is_empty());
}

fn count(assignment: &Assignment) -> usize {
    parts(assignment).count()
}

fn code(result: Result<Answer, Refused>) -> ErrorCode {
    result.expect_err("refused").code
}

/// Goal: a second member gets its half only after the first one said that it gave it back.
#[test]
fn revoked_before_assigned() {
    let topics = view(1, &[("a", 0, 4)]);
    let mut group = ConsumerGroup::new(LIMITS);
    let first = group.handle_heartbeat(&joining("m1", &["a"]), &around(&topics, 0)).unwrap();
    let all = first.assignment.unwrap();
    assert_eq!((first.epoch, count(&all)), (1, 4));
    let second = group.handle_heartbeat(&joining("m2", &["a"]), &around(&topics, 0)).unwrap();
    assert_eq!((second.epoch, second.assignment), (2, Some(Assignment::new())), "nothing is free");
    assert_eq!(group.state_name(), "Reconciling");
    let told = group.handle_heartbeat(&living("m1", 1, Some(&all)), &around(&topics, 1)).unwrap();
    let half = told.assignment.unwrap();
    assert_eq!((told.epoch, count(&half)), (1, 2), "it keeps its epoch until it has given back");
    let waits = group.handle_heartbeat(&living("m2", 2, None), &around(&topics, 2)).unwrap();
    assert_eq!(waits.assignment, None, "still not free");
    let gave = group.handle_heartbeat(&living("m1", 1, Some(&half)), &around(&topics, 3)).unwrap();
    assert_eq!((gave.epoch, gave.assignment), (2, None));
    let gets = group.handle_heartbeat(&living("m2", 2, None), &around(&topics, 4)).unwrap();
    assert_eq!(count(&gets.assignment.unwrap()), 2);
    assert_eq!(group.state_name(), "Stable");
    drain(&mut group);
    let idle = group.handle_heartbeat(&living("m2", 2, None), &around(&topics, 5)).unwrap();
    assert_eq!((idle.epoch, idle.assignment), (2, None));
    assert_eq!(drain(&mut group), [], "a heartbeat that changes nothing is not stored");
}

/// Goal: a member that does not give back in its rebalance timeout is out, and the other gets it all.
#[test]
fn who_keeps_too_long_is_out() {
    let topics = view(1, &[("a", 0, 2)]);
    let mut group = ConsumerGroup::new(LIMITS);
    let beat = Beat { rebalance_timeout_ms: 10_000, ..joining("m1", &["a"]) };
    let all = group.handle_heartbeat(&beat, &around(&topics, 0)).unwrap().assignment.unwrap();
    group.handle_heartbeat(&joining("m2", &["a"]), &around(&topics, 0)).unwrap();
    group.handle_heartbeat(&living("m1", 1, Some(&all)), &around(&topics, 1_000)).unwrap();
    assert!(group.poll_timeout().unwrap() <= 11_000);
    group.handle_timeout(10_999);
    group.handle_heartbeat(&living("m1", 1, Some(&all)), &around(&topics, 10_999)).unwrap();
    group.handle_timeout(11_000);
    let out = group.handle_heartbeat(&living("m1", 1, Some(&all)), &around(&topics, 11_001));
    assert_eq!(code(out), ErrorCode::UnknownMemberId);
    let gets = group.handle_heartbeat(&living("m2", 2, None), &around(&topics, 12_000)).unwrap();
    assert_eq!(count(&gets.assignment.unwrap()), 2);
    group.handle_timeout(12_000 + 45_000);
    assert_eq!((group.state_name(), group.poll_timeout()), ("Empty", None), "silent members are out");
}

/// Goal: epochs fence: a newer or much older one is refused; the last one is good if the answer was lost.
#[test]
fn epochs_fence() {
    let topics = view(1, &[("a", 0, 2)]);
    let mut group = ConsumerGroup::new(LIMITS);
    let all =
        group.handle_heartbeat(&joining("m1", &["a"]), &around(&topics, 0)).unwrap().assignment.unwrap();
    let grown = view(2, &[("a", 0, 3)]);
    let lost = group.handle_heartbeat(&living("m1", 1, None), &around(&grown, 1)).unwrap();
    assert_eq!((lost.epoch, count(&lost.assignment.unwrap())), (2, 3));
    let again = group.handle_heartbeat(&living("m1", 1, Some(&all)), &around(&grown, 2)).unwrap();
    assert_eq!(again.epoch, 2);
    for (epoch, owned) in [(3, Some(&all)), (1, None)] {
        let fenced = group.handle_heartbeat(&living("m1", epoch, owned), &around(&grown, 3));
        assert_eq!(code(fenced), ErrorCode::FencedMemberEpoch);
    }
    let unknown = group.handle_heartbeat(&living("m9", 1, None), &around(&grown, 3));
    assert_eq!(code(unknown), ErrorCode::UnknownMemberId);
    assert_eq!(group.check_offsets("m1", 1), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(group.check_offsets("m1", 2), Ok(()));
    assert_eq!(group.check_offsets("", -1), Err(ErrorCode::UnknownMemberId), "only an empty group's");
}

/// Goal: a static member that goes away keeps its partitions under its new id; others with its name are refused.
#[test]
fn static_members_come_back() {
    let topics = view(1, &[("a", 0, 2)]);
    let mut group = ConsumerGroup::new(LIMITS);
    let named = |beat: Beat| Beat { instance: Some("i".to_owned()), ..beat };
    let join = |id: &str| named(joining(id, &["a"]));
    let first = group.handle_heartbeat(&join("m1"), &around(&topics, 0)).unwrap();
    group.handle_heartbeat(&joining("m2", &["a"]), &around(&topics, 0)).unwrap();
    assert_eq!(
        code(group.handle_heartbeat(&join("m3"), &around(&topics, 0))),
        ErrorCode::UnreleasedInstanceId
    );
    let half =
        group.handle_heartbeat(&named(living("m1", 1, first.assignment.as_ref())), &around(&topics, 0));
    let half = half.unwrap().assignment.unwrap();
    group.handle_heartbeat(&named(living("m1", 1, Some(&half))), &around(&topics, 0)).unwrap();
    group.handle_heartbeat(&living("m2", 2, None), &around(&topics, 0)).unwrap();
    let (epoch, target) = (group.epoch(), group.target_epoch());
    group.handle_heartbeat(&named(living("m1", AWAY_EPOCH, None)), &around(&topics, 1)).unwrap();
    let other = group.handle_heartbeat(&living("m2", 2, None), &around(&topics, 2)).unwrap();
    assert_eq!((other.epoch, other.assignment), (2, None), "nobody notices");
    let back = group.handle_heartbeat(&join("m3"), &around(&topics, 3)).unwrap();
    assert_eq!((back.epoch, back.assignment), (2, Some(half)));
    assert_eq!((group.epoch(), group.target_epoch()), (epoch, target), "no rebalance");
    let old = group.handle_heartbeat(&named(living("m1", 2, None)), &around(&topics, 4));
    assert_eq!(code(old), ErrorCode::FencedInstanceId);
    let left = group.handle_heartbeat(&named(living("m3", LEAVE_EPOCH, None)), &around(&topics, 5)).unwrap();
    assert_eq!((left.epoch, group.member_count()), (LEAVE_EPOCH, 1));
}

/// Goal: a pattern means the topics that match it whole and that the member may know of, now and later.
#[test]
fn patterns_follow_topics() {
    let beat = Beat { names: None, regex: Some("log.*".to_owned()), ..joining("m1", &[]) };
    let mut group = ConsumerGroup::new(LIMITS);
    let topics = view(1, &[("log1", 0, 1), ("xlog1", 0, 1), ("hidden-log", 0, 1)]);
    let first = group.handle_heartbeat(&beat, &around(&topics, 0)).unwrap();
    assert_eq!(
        (first.epoch, first.assignment),
        (1, Some(Assignment::new())),
        "it is matched after the answer"
    );
    let next = group.handle_heartbeat(&living("m1", 1, None), &around(&topics, 1)).unwrap();
    assert_eq!((next.epoch, count(&next.assignment.unwrap())), (2, 1));
    let more = view(2, &[("log1", 0, 1), ("log2", 0, 2), ("xlog1", 0, 1)]);
    let second = group.handle_heartbeat(&living("m1", 2, None), &around(&more, 1)).unwrap();
    assert_eq!((second.epoch, count(&second.assignment.unwrap())), (3, 3));
    let again = view(3, &[("log1", 1, 1), ("other", 0, 9)]);
    let third =
        group.handle_heartbeat(&living("m1", 3, Some(&Assignment::new())), &around(&again, 2)).unwrap();
    assert_eq!(third.assignment.unwrap(), Assignment::from([(id_of("log1", 1), BTreeSet::from([0]))]));
    let third = third_epoch(&mut group, &beat, &again);
    let both = view(4, &[("log1", 1, 1), ("log2", 1, 1), ("other", 0, 9)]);
    let first = group.handle_heartbeat(&living("m1", third, None), &around(&both, 9)).unwrap();
    assert_eq!(first.assignment, None, "the new topic is not the first one's");
    let other = group.handle_heartbeat(&living("m2", third, None), &around(&both, 9)).unwrap();
    assert_eq!(other.assignment.unwrap(), Assignment::from([(id_of("log2", 1), BTreeSet::from([0]))]));
    for wrong in ["(", "a)(b", "x{99999}{9999}"] {
        let beat = Beat { regex: Some(wrong.to_owned()), ..beat.clone() };
        assert_eq!(beat.check(true).unwrap_err().code, ErrorCode::InvalidRegularExpression, "{wrong}");
    }
}

/// A second member with the same pattern comes to rest; the epoch of both then.
fn third_epoch(group: &mut ConsumerGroup, beat: &Beat, topics: &TopicsView) -> i32 {
    let second = Beat { member: "m2".to_owned(), ..beat.clone() };
    let mut epoch = group.handle_heartbeat(&second, &around(topics, 3)).unwrap().epoch;
    for now_ms in 4..6 {
        epoch = group.handle_heartbeat(&living("m2", epoch, None), &around(topics, now_ms)).unwrap().epoch;
        let before = group.members["m1"].epoch;
        group.handle_heartbeat(&living("m1", before, None), &around(topics, now_ms)).unwrap();
    }
    assert_eq!(group.state_name(), "Stable");
    epoch
}

/// Goal: what cannot be meant is refused, and groups are not larger than allowed.
#[test]
fn wrong_beats_are_refused() {
    let good = joining("m", &["a"]);
    assert_eq!(good.check(true), Ok(()));
    let wrong = [
        Beat { member: String::new(), ..good.clone() },
        Beat { instance: Some(String::new()), ..good.clone() },
        Beat { rebalance_timeout_ms: -1, ..good.clone() },
        Beat { owned: None, ..good.clone() },
        Beat { names: None, ..good.clone() },
        Beat { epoch: AWAY_EPOCH, ..good.clone() },
        Beat { epoch: -3, ..good.clone() },
    ];
    for beat in wrong {
        assert_eq!(beat.check(true).unwrap_err().code, ErrorCode::InvalidRequest, "{beat:?}");
    }
    let assignor = Beat { assignor: Some("sticky".to_owned()), ..good };
    assert_eq!(assignor.check(true).unwrap_err().code, ErrorCode::UnsupportedAssignor);
    let topics = view(1, &[("a", 0, 2)]);
    let mut group = ConsumerGroup::new(Limits { size_max: 1, ..LIMITS });
    group.handle_heartbeat(&joining("m1", &["a"]), &around(&topics, 0)).unwrap();
    let full = group.handle_heartbeat(&joining("m2", &["a"]), &around(&topics, 0));
    assert_eq!(code(full), ErrorCode::GroupMaxSizeReached);
}

/// A client as it sees itself.
#[derive(Clone, Debug, Default)]
struct Client {
    id: String,
    instance: Option<String>,
    epoch: i32,
    topics: BTreeSet<String>,
    said: BTreeSet<String>,
    /// What it works on.
    has: Assignment,
    /// What it was told to work on.
    goal: Assignment,
    running: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Start(usize),
    Beat { client: usize, silent: bool, lost: bool },
    Work(usize),
    Stop(usize),
    Away(usize),
    Subscribe(usize, u8),
    Pass(u64),
    Topic { topic: usize, count: i32 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..5_usize;
    prop_oneof![
        3 => client().prop_map(Step::Start),
        8 => (client(), any::<bool>(), prop::bool::weighted(0.15))
            .prop_map(|(client, silent, lost)| Step::Beat { client, silent, lost }),
        6 => client().prop_map(Step::Work),
        1 => client().prop_map(Step::Stop),
        1 => client().prop_map(Step::Away),
        1 => (client(), 1..8_u8).prop_map(|(client, topics)| Step::Subscribe(client, topics)),
        2 => (1..30_000_u64).prop_map(Step::Pass),
        1 => (0..3_usize, 0..7).prop_map(|(topic, count)| Step::Topic { topic, count }),
        1 => Just(Step::Restart),
    ]
}

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The group, its clients, and the table that it is stored in.
struct World {
    group: ConsumerGroup,
    stored: Option<super::StoredGroup>,
    members: BTreeMap<String, StoredMember>,
    clients: Vec<Client>,
    counts: [i32; 3],
    incarnations: [u64; 3],
    version: u64,
    next_id: usize,
    now_ms: u64,
}

impl World {
    fn new() -> Self {
        let topics = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let client = |at: usize| Client {
            instance: (at >= 3).then(|| format!("i{at}")),
            topics: topics.clone(),
            ..Client::default()
        };
        Self {
            group: ConsumerGroup::new(LIMITS),
            stored: None,
            members: BTreeMap::new(),
            clients: (0..5).map(client).collect(),
            counts: [4, 3, 2],
            incarnations: [0; 3],
            version: 1,
            next_id: 0,
            now_ms: 0,
        }
    }

    fn view(&self) -> TopicsView {
        let all = NAMES.into_iter().zip(self.incarnations).zip(self.counts);
        let there = all.filter(|(_, count)| *count > 0).map(|((name, it), count)| (name, it, count));
        view(self.version, &there.collect::<Vec<_>>())
    }

    /// Stores what is to be stored, as the coordinator does before it answers.
    fn store(&mut self) {
        for output in drain(&mut self.group) {
            match output {
                Output::StoreGroup => self.stored = Some(self.group.to_stored()),
                Output::StoreMember(id) => {
                    let stored = self.group.member_to_stored(&id).expect("a member");
                    self.members.insert(id, stored);
                }
                Output::RemoveMember(id) => drop(self.members.remove(&id)),
            }
        }
    }

    fn beat(&mut self, at: usize, silent: bool, lost: bool) {
        let view = self.view();
        let client = &mut self.clients[at];
        if !client.running {
            return;
        }
        let joins = client.epoch == 0;
        let names: Vec<String> = client.topics.iter().cloned().collect();
        // What it has is only said when it has come to what it was told: until then nothing has changed.
        let owned = (joins || (!silent && client.has == client.goal)).then(|| client.has.clone());
        let beat = Beat {
            member: client.id.clone(),
            epoch: client.epoch,
            instance: client.instance.clone(),
            rebalance_timeout_ms: if joins { 20_000 } else { -1 },
            names: (joins || client.said != client.topics).then_some(names),
            owned,
            ..Beat::default()
        };
        let result = self.group.handle_heartbeat(&beat, &around(&view, self.now_ms));
        self.store();
        let client = &mut self.clients[at];
        match result {
            _ if lost => {}
            Ok(answer) => {
                client.epoch = answer.epoch;
                client.said = client.topics.clone();
                client.goal = answer.assignment.unwrap_or_else(|| client.goal.clone());
            }
            Err(Refused { code: ErrorCode::UnreleasedInstanceId, .. }) => {}
            Err(refused) => {
                let again = [ErrorCode::FencedMemberEpoch, ErrorCode::UnknownMemberId];
                assert!(again.contains(&refused.code), "{refused:?}");
                client.epoch = 0;
                client.has.clear();
                client.goal.clear();
            }
        }
    }

    fn leave(&mut self, at: usize, epoch: i32) {
        let view = self.view();
        let client = &mut self.clients[at];
        if !client.running || client.epoch <= 0 || (epoch == AWAY_EPOCH && client.instance.is_none()) {
            return;
        }
        let beat = Beat { instance: client.instance.clone(), ..living(&client.id, epoch, None) };
        client.running = false;
        client.has.clear();
        client.goal.clear();
        drop(self.group.handle_heartbeat(&beat, &around(&view, self.now_ms)));
        self.store();
    }

    fn pass(&mut self, time_ms: u64) {
        self.now_ms += time_ms;
        self.group.handle_timeout(self.now_ms);
        self.store();
    }

    fn restart(&mut self) {
        let mut group = self
            .stored
            .clone()
            .map_or_else(|| ConsumerGroup::new(LIMITS), |stored| ConsumerGroup::from_stored(LIMITS, stored));
        for (id, member) in self.members.clone() {
            group.restore_member(id, member, self.now_ms);
        }
        assert_eq!((group.epoch(), group.target_epoch()), (self.group.epoch(), self.group.target_epoch()));
        assert_eq!(group.holders, self.group.holders);
        self.group = group;
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Start(at) => {
                let client = &mut self.clients[at];
                if !client.running {
                    self.next_id += 1;
                    client.id = format!("m{}", self.next_id);
                    (client.epoch, client.running) = (0, true);
                }
            }
            Step::Beat { client, silent, lost } => self.beat(client, silent, lost),
            Step::Work(at) => self.clients[at].has = self.clients[at].goal.clone(),
            Step::Stop(at) => self.leave(at, LEAVE_EPOCH),
            Step::Away(at) => self.leave(at, AWAY_EPOCH),
            Step::Subscribe(at, which) => {
                let picked = NAMES.iter().enumerate().filter(|(bit, _)| which & (1 << bit) != 0);
                self.clients[at].topics = picked.map(|(_, name)| (*name).to_owned()).collect();
            }
            Step::Pass(time_ms) => self.pass(time_ms),
            Step::Topic { topic, count } => {
                self.version += 1;
                if count < self.counts[topic] {
                    self.incarnations[topic] += 1;
                }
                self.counts[topic] = count;
            }
            Step::Restart => self.restart(),
        }
        self.check();
    }

    /// Nobody works on what another member works on.
    fn check(&self) {
        let mut taken = BTreeMap::new();
        for client in self.clients.iter().filter(|client| self.group.members.contains_key(&client.id)) {
            for part in parts(&client.has) {
                let before = taken.insert(part, &client.id);
                assert_eq!(before, None, "{part:?} is with {} too", client.id);
            }
        }
        for (part, holder) in &self.group.holders {
            let member = self.group.members.get(holder).expect("a holder is a member");
            assert!(member.held().any(|held| held == *part), "{part:?} is not with {holder}");
        }
    }

    /// All go on for a while without disturbance.
    fn settle(&mut self) {
        for at in 0..self.clients.len() {
            self.leave(at, LEAVE_EPOCH);
            if at % 2 == 0 {
                self.take(Step::Start(at));
            }
        }
        self.pass(LIMITS.session_timeout_ms + 1);
        for _ in 0..16 {
            for at in 0..self.clients.len() {
                self.take(Step::Beat { client: at, silent: false, lost: false });
                self.take(Step::Work(at));
            }
            self.pass(1_000);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Goal: whatever members, topics and the broker do: a partition is with one member at a time; and when the
    /// dust settles everybody has its target, all is given, shares are equal, and nothing is written any more.
    #[test]
    fn members_share_and_come_to_rest(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.settle();
        let running: Vec<&Client> = world.clients.iter().filter(|client| client.running).collect();
        prop_assert_eq!(world.group.member_count(), running.len());
        prop_assert_eq!(world.group.state_name(), "Stable");
        let mut given = BTreeSet::new();
        for client in &running {
            let member = &world.group.members[&client.id];
            prop_assert_eq!(&client.has, &member.target);
            prop_assert_eq!(&member.assigned, &member.target);
            given.extend(parts(&client.has));
        }
        let view = world.view();
        let wanted: BTreeSet<(Uuid, i32)> = view.by_name.iter()
            .filter(|(name, _)| running.iter().any(|client| client.topics.contains(&***name)))
            .flat_map(|(_, (id, count))| (0..*count).map(|partition| (*id, partition)))
            .collect();
        prop_assert_eq!(&given, &wanted);
        if running.windows(2).all(|pair| pair[0].topics == pair[1].topics) {
            let loads: Vec<usize> = running.iter().map(|client| count(&client.has)).collect();
            let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{loads:?}");
        }
        let (epoch, ids) = (world.group.epoch(), world.clients.clone());
        for client in ids.iter().filter(|client| client.running) {
            let beat = Beat { client_id: String::new(), instance: client.instance.clone(), ..living(&client.id, client.epoch, None) };
            let answer = world.group.handle_heartbeat(&beat, &around(&view, world.now_ms)).unwrap();
            prop_assert_eq!(answer.assignment, None);
        }
        prop_assert_eq!(drain(&mut world.group), []);
        prop_assert_eq!(world.group.epoch(), epoch);
    }
}
