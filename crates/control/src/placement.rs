//! Where copies of partitions go when nodes of a cluster come or leave, or a topic wants another number of copies.
//!
//! The same question has the same answer, and a copy that can stay stays: moving one costs all of its bytes. A copy goes to a
//! rack that has none of its partition, where racks are known, and then to the node that has the fewest. Whoever executes the
//! moves may do a part of them and ask again.

use std::collections::{BTreeMap, BTreeSet};

/// Partitions whose copies should move at a time: each costs bandwidth that clients would have.
pub const MOVES_MAX: usize = 20;

/// A node that copies may be on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: i32,
    /// Its failure domain, if it has one.
    pub rack: Option<String>,
}

/// Where a partition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The topic's name.
    pub topic: String,
    /// Its number.
    pub index: i32,
    /// The nodes that have a copy, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those whose copy is complete.
    pub in_sync: Vec<i32>,
}

/// Where a partition shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub index: i32,
    /// The nodes that shall have a copy, the preferred leader first.
    pub replicas: Vec<i32>,
}

/// A partition wants more copies than there are nodes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{topic}-{index} has {copies} copies, and {nodes} nodes can have one each")]
pub struct TooFewNodes {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub index: i32,
    /// How many copies it has or wants.
    pub copies: usize,
    /// How many nodes there are.
    pub nodes: usize,
}

/// How much each node has.
struct Loads<'a> {
    nodes: BTreeMap<i32, Load<'a>>,
}

#[derive(Default)]
struct Load<'a> {
    rack: Option<&'a str>,
    copies: usize,
    leads: usize,
}

impl<'a> Loads<'a> {
    fn new(nodes: &'a [Node], partitions: &[Partition]) -> Self {
        let load = |node: &'a Node| Load { rack: node.rack.as_deref(), ..Load::default() };
        let mut loads = Self { nodes: nodes.iter().map(|node| (node.id, load(node))).collect() };
        partitions.iter().for_each(|partition| loads.count(&partition.replicas));
        loads
    }

    fn count(&mut self, replicas: &[i32]) {
        for (at, node) in replicas.iter().enumerate() {
            if let Some(load) = self.nodes.get_mut(node) {
                load.copies += 1;
                load.leads += usize::from(at == 0);
            }
        }
    }

    fn uncount(&mut self, replicas: &[i32]) {
        for (at, node) in replicas.iter().enumerate() {
            if let Some(load) = self.nodes.get_mut(node) {
                load.copies = load.copies.saturating_sub(1);
                load.leads = load.leads.saturating_sub(usize::from(at == 0));
            }
        }
    }

    fn rack(&self, node: i32) -> Option<&'a str> {
        self.nodes.get(&node)?.rack
    }

    fn copies(&self, node: i32) -> usize {
        self.nodes.get(&node).map_or(0, |load| load.copies)
    }

    fn leads(&self, node: i32) -> usize {
        self.nodes.get(&node).map_or(0, |load| load.leads)
    }

    /// The best node for one more copy of a partition that has these; `leads` when it would be the preferred leader.
    fn best(&self, others: &[i32], leads: bool) -> Option<i32> {
        let racks: BTreeSet<&str> = others.iter().filter_map(|node| self.rack(*node)).collect();
        let free = self.nodes.iter().filter(|(id, _)| !others.contains(id));
        let cost = |(id, load): &(&i32, &Load<'_>)| {
            let shares_rack = load.rack.is_some_and(|rack| racks.contains(rack));
            (shares_rack, load.copies, if leads { load.leads } else { 0 }, **id)
        };
        free.min_by_key(cost).map(|(id, _)| *id)
    }

    fn racks(&self, replicas: &[i32]) -> usize {
        replicas.iter().filter_map(|node| self.rack(*node)).collect::<BTreeSet<_>>().len()
    }
}

fn too_few(partition: &Partition, copies: usize, nodes: &[Node]) -> TooFewNodes {
    TooFewNodes { topic: partition.topic.clone(), index: partition.index, copies, nodes: nodes.len() }
}

fn move_of(partition: &Partition, replicas: Vec<i32>) -> Move {
    Move { topic: partition.topic.clone(), index: partition.index, replicas }
}

/// Takes all copies off the nodes that are not among `nodes`: each goes to another node and keeps its place in the order.
///
/// # Errors
/// When a partition has more copies than there are nodes; nothing is moved then.
pub fn drain(partitions: &[Partition], nodes: &[Node]) -> Result<Vec<Move>, TooFewNodes> {
    let mut loads = Loads::new(nodes, partitions);
    let stays = |node: &i32| nodes.iter().any(|kept| kept.id == *node);
    let mut moves = Vec::new();
    for partition in partitions.iter().filter(|partition| !partition.replicas.iter().all(stays)) {
        let mut replicas = partition.replicas.clone();
        loads.uncount(&partition.replicas);
        for at in 0..replicas.len() {
            if replicas.get(at).is_some_and(stays) {
                continue;
            }
            let best = loads.best(&replicas, at == 0);
            let best = best.ok_or_else(|| too_few(partition, partition.replicas.len(), nodes))?;
            if let Some(place) = replicas.get_mut(at) {
                *place = best;
            }
        }
        loads.count(&replicas);
        moves.push(move_of(partition, replicas));
    }
    Ok(moves)
}

/// Moves as few copies as make all nodes have as many, within one, as far as racks allow. Copies on nodes that are not among
/// `nodes` stay where they are: see [`drain`].
#[must_use]
pub fn spread(partitions: &[Partition], nodes: &[Node]) -> Vec<Move> {
    let mut loads = Loads::new(nodes, partitions);
    let mut now: Vec<Vec<i32>> = partitions.iter().map(|partition| partition.replicas.clone()).collect();
    let mut touched = BTreeSet::new();
    while let Some((at, replicas)) = step(&now, &loads) {
        let Some(place) = now.get_mut(at) else { break };
        loads.uncount(place);
        loads.count(&replicas);
        *place = replicas;
        touched.insert(at);
    }
    let moved = |at: usize| {
        let (partition, replicas) = (partitions.get(at)?, now.get(at)?);
        (partition.replicas != *replicas).then(|| move_of(partition, replicas.clone()))
    };
    touched.into_iter().filter_map(moved).collect()
}

/// One copy from a node that has many to one that has at least two fewer: the partition, and where it then is.
fn step(partitions: &[Vec<i32>], loads: &Loads<'_>) -> Option<(usize, Vec<i32>)> {
    let mut ids: Vec<i32> = loads.nodes.keys().copied().collect();
    ids.sort_by_key(|id| (loads.copies(*id), *id));
    for from in ids.iter().rev() {
        for to in ids.iter().take_while(|to| loads.copies(**to) + 1 < loads.copies(*from)) {
            let wants_leader = loads.leads(*from) > loads.leads(*to);
            let candidates = || {
                let place = |replicas: &Vec<i32>| {
                    let place = replicas.iter().position(|node| node == from)?;
                    (!replicas.contains(to)).then_some(place)
                };
                let places = partitions.iter().enumerate();
                places.filter_map(move |(at, replicas)| Some((at, place(replicas)?)))
            };
            let as_wanted = candidates().filter(|(_, place)| (*place == 0) == wants_leader);
            let moved = as_wanted.chain(candidates()).find_map(|(at, place)| {
                let replicas = partitions.get(at)?;
                let mut moved = replicas.clone();
                *moved.get_mut(place)? = *to;
                (loads.racks(&moved) >= loads.racks(replicas)).then_some((at, moved))
            });
            if moved.is_some() {
                return moved;
            }
        }
    }
    None
}

/// Gives the partitions at `chosen` so many copies each; the others of `partitions` count as load alone. Copies that are there
/// and complete stay as far as they are wanted, the preferred leader too.
///
/// # Errors
/// When there are fewer nodes than copies; nothing is moved then.
pub fn resize(
    partitions: &[Partition],
    chosen: impl Fn(&Partition) -> bool,
    copies: usize,
    nodes: &[Node],
) -> Result<Vec<Move>, TooFewNodes> {
    let mut loads = Loads::new(nodes, partitions);
    let mut moves = Vec::new();
    for partition in partitions.iter().filter(|partition| chosen(partition)) {
        let mut replicas = partition.replicas.clone();
        loads.uncount(&replicas);
        while replicas.len() < copies {
            let best = loads.best(&replicas, replicas.is_empty());
            replicas.push(best.ok_or_else(|| too_few(partition, copies, nodes))?);
        }
        while replicas.len() > copies.max(1) {
            let Some(at) = surplus(&replicas, &partition.in_sync, &loads) else { break };
            replicas.remove(at);
        }
        loads.count(&replicas);
        if replicas != partition.replicas {
            moves.push(move_of(partition, replicas));
        }
    }
    Ok(moves)
}

/// The copy that is missed least: one that is not complete, then one whose rack has another, then one on the node that has
/// most; of equals the last.
fn surplus(replicas: &[i32], in_sync: &[i32], loads: &Loads<'_>) -> Option<usize> {
    let cost = |(at, node): &(usize, &i32)| {
        let mut others = replicas.to_vec();
        others.remove(*at);
        let loses_rack = loads.racks(&others) < loads.racks(replicas);
        (in_sync.contains(node), *at == 0, loses_rack, usize::MAX - loads.copies(**node), replicas.len() - at)
    };
    replicas.iter().enumerate().min_by_key(cost).map(|(at, _)| at)
}

#[cfg(test)]
mod tests;
