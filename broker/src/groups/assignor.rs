//! The assignors of consumer groups, as pure functions: who is to get which partitions.
//!
//! They know no epochs and no members' states; they only say what the group should come to.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

/// Partitions by topic. A topic without partitions is not in it.
pub(crate) type Assignment = BTreeMap<Uuid, BTreeSet<i32>>;

/// How often the members of a group with different subscriptions are gone through in search of a better balance.
const SWEEPS_MAX: usize = 64;

/// A member, as an assignor sees it.
#[derive(Debug)]
pub(crate) struct Subscriber<'a> {
    /// What members are ordered by: the instance id, or the member's id.
    pub(crate) order: &'a str,
    pub(crate) topics: BTreeSet<Uuid>,
    /// What it was to have before.
    pub(crate) previous: &'a Assignment,
}

/// An assignor that members may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Assignor {
    /// Equal shares of all partitions; as little moves as can be.
    Uniform,
    /// Neighbouring partitions of each topic; equal numbers of topics with equal counts go together.
    Range,
}

impl Assignor {
    /// All; the first one is taken when nobody asks for another.
    pub(crate) const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// Says what each of the members should have, in their order.
    pub(crate) fn assign(self, topics: &BTreeMap<Uuid, i32>, members: &[Subscriber<'_>]) -> Vec<Assignment> {
        match self {
            Self::Uniform => uniform(topics, members),
            Self::Range => range(topics, members),
        }
    }
}

/// The members of each topic, by index.
fn eligible(topics: &BTreeMap<Uuid, i32>, members: &[Subscriber<'_>]) -> BTreeMap<Uuid, Vec<usize>> {
    let mut eligible: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
    for (at, member) in members.iter().enumerate() {
        for topic in member.topics.iter().filter(|topic| topics.contains_key(topic)) {
            eligible.entry(*topic).or_default().push(at);
        }
    }
    eligible
}

fn range(topics: &BTreeMap<Uuid, i32>, members: &[Subscriber<'_>]) -> Vec<Assignment> {
    let mut result = vec![Assignment::new(); members.len()];
    for (topic, mut takers) in eligible(topics, members) {
        takers.sort_by_key(|at| members.get(*at).map(|member| member.order));
        let count = topics.get(&topic).copied().unwrap_or(0);
        let takers_count = i32::try_from(takers.len()).unwrap_or(i32::MAX);
        let (share, more) = (count / takers_count, count % takers_count);
        let mut next = 0;
        for (rank, at) in (0..).zip(takers) {
            let end = next + share + i32::from(rank < more);
            if let Some(assignment) = result.get_mut(at)
                && end > next
            {
                assignment.insert(topic, (next..end).collect());
            }
            next = end;
        }
    }
    result
}

fn uniform(topics: &BTreeMap<Uuid, i32>, members: &[Subscriber<'_>]) -> Vec<Assignment> {
    let mut shares = Shares::keep(topics, members);
    let eligible = eligible(topics, members);
    // Those with the fewest takers first: the others can make room later.
    let mut order: Vec<(&Uuid, &Vec<usize>)> = eligible.iter().collect();
    order.sort_by_key(|(topic, takers)| (takers.len(), **topic));
    for (topic, takers) in order {
        shares.fill(*topic, topics.get(topic).copied().unwrap_or(0), takers);
    }
    let everybody = |takers: &Vec<usize>| takers.len() == members.len();
    if eligible.values().all(everybody) {
        shares.level();
    } else {
        shares.balance(&eligible);
    }
    shares.result
}

/// Shares in the making.
struct Shares {
    result: Vec<Assignment>,
    loads: Vec<usize>,
    taken: BTreeSet<(Uuid, i32)>,
}

impl Shares {
    /// Everybody keeps what it had, where that still is and is still wanted.
    fn keep(topics: &BTreeMap<Uuid, i32>, members: &[Subscriber<'_>]) -> Self {
        let mut shares = Self {
            result: vec![Assignment::new(); members.len()],
            loads: vec![0; members.len()],
            taken: BTreeSet::new(),
        };
        for (at, member) in members.iter().enumerate() {
            for (topic, partitions) in
                member.previous.iter().filter(|(topic, _)| member.topics.contains(topic))
            {
                let count = topics.get(topic).copied().unwrap_or(0);
                for partition in partitions.range(0..count.max(0)) {
                    if !shares.taken.contains(&(*topic, *partition)) {
                        shares.give(at, *topic, *partition);
                    }
                }
            }
        }
        shares
    }

    fn load(&self, at: usize) -> usize {
        self.loads.get(at).copied().unwrap_or(0)
    }

    fn give(&mut self, at: usize, topic: Uuid, partition: i32) {
        self.taken.insert((topic, partition));
        if let (Some(assignment), Some(load)) = (self.result.get_mut(at), self.loads.get_mut(at)) {
            assignment.entry(topic).or_default().insert(partition);
            *load += 1;
        }
    }

    fn take(&mut self, at: usize, topic: Uuid, partition: i32) {
        if let (Some(assignment), Some(load)) = (self.result.get_mut(at), self.loads.get_mut(at))
            && let Some(partitions) = assignment.get_mut(&topic)
            && partitions.remove(&partition)
        {
            *load -= 1;
            if partitions.is_empty() {
                assignment.remove(&topic);
            }
        }
    }

    /// Gives what nobody has to those with the least.
    fn fill(&mut self, topic: Uuid, count: i32, takers: &[usize]) {
        let mut by_load: BTreeSet<(usize, usize)> = takers.iter().map(|at| (self.load(*at), *at)).collect();
        for partition in 0..count {
            if self.taken.contains(&(topic, partition)) {
                continue;
            }
            let Some((load, at)) = by_load.pop_first() else { return };
            self.give(at, topic, partition);
            by_load.insert((load + 1, at));
        }
    }

    /// Everybody may have everything: from the one with the most to the one with the least, until they are equal.
    fn level(&mut self) {
        let mut by_load: BTreeSet<(usize, usize)> =
            self.loads.iter().enumerate().map(|(at, load)| (*load, at)).collect();
        while let (Some((least, to)), Some((most, from))) =
            (by_load.first().copied(), by_load.last().copied())
            && most > least + 1
        {
            let given = self.result.get(from).and_then(|assignment| {
                let (topic, partitions) = assignment.last_key_value()?;
                Some((*topic, *partitions.last()?))
            });
            let Some((topic, partition)) = given else { return };
            self.take(from, topic, partition);
            self.give(to, topic, partition);
            by_load.remove(&(least, to));
            by_load.remove(&(most, from));
            by_load.insert((least + 1, to));
            by_load.insert((most - 1, from));
        }
    }

    /// Subscriptions differ: each move makes the squares of the loads less, so this ends.
    fn balance(&mut self, eligible: &BTreeMap<Uuid, Vec<usize>>) {
        for _ in 0..SWEEPS_MAX {
            let mut moved = false;
            let mut order: Vec<usize> = (0..self.loads.len()).collect();
            order.sort_by_key(|at| (std::cmp::Reverse(self.load(*at)), *at));
            for from in order {
                let had: Vec<(Uuid, i32)> = self.result.get(from).map_or_else(Vec::new, |assignment| {
                    assignment.iter().flat_map(|(topic, all)| all.iter().map(|it| (*topic, *it))).collect()
                });
                for (topic, partition) in had {
                    let takers = eligible.get(&topic).into_iter().flatten();
                    let least = takers.map(|at| (self.load(*at), *at)).min();
                    if let Some((least, to)) = least
                        && self.load(from) > least + 1
                    {
                        self.take(from, topic, partition);
                        self.give(to, topic, partition);
                        moved = true;
                    }
                }
            }
            if !moved {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
