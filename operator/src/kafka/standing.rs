//! How the copies of a cluster's partitions and its controllers stand, and whether one node may go for a while. Pure.

use control::placement::{Node, Partition};
use std::collections::BTreeSet;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// All partitions of all topics.
    pub partitions: Vec<Copies>,
    /// The controllers.
    pub quorum: Quorum,
}

/// Where the copies of a partition are, and how many it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copies {
    /// Where they are.
    pub partition: Partition,
    /// So many must have all of it before a message is acknowledged: `min.insync.replicas`.
    pub in_sync_min: usize,
}

/// The controllers that vote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quorum {
    /// The one that leads, if one does.
    pub leader: Option<i32>,
    /// All of them.
    pub voters: BTreeSet<i32>,
    /// Those that have all of the log.
    pub caught_up: BTreeSet<i32>,
}

/// Where the copies of a cluster are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The nodes that are there.
    pub nodes: Vec<Node>,
    /// All partitions of all topics.
    pub partitions: Vec<Partition>,
    /// How many partitions have copies on their way.
    pub ongoing: usize,
}

impl Layout {
    /// The nodes with the first so many numbers, once all of them are there and no copies are on their way: only then copies are
    /// told to move.
    ///
    /// # Errors
    /// What is waited for, for people.
    pub fn settled(&self, nodes: i32) -> Result<Vec<Node>, String> {
        if self.ongoing > 0 {
            return Err(format!("waits for partitions whose copies are on their way: {}", self.ongoing));
        }
        let first: Vec<Node> = self.nodes.iter().filter(|node| node.id < nodes).cloned().collect();
        match (0..nodes).find(|id| !first.iter().any(|node| node.id == *id)) {
            Some(missing) => {
                Err(format!("waits for node {missing}, which the cluster does not know or which is down"))
            }
            None => Ok(first),
        }
    }
}

impl Standing {
    /// Whether the cluster goes on without this node; otherwise what would stop, for people.
    ///
    /// A partition with no more copies than have to be in sync takes no messages without any of its nodes, and two controllers
    /// decide nothing without one of them: that cannot be helped, but all other copies must be in sync.
    ///
    /// # Errors
    /// What would stop.
    pub fn without(&self, node: i32) -> Result<(), String> {
        self.quorum.without(node)?;
        let held = |copies: &&Copies| {
            let in_sync = &copies.partition.in_sync;
            in_sync.contains(&node) && in_sync.len() <= copies.needed()
        };
        let mut held = self.partitions.iter().filter(held);
        let Some(first) = held.next() else { return Ok(()) };
        let others = match held.count() {
            0 => String::new(),
            others => format!(" (and {others} more)"),
        };
        let Partition { topic, index, in_sync, .. } = &first.partition;
        let left = in_sync.len().saturating_sub(1);
        let behind: Vec<String> = first.behind().map(|node| node.to_string()).collect();
        Err(format!(
            "without node {node} partition {topic}-{index}{others} would have {left} in-sync copies and needs {}; \
             the copy on node {} has to catch up first",
            first.needed(),
            behind.join(" and on node ")
        ))
    }
}

impl Copies {
    /// How many in-sync copies must be left when a node goes.
    fn needed(&self) -> usize {
        self.in_sync_min.min(self.partition.replicas.len().saturating_sub(1))
    }

    fn behind(&self) -> impl Iterator<Item = i32> {
        let Partition { replicas, in_sync, .. } = &self.partition;
        replicas.iter().copied().filter(|node| !in_sync.contains(node))
    }
}

impl Quorum {
    fn without(&self, node: i32) -> Result<(), String> {
        let majority = self.voters.len() / 2 + 1;
        if self.voters.len() <= 2 || !self.voters.contains(&node) {
            return Ok(());
        }
        if self.leader.is_none() {
            return Err("no controller leads".to_owned());
        }
        let left = self.caught_up.iter().filter(|other| **other != node).count();
        if left >= majority {
            return Ok(());
        }
        Err(format!(
            "without node {node} {left} of {} controllers would have all of the cluster's metadata, and {majority} are needed",
            self.voters.len()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(replicas: &[i32], in_sync: &[i32], in_sync_min: usize) -> Copies {
        let (replicas, in_sync) = (replicas.to_vec(), in_sync.to_vec());
        Copies { partition: Partition { topic: "orders".into(), index: 7, replicas, in_sync }, in_sync_min }
    }

    fn standing(partitions: Vec<Copies>) -> Standing {
        let all = BTreeSet::from([0, 1, 2]);
        Standing { partitions, quorum: Quorum { leader: Some(0), voters: all.clone(), caught_up: all } }
    }

    /// Goal: a node stays while a partition needs its copy to take messages, and goes when it does not.
    #[test]
    fn partitions_keep_their_copies() {
        let goes = |partition: Copies, node| standing(vec![partition]).without(node).is_ok();
        assert!(goes(copies(&[0, 1, 2], &[0, 1, 2], 2), 0));
        assert!(!goes(copies(&[0, 1, 2], &[0, 1], 2), 0), "the copy on node 2 is behind");
        assert!(goes(copies(&[0, 1, 2], &[0, 1], 2), 2), "it takes nothing away");
        assert!(goes(copies(&[0, 1, 2], &[0, 1], 1), 0));
        assert!(goes(copies(&[0], &[0], 1), 0), "it cannot be helped");
        assert!(goes(copies(&[0, 1], &[0, 1], 2), 0), "it cannot be helped");
        assert!(!goes(copies(&[0, 1], &[0], 2), 0), "that can");
        assert!(goes(copies(&[0, 1, 2], &[1], 2), 0), "it is not in sync");
    }

    /// Goal: who waits is told for which partition, for which node, and for how many.
    #[test]
    fn who_waits_is_told_why() {
        let behind = copies(&[0, 1, 2], &[0, 1], 2);
        let mut other = behind.clone();
        other.partition.index = 8;
        assert_eq!(
            standing(vec![behind, other]).without(1).unwrap_err(),
            "without node 1 partition orders-7 (and 1 more) would have 1 in-sync copies and needs 2; the copy on node 2 has to catch up first"
        );
    }

    /// Goal: a majority of controllers that have everything is left, where there can be one.
    #[test]
    fn the_quorum_is_kept() {
        let quorum = |leader, voters: &[i32], caught_up: &[i32]| Quorum {
            leader,
            voters: voters.iter().copied().collect(),
            caught_up: caught_up.iter().copied().collect(),
        };
        assert!(quorum(Some(0), &[0, 1, 2], &[0, 1, 2]).without(1).is_ok());
        assert!(quorum(Some(0), &[0, 1, 2], &[0, 1]).without(1).is_err());
        assert!(quorum(Some(0), &[0, 1, 2], &[0, 1]).without(2).is_ok(), "it is not of the two");
        assert!(quorum(None, &[0, 1, 2], &[0, 1, 2]).without(1).is_err());
        assert!(quorum(Some(0), &[0, 1, 2], &[0, 1]).without(3).is_ok(), "it does not vote");
        for alone in [&[0][..], &[0, 1]] {
            assert!(quorum(Some(0), alone, alone).without(0).is_ok(), "it cannot be helped");
        }
    }
}
