//! Copies that move, by example and by property.

use super::*;
use proptest::prelude::*;

fn nodes(ids: impl IntoIterator<Item = i32>) -> Vec<Node> {
    ids.into_iter().map(|id| Node { id, rack: None }).collect()
}

fn partition(index: i32, replicas: &[i32]) -> Partition {
    Partition { topic: "orders".into(), index, replicas: replicas.to_vec(), in_sync: replicas.to_vec() }
}

fn placed(partitions: &[Partition], moves: &[Move]) -> Vec<Partition> {
    let replicas = |partition: &Partition| {
        let to = moves.iter().find(|to| (&to.topic, to.index) == (&partition.topic, partition.index));
        to.map_or_else(|| partition.replicas.clone(), |to| to.replicas.clone())
    };
    partitions
        .iter()
        .map(|partition| Partition {
            replicas: replicas(partition),
            in_sync: replicas(partition),
            ..partition.clone()
        })
        .collect()
}

fn counts(partitions: &[Partition], nodes: &[Node]) -> Vec<usize> {
    let has = |id| partitions.iter().filter(|partition| partition.replicas.contains(&id)).count();
    nodes.iter().map(|node| has(node.id)).collect()
}

/// Goal: what leaves a node goes to the one that has least, at its place in the order; all else stays.
#[test]
fn a_node_is_drained() {
    let before = [partition(0, &[0, 1]), partition(1, &[2, 0]), partition(2, &[0, 1])];
    let moves = drain(&before, &nodes([0, 1, 3])).unwrap();
    assert_eq!(moves, [Move { topic: "orders".into(), index: 1, replicas: vec![3, 0] }]);
    assert_eq!(drain(&before, &nodes([0, 1, 2])).unwrap(), []);
    let refused = drain(&[partition(0, &[0, 1, 2])], &nodes([0, 1])).unwrap_err();
    assert_eq!(refused.to_string(), "orders-0 has 3 copies, and 2 nodes can have one each");
}

/// Goal: a new node gets its share, and no copy moves between the old ones.
#[test]
fn a_new_node_gets_its_share() {
    let before: Vec<Partition> =
        (0..9).map(|index| partition(index, &[index % 3, (index + 1) % 3])).collect();
    let all = nodes(0..4);
    let moves = spread(&before, &all);
    let after = placed(&before, &moves);
    assert_eq!(counts(&before, &all), [6, 6, 6, 0]);
    assert!(counts(&after, &all).iter().all(|count| [4, 5].contains(count)), "{after:?}");
    assert_eq!(moves.len(), 4);
    assert!(moves.iter().all(|to| to.replicas.contains(&3)));
    let leads = after.iter().filter(|partition| partition.replicas[0] == 3).count();
    assert!((1..=3).contains(&leads), "it leads {leads} of 9");
    assert_eq!(spread(&after, &all), []);
}

/// Goal: copies stay in as many racks, and go to one that has none, before anything else counts.
#[test]
fn racks_come_first() {
    let rack = |id: i32, rack: &str| Node { id, rack: Some(rack.into()) };
    let all = [rack(0, "a"), rack(1, "a"), rack(2, "b"), rack(3, "b")];
    let before = [partition(0, &[0, 2]), partition(1, &[0, 2]), partition(2, &[0, 2])];
    let after = placed(&before, &spread(&before, &all));
    for partition in &after {
        let racks: BTreeSet<bool> = partition.replicas.iter().map(|node| *node < 2).collect();
        assert_eq!(racks.len(), 2, "{partition:?}");
    }
    let busy =
        [partition(0, &[0]), partition(1, &[2]), partition(2, &[2]), partition(3, &[3]), partition(4, &[3])];
    let moves = resize(&busy, |partition| partition.index == 0, 2, &all).unwrap();
    assert_eq!(moves[0].replicas, [0, 2], "though node 1 has nothing");
    let three = [partition(0, &[0, 1, 2])];
    assert_eq!(resize(&three, |_| true, 2, &all).unwrap()[0].replicas, [0, 2]);
}

/// Goal: a copy that is not complete is given up first, and the preferred leader last.
#[test]
fn the_copy_that_is_missed_least_goes() {
    let mut three = partition(0, &[0, 1, 2]);
    three.in_sync = vec![0, 2];
    assert_eq!(resize(&[three.clone()], |_| true, 2, &nodes(0..3)).unwrap()[0].replicas, [0, 2]);
    three.in_sync = vec![2];
    assert_eq!(resize(&[three], |_| true, 1, &nodes(0..3)).unwrap()[0].replicas, [2]);
    let busy = [partition(0, &[0, 1, 2]), partition(1, &[1]), partition(2, &[1])];
    let moves = resize(&busy, |partition| partition.index == 0, 2, &nodes(0..3)).unwrap();
    assert_eq!(moves[0].replicas, [0, 2], "node 1 has most");
}

/// Partitions on nodes 0 to `count`, with 1 to 3 copies each, of which one at least is complete.
fn layout(count: i32) -> impl Strategy<Value = Vec<Partition>> {
    let one = (0..count, 1..=3_i32.min(count), any::<[bool; 3]>());
    prop::collection::vec(one, 0..40).prop_map(move |all| {
        let partition = |(index, (first, copies, complete)): (i32, (i32, i32, [bool; 3]))| {
            let replicas: Vec<i32> = (0..copies).map(|at| (first + at) % count).collect();
            let mut in_sync: Vec<i32> = replicas
                .iter()
                .copied()
                .zip(complete)
                .filter_map(|(node, yes)| yes.then_some(node))
                .collect();
            if in_sync.is_empty() {
                in_sync.extend(replicas.first());
            }
            Partition { in_sync, ..partition(index, &replicas) }
        };
        (0..).zip(all).map(partition).collect()
    })
}

fn is_once_each(partition: &Partition) -> bool {
    partition.replicas.iter().collect::<BTreeSet<_>>().len() == partition.replicas.len()
}

proptest! {
    /// Goal: whoever leaves has nothing afterwards, every partition has as many copies as before, each node once, and only copies
    /// of those who leave move.
    #[test]
    fn drained_nodes_are_empty(before in layout(6), left in 3_i32..6) {
        let kept = nodes(0..left);
        let after = placed(&before, &drain(&before, &kept).unwrap());
        for (was, is) in before.iter().zip(&after) {
            prop_assert!(is_once_each(is) && was.replicas.len() == is.replicas.len());
            prop_assert!(is.replicas.iter().all(|node| *node < left));
            for (from, to) in was.replicas.iter().zip(&is.replicas) {
                prop_assert!(from == to || *from >= left);
            }
        }
        prop_assert_eq!(drain(&after, &kept).unwrap(), []);
    }

    /// Goal: all nodes have as many copies within one, with no more moves than that takes, and doing a part and asking again ends
    /// there too.
    #[test]
    fn copies_are_spread(before in layout(4), count in 4_i32..8, batch in 1_usize..5) {
        let all = nodes(0..count);
        let mut now = before.clone();
        for _ in 0..=before.len() * 3 {
            let moves = spread(&now, &all);
            let part: Vec<Move> = moves.into_iter().take(batch).collect();
            if part.is_empty() {
                break;
            }
            now = placed(&now, &part);
        }
        prop_assert_eq!(spread(&now, &all), []);
        prop_assert!(now.iter().all(is_once_each));
        let counts = counts(&now, &all);
        let total: usize = counts.iter().sum();
        prop_assert_eq!(total, before.iter().map(|partition| partition.replicas.len()).sum::<usize>());
        prop_assert!(counts.iter().max() <= counts.iter().min().map(|least| least + 1).as_ref(), "{:?}", counts);
    }

    /// Goal: everybody has so many copies, and never fewer complete ones than there were or are wanted.
    #[test]
    fn topics_are_resized(before in layout(5), copies in 1_usize..5) {
        let all = nodes(0..5);
        let moves = resize(&before, |_| true, copies, &all).unwrap();
        for (was, is) in before.iter().zip(&placed(&before, &moves)) {
            prop_assert!(is_once_each(is) && is.replicas.len() == copies);
            let complete = is.replicas.iter().filter(|node| was.in_sync.contains(node)).count();
            prop_assert!(complete >= was.in_sync.len().min(copies));
        }
        prop_assert!(resize(&before, |_| true, 6, &all).is_err() || before.is_empty());
    }
}
