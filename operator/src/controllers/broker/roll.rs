//! Pure: which nodes of a cluster start again next, when what they run with has changed.
//!
//! One at a time, and only while everything goes on without it: every partition keeps the copies that
//! `min.insync.replicas` asks for, and the controllers their majority. The controller that leads goes last, so that it is
//! elected once. A node that is down has nothing to lose and goes at once: the change may be what helps it. One that does not
//! come up with the change is the last one to get it.

use crate::kafka::Standing;

/// A node, as its Pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Its id.
    pub(super) id: i32,
    /// How its Pod is.
    pub(super) state: State,
    /// Whether its Pod is of the newest template.
    pub(super) is_newest: bool,
}

/// See [`Node`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It serves.
    Ready,
    /// It is there and does not serve.
    Down,
    /// It is going, or not there yet.
    Away,
}

/// What comes next, as far as the Pods tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All nodes have the newest template, or will have when they come.
    Done,
    /// These start again now.
    Restart(Vec<i32>),
    /// One of these, if the cluster goes on without it: see [`next`].
    OneOf(Vec<i32>),
    /// Nobody for now: why, for people.
    Waits(String),
}

/// Decides over all nodes, in the order of their ids.
pub(super) fn step(nodes: &[Node]) -> Step {
    let outdated = |node: &&Node| node.state != State::Away && !node.is_newest;
    let left: Vec<i32> = nodes.iter().filter(outdated).map(|node| node.id).collect();
    if left.is_empty() {
        return Step::Done;
    }
    if nodes.len() == 1 {
        return Step::Restart(left);
    }
    let down: Vec<i32> =
        nodes.iter().filter(outdated).filter(|node| node.state == State::Down).map(|node| node.id).collect();
    if !down.is_empty() {
        return Step::Restart(down);
    }
    if let Some(node) = nodes.iter().find(|node| node.state != State::Ready) {
        return Step::Waits(format!(
            "node {} is not ready yet: if it takes long, look at the events and the log of its pod",
            node.id
        ));
    }
    Step::OneOf(left)
}

/// Which of the `outdated` nodes starts again; otherwise why none does, for people.
pub(super) fn next(outdated: &[i32], standing: &Standing) -> Result<i32, String> {
    let leads = |node: &i32| standing.quorum.leader == Some(*node);
    let mut others = outdated.iter().copied().filter(|node| !leads(node)).peekable();
    if others.peek().is_none() {
        let leader = outdated.iter().copied().find(leads).ok_or("no node is left")?;
        return standing.without(leader).map(|()| leader);
    }
    let mut why = None;
    for node in others {
        match standing.without(node) {
            Ok(()) => return Ok(node),
            Err(reason) => why = why.or(Some(reason)),
        }
    }
    Err(why.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{Copies, Quorum};
    use control::placement::Partition;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use testkit::chance::Chance;

    fn node(id: i32, state: State, is_newest: bool) -> Node {
        Node { id, state, is_newest }
    }

    fn partition(replicas: Vec<i32>, in_sync: Vec<i32>) -> Partition {
        Partition { topic: "orders".into(), index: 0, replicas, in_sync }
    }

    /// Nodes by a word each: `r` ready, `d` down, `a` away; large letters have the newest template.
    fn nodes(words: &str) -> Vec<Node> {
        let state = |word: char| match word.to_ascii_lowercase() {
            'r' => State::Ready,
            'd' => State::Down,
            _ => State::Away,
        };
        let ids = 0..;
        ids.zip(words.chars()).map(|(id, word)| node(id, state(word), word.is_uppercase())).collect()
    }

    fn standing(leader: i32, partitions: Vec<Copies>, count: i32) -> Standing {
        let all: BTreeSet<i32> = (0..count).collect();
        Standing { partitions, quorum: Quorum { leader: Some(leader), voters: all.clone(), caught_up: all } }
    }

    /// Goal: who is down goes at once, and otherwise one at a time while all others serve; one that does not come up stops all.
    #[test]
    fn the_pods_say_who_may_go() {
        for (words, expected) in [
            ("RRR", Step::Done),
            ("RRa", Step::Done),
            ("RRD", Step::Done),
            ("rrr", Step::OneOf(vec![0, 1, 2])),
            ("rRr", Step::OneOf(vec![0, 2])),
            ("rdr", Step::Restart(vec![1])),
            ("ddd", Step::Restart(vec![0, 1, 2])),
            ("Dda", Step::Restart(vec![1])),
            ("r", Step::Restart(vec![0])),
        ] {
            assert_eq!(step(&nodes(words)), expected, "{words}");
        }
        for words in ["Drr", "arr", "rRD"] {
            assert!(matches!(step(&nodes(words)), Step::Waits(_)), "{words}");
        }
    }

    /// Goal: the controller that leads goes last, even while the others have to wait.
    #[test]
    fn the_leader_of_the_controllers_goes_last() {
        assert_eq!(next(&[0, 1, 2], &standing(0, vec![], 3)), Ok(1));
        assert_eq!(next(&[0, 2], &standing(0, vec![], 3)), Ok(2));
        assert_eq!(next(&[0], &standing(0, vec![], 3)), Ok(0));
        let behind = Copies { partition: partition(vec![1, 2, 3], vec![1, 2]), in_sync_min: 2 };
        assert_eq!(next(&[0, 1, 3], &standing(0, vec![behind.clone()], 4)), Ok(3), "the first that may");
        assert!(next(&[0, 1, 2], &standing(0, vec![behind], 4)).is_err());
    }

    /// A cluster that is rolled: what happens in it by itself is drawn.
    struct World {
        nodes: Vec<Node>,
        partitions: Vec<Copies>,
        leader: i32,
        count: i32,
    }

    impl World {
        fn standing(&self) -> Standing {
            let mut standing = standing(self.leader, self.partitions.clone(), self.count);
            standing.quorum.caught_up.retain(|id| self.is_up(*id));
            standing
        }

        fn is_up(&self, id: i32) -> bool {
            self.nodes.iter().any(|node| node.id == id && node.state == State::Ready)
        }

        /// Something happens by itself: a Pod comes, or a copy of one that is up catches up.
        fn pass(&mut self, chance: &mut Chance) {
            let away: Vec<usize> =
                (0..self.nodes.len()).filter(|at| self.nodes[*at].state == State::Away).collect();
            if let Some(at) = away.first().filter(|_| chance.one_in(2)) {
                self.nodes[*at].state = State::Ready;
            }
            let drawn = chance.below(self.partitions.len() as u64);
            let Some(at) = usize::try_from(drawn).ok().filter(|at| *at < self.partitions.len()) else {
                return;
            };
            let Partition { replicas, in_sync, .. } = &self.partitions[at].partition;
            let missing = replicas.iter().copied().find(|id| self.is_up(*id) && !in_sync.contains(id));
            self.partitions[at].partition.in_sync.extend(missing);
        }

        fn restart(&mut self, id: i32) {
            for Copies { partition, in_sync_min } in &mut self.partitions {
                let needed = (*in_sync_min).min(partition.replicas.len() - 1);
                partition.in_sync.retain(|other| *other != id);
                assert!(partition.in_sync.len() >= needed, "{partition:?} without {id}");
            }
            let others = self.nodes.iter().filter(|node| node.id != id && node.state != State::Ready);
            assert_eq!(others.count(), 0, "one at a time: {:?}", self.nodes);
            self.nodes[id as usize] = node(id, State::Away, true);
            if self.leader == id {
                self.leader = (id + 1) % self.count;
            }
        }
    }

    proptest! {
        /// Goal: whatever the cluster looks like and however long its copies take, no partition falls below what it needs by
        /// our doing, no two nodes are away, each node starts again once, and all do in the end.
        #[test]
        fn every_cluster_gets_through(
            count in 3_i32..6,
            layout in prop::collection::vec((0_i32..6, 1_i32..4, 1_usize..3), 0..12),
            seed: u64,
        ) {
            let partitions: Vec<Copies> = layout.iter().map(|(first, copies, in_sync_min)| {
                let replicas: Vec<i32> = (0..*copies).map(|at| (first + at) % count).collect();
                Copies { partition: partition(replicas.clone(), replicas), in_sync_min: *in_sync_min }
            }).collect();
            let all: Vec<Node> = (0..count).map(|id| node(id, State::Ready, false)).collect();
            let mut world = World { nodes: all, partitions, leader: 1, count };
            let mut restarts = 0;
            let mut chance = Chance::new(seed, 0);
            for _ in 0..2000 {
                world.pass(&mut chance);
                if let Step::OneOf(left) = step(&world.nodes)
                    && let Ok(id) = next(&left, &world.standing())
                {
                    world.restart(id);
                    restarts += 1;
                }
            }
            prop_assert_eq!(step(&world.nodes), Step::Done);
            prop_assert_eq!(restarts, count);
        }
    }
}
