//! The judge: compares what apps were told with what they had published, and knows nothing of how it came about.

mod pubsub;
mod requests;
mod work;

use super::plan::Plan;
use super::records::{Numbering, Outcome, Records};
use super::world::World;
use crate::view::Pattern;

/// What was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Proven {
    /// Messages that came where they should.
    pub(super) delivered: u64,
    /// Messages that did not, and whoever missed them was told.
    pub(super) told: u64,
}

impl Proven {
    pub(super) const fn add(&mut self, more: Self) {
        self.delivered += more.delivered;
        self.told += more.told;
    }
}

/// Which message has which number.
struct Placed {
    /// Ids by number, from 1 on.
    ids: Vec<u64>,
    /// What may have been published after them, by a process that died: the first id, and how many.
    open: (u64, u64),
}

impl Placed {
    /// By the order of publishing, which a publisher was told; every answer must fit it.
    fn of(numbering: &Numbering) -> Result<Self, String> {
        let (mut ids, mut open) = (Vec::new(), (0, 0));
        for batch in &numbering.batches {
            let next = ids.len() as u64 + 1;
            let taken = match batch.outcome {
                Outcome::Taken(first) if first == next => batch.count,
                Outcome::Taken(first) => {
                    return Err(format!(
                        "a batch begins at {first}, and {next} is what follows the one before"
                    ));
                }
                Outcome::Part(count) => count,
                Outcome::Unknown => {
                    open = (batch.first_id, batch.count);
                    0
                }
            };
            ids.extend(batch.first_id..batch.first_id + taken);
        }
        Ok(Self { ids, open })
    }

    fn last(&self) -> u64 {
        self.ids.len() as u64
    }

    /// The id of a number, if it may have been given.
    fn id(&self, number: u64) -> Option<u64> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        let known = self.ids.get(index).copied();
        let beyond = number.checked_sub(self.last() + 1).filter(|beyond| *beyond < self.open.1);
        known.or_else(|| beyond.map(|beyond| self.open.0 + beyond))
    }
}

/// Judges the whole run. `Err` says what is wrong.
pub(super) fn judge(plan: &Plan, world: &World) -> Result<Proven, String> {
    let records = world.records();
    let mut proven = Proven::default();
    for (index, scene) in plan.scenes.iter().enumerate() {
        if scene.view.pattern == Pattern::RequestReply {
            requests::judge(&records, index, &mut proven)?;
        } else if scene.is_numbered() {
            work::judge((plan, world, &records), index, &mut proven)?;
        } else {
            for taking in records.takings.iter().filter(|taking| taking.scene == index) {
                pubsub::judge((plan, world, &records), taking, &mut proven)?;
            }
            pubsub::counted(plan, &records, index)?;
        }
    }
    Ok(proven)
}

/// Whether nothing ended that process before the run did.
fn lives(records: &Records, process: u64) -> bool {
    records.lives.get(&process).is_some_and(|life| life.ended.is_none())
}
