//! Shares: whole, equal, and with as few moves as can be.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;

use super::{Assignment, Assignor, Subscriber};

fn topic(number: u64) -> Uuid {
    Uuid::from_u64_pair(0, number)
}

fn count(assignment: &Assignment) -> usize {
    assignment.values().map(BTreeSet::len).sum()
}

fn parts(assignment: &Assignment) -> BTreeSet<(Uuid, i32)> {
    assignment.iter().flat_map(|(topic, all)| all.iter().map(|it| (*topic, *it))).collect()
}

fn assign(
    assignor: Assignor,
    topics: &BTreeMap<Uuid, i32>,
    subscriptions: &[BTreeSet<Uuid>],
    previous: &[Assignment],
) -> Vec<Assignment> {
    let names: Vec<String> = (0..subscriptions.len()).map(|at| format!("member-{at:03}")).collect();
    let members: Vec<Subscriber<'_>> = names
        .iter()
        .zip(subscriptions)
        .zip(previous)
        .map(|((order, topics), previous)| Subscriber { order, topics: topics.clone(), previous })
        .collect();
    assignor.assign(topics, &members)
}

/// Everything that somebody wants is given once, to somebody that wants it.
fn check_whole(topics: &BTreeMap<Uuid, i32>, subscriptions: &[BTreeSet<Uuid>], result: &[Assignment]) {
    let mut given = BTreeSet::new();
    for (assignment, wanted) in result.iter().zip(subscriptions) {
        for part in parts(assignment) {
            assert!(wanted.contains(&part.0), "{part:?} is not wanted");
            assert!(given.insert(part), "{part:?} is given twice");
        }
    }
    let wanted = topics.iter().filter(|(topic, _)| subscriptions.iter().any(|it| it.contains(topic)));
    let all: BTreeSet<_> = wanted.flat_map(|(topic, count)| (0..*count).map(|it| (*topic, it))).collect();
    assert_eq!(given, all);
}

proptest! {
    /// Goal: with equal subscriptions everybody has the same, within one, and nothing moves that need not.
    #[test]
    fn uniform_is_equal_and_sticky(
        counts in proptest::collection::vec(1..20_i32, 1..5),
        before in 0..8_usize,
        after in 1..8_usize,
    ) {
        let topics: BTreeMap<Uuid, i32> = (0..).map(topic).zip(counts).collect();
        let all: BTreeSet<Uuid> = topics.keys().copied().collect();
        let nothing = vec![Assignment::new(); 8];
        let first = assign(Assignor::Uniform, &topics, &vec![all.clone(); before], &nothing);
        if before > 0 {
            check_whole(&topics, &vec![all.clone(); before], &first);
        }
        let mut previous = first.clone();
        previous.resize(after, Assignment::new());
        let second = assign(Assignor::Uniform, &topics, &vec![all.clone(); after], &previous);
        check_whole(&topics, &vec![all; after], &second);
        let loads: Vec<usize> = second.iter().map(count).collect();
        let (least, most) = (loads.iter().min().copied().unwrap(), loads.iter().max().copied().unwrap());
        prop_assert!(most - least <= 1, "{loads:?}");
        // What must go: what is above the new share, with the larger shares for those that have most.
        let total: usize = loads.iter().sum();
        let (share, more) = (total / after, total % after);
        let mut had: Vec<usize> = previous.iter().map(count).collect();
        had.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
        let needed: usize = had.iter().enumerate()
            .map(|(rank, count)| count.saturating_sub(share + usize::from(rank < more)))
            .sum();
        let moved: usize = previous.iter().zip(&second)
            .map(|(old, new)| parts(old).difference(&parts(new)).count())
            .sum();
        prop_assert_eq!(moved, needed, "from {:?} to {:?}", had, loads);
    }

    /// Goal: with any subscriptions all is given once, nobody could do better by one move, and doing it
    /// again changes nothing.
    #[test]
    fn any_subscriptions_are_served(
        counts in proptest::collection::vec(1..9_i32, 1..6),
        wishes in proptest::collection::vec(proptest::collection::btree_set(0..6_u64, 0..6), 1..7),
        range: bool,
    ) {
        let topics: BTreeMap<Uuid, i32> = (0..).map(topic).zip(counts).collect();
        let subscriptions: Vec<BTreeSet<Uuid>> =
            wishes.into_iter().map(|wish| wish.into_iter().map(topic).collect()).collect();
        let assignor = if range { Assignor::Range } else { Assignor::Uniform };
        let nothing = vec![Assignment::new(); subscriptions.len()];
        let result = assign(assignor, &topics, &subscriptions, &nothing);
        check_whole(&topics, &subscriptions, &result);
        prop_assert_eq!(&assign(assignor, &topics, &subscriptions, &result), &result);
        if !range {
            for (from, assignment) in result.iter().enumerate() {
                for topic in assignment.keys() {
                    for (to, wanted) in subscriptions.iter().enumerate() {
                        let better = wanted.contains(topic) && count(&result[from]) > count(&result[to]) + 1;
                        prop_assert!(!better, "{topic} could go from {from} to {to}");
                    }
                }
            }
        }
    }
}

/// Goal: equal numbers of two topics go to the same member, and the first members get the odd ones.
#[test]
fn ranges_go_together() {
    let topics = BTreeMap::from([(topic(1), 7), (topic(2), 7)]);
    let all: BTreeSet<Uuid> = topics.keys().copied().collect();
    let nothing = vec![Assignment::new(); 3];
    let result = assign(Assignor::Range, &topics, &vec![all; 3], &nothing);
    let expected = [0..3, 3..5, 5..7];
    for (assignment, range) in result.iter().zip(expected) {
        let range: BTreeSet<i32> = range.collect();
        assert_eq!(assignment, &BTreeMap::from([(topic(1), range.clone()), (topic(2), range)]));
    }
}
