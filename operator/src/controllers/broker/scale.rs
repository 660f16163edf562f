//! Pure: how a Kafka cluster gets to another number of nodes.
//!
//! New nodes come first and get their share of the copies afterwards. A node that is to leave is emptied first, and leaves when
//! it has no copy any more. Copies move a few partitions at a time: the cluster keeps what was asked of it and goes on by itself,
//! and the next ones are asked for when these are through, so it makes no difference who asks.

use crate::kafka::Layout;
use api::broker::conditions::{REASON_IN_PLACE, REASON_LEAVING, REASON_SPREADING};
use control::placement::{self, MOVES_MAX, Move};

/// How many nodes there are, and shall be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nodes {
    /// As the StatefulSet has them.
    pub(super) present: i32,
    /// As the spec wants them.
    pub(super) wanted: i32,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    /// How many nodes the StatefulSet has from now on.
    pub(super) nodes: i32,
    /// Copies that move now.
    pub(super) moves: Vec<Move>,
    /// Of the condition: what is going on.
    pub(super) reason: &'static str,
    /// For people.
    pub(super) told: String,
}

impl Scale {
    /// Nothing is to be done.
    pub(super) fn steady(nodes: i32) -> Self {
        let told = "every copy is on the node where it should be".to_owned();
        Self { nodes, moves: Vec::new(), reason: REASON_IN_PLACE, told }
    }

    /// Whether something is to be done.
    pub(super) fn is_steady(&self) -> bool {
        self.reason == REASON_IN_PLACE
    }

    fn waits(nodes: i32, reason: &'static str, told: String) -> Self {
        Self { nodes, moves: Vec::new(), reason, told }
    }
}

/// Whether the cluster has to be asked; otherwise the answer. `is_spreading`: new nodes came and have not got their share.
pub(super) fn begin(nodes: Nodes, is_spreading: bool) -> Option<Scale> {
    let Nodes { present, wanted } = nodes;
    if wanted > present {
        let told = format!(
            "nodes {} are on their way, and get their share of the copies then",
            range(present, wanted)
        );
        return Some(Scale::waits(wanted, REASON_SPREADING, told));
    }
    (wanted == present && !is_spreading).then(|| Scale::steady(present))
}

/// Decides over what the cluster says.
pub(super) fn decide(nodes: Nodes, layout: &Layout) -> Scale {
    let Nodes { present, wanted } = nodes;
    let reason = if wanted < present { REASON_LEAVING } else { REASON_SPREADING };
    let kept = match layout.settled(wanted) {
        Ok(kept) => kept,
        Err(told) => return Scale::waits(present, reason, told),
    };
    let moves = match reason {
        REASON_LEAVING => placement::drain(&layout.partitions, &kept),
        _ => Ok(placement::spread(&layout.partitions, &kept)),
    };
    match moves {
        Err(error) => Scale::waits(
            present,
            reason,
            format!(
                "cannot empty nodes {}: {error}; set replicas of its Topic lower, or spec.replicas of the Broker back",
                range(wanted, present)
            ),
        ),
        // The nodes that were to leave do so now; new ones were there before.
        Ok(moves) if moves.is_empty() => Scale::steady(wanted),
        Ok(mut moves) => {
            let told = match reason {
                REASON_LEAVING => {
                    format!("empties nodes {}: partitions left: {}", range(wanted, present), moves.len())
                }
                _ => format!("gives new nodes their share of the copies: partitions left: {}", moves.len()),
            };
            moves.truncate(MOVES_MAX);
            Scale { nodes: present, moves, reason, told }
        }
    }
}

/// The numbers from the one to before the other.
fn range(from: i32, to: i32) -> String {
    (from..to).map(|id| id.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::placement::{Node, Partition};

    fn layout(nodes: i32, partitions: Vec<Vec<i32>>) -> Layout {
        let partition = |(index, replicas): (i32, Vec<i32>)| Partition {
            topic: "orders".into(),
            index,
            in_sync: replicas.clone(),
            replicas,
        };
        Layout {
            nodes: (0..nodes).map(|id| Node { id, rack: None }).collect(),
            partitions: (0..).zip(partitions).map(partition).collect(),
            ongoing: 0,
        }
    }

    const OUT: Nodes = Nodes { present: 4, wanted: 4 };
    const IN: Nodes = Nodes { present: 4, wanted: 3 };

    /// Goal: new nodes come at once; whoever is to leave stays until it is asked; a steady cluster is not asked.
    #[test]
    fn who_comes_is_not_asked_for_copies() {
        let comes = begin(Nodes { present: 3, wanted: 5 }, false).unwrap();
        assert_eq!((comes.nodes, comes.reason), (5, "Spreading"));
        assert!(comes.told.starts_with("nodes 3, 4 are on their way"), "{}", comes.told);
        assert_eq!(begin(OUT, false), Some(Scale::steady(4)));
        assert_eq!(begin(OUT, true), None);
        assert_eq!(begin(IN, false), None);
    }

    /// Goal: a new node gets its share, a few partitions at a time, and then nothing moves any more.
    #[test]
    fn new_nodes_get_their_share() {
        let many = vec![vec![0, 1, 2]; 100];
        let step = decide(OUT, &layout(4, many.clone()));
        assert_eq!((step.nodes, step.moves.len(), step.reason), (4, MOVES_MAX, "Spreading"));
        assert_eq!(step.told, "gives new nodes their share of the copies: partitions left: 75");
        let waits = decide(OUT, &layout(3, many.clone()));
        assert!(waits.moves.is_empty() && waits.told.contains("node 3"), "{}", waits.told);
        let busy = decide(OUT, &Layout { ongoing: 7, ..layout(4, many) });
        assert!(busy.moves.is_empty() && busy.told.ends_with(": 7"), "{}", busy.told);
        let even = vec![vec![0, 1, 2], vec![1, 2, 3], vec![2, 3, 0], vec![3, 0, 1]];
        assert_eq!(decide(OUT, &layout(4, even)), Scale::steady(4));
    }

    /// Goal: a node leaves when it is empty and not before, and not at all when others cannot take what it has.
    #[test]
    fn nodes_leave_when_they_are_empty() {
        let step = decide(IN, &layout(4, vec![vec![0, 1], vec![3, 1]]));
        assert_eq!((step.nodes, step.reason), (4, "Leaving"));
        assert_eq!(step.moves.iter().map(|to| to.index).collect::<Vec<_>>(), [1]);
        assert_eq!(step.told, "empties nodes 3: partitions left: 1");
        let going = Layout { ongoing: 1, ..layout(4, vec![vec![0, 1]]) };
        assert_eq!(decide(IN, &going).nodes, 4, "what is on its way may be on its way there");
        assert_eq!(decide(IN, &layout(4, vec![vec![0, 1], vec![2, 1]])), Scale::steady(3));
        let full = decide(IN, &layout(4, vec![vec![0, 1, 2, 3]]));
        assert!(full.nodes == 4 && full.told.contains("orders-0 has 4 copies"), "{}", full.told);
        let down = decide(IN, &layout(2, vec![vec![0, 3]]));
        assert!(
            down.nodes == 4 && down.moves.is_empty() && down.told.contains("waits for node 2"),
            "{}",
            down.told
        );
    }
}
