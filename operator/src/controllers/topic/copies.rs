//! Gives each partition of a Topic on Kafka as many copies as the spec says, a few partitions at a time.
//!
//! Nothing is kept but what the cluster says is on its way: whoever asks next goes on. Copies that somebody else moves are waited
//! for.

use super::{desired::Reached, validate::ValidTopic};
use crate::{
    context::Context,
    kafka::{KafkaError, Layout},
};
use api::{
    Topic,
    condition::{Part, find},
    topic::conditions::{COPIES_PLACED, REASON_IN_PLACE, REASON_MOVING, REASON_TOO_FEW_NODES},
};
use control::{
    placement::{self, MOVES_MAX, Move},
    topics::{Difference, REPLICAS},
};

/// What a Topic asks for.
#[derive(Clone, Copy, Debug)]
struct Asked<'a> {
    /// Its name on the broker.
    topic: &'a str,
    /// Copies of each partition.
    copies: i32,
    /// Nodes of the cluster, as its Broker wants them: a copy goes to no node that is to leave.
    nodes: i32,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    /// Copies that move now.
    moves: Vec<Move>,
    /// How it stands.
    part: Part,
}

impl Step {
    fn waits(told: String) -> Self {
        Self { moves: Vec::new(), part: Part::bad(COPIES_PLACED, REASON_MOVING, told) }
    }
}

fn placed(copies: i32) -> Part {
    Part::good(COPIES_PLACED, REASON_IN_PLACE, format!("copies of each partition: {copies}"))
}

/// What is to be said of the copies of a topic, after some of them were told to move; `None` where nobody asks for a number or we
/// only look.
pub(super) async fn bring_about(
    topic: &Topic,
    valid: &ValidTopic,
    reached: &mut Reached,
    context: &Context,
) -> Result<Option<Part>, KafkaError> {
    let (Some(copies), Some(nodes), true) = (valid.wanted.replicas, valid.nodes, valid.managed) else {
        return Ok(None);
    };
    let Some(there) = &reached.topic else { return Ok(None) };
    reached.differences.retain(|difference| difference.field != REPLICAS);
    let is_even = there.replicas == copies && there.replicas_least == copies;
    if is_even && !was_moving(topic) {
        return Ok(Some(placed(copies)));
    }
    let asked = Asked { topic: &valid.wanted.name, copies, nodes };
    if let Some(refused) = refusal(asked) {
        reached.differences.push(Difference { field: REPLICAS, problem: refused.message.clone() });
        return Ok(Some(refused));
    }
    let moves = context.brokers.moves(&valid.address);
    let _alone = moves.lock().await;
    let step = decide(asked, &context.brokers.layout(&valid.address).await?);
    if !step.moves.is_empty() {
        context.brokers.reassign(&valid.address, &step.moves).await?;
        tracing::info!(topic = asked.topic, moves = step.moves.len(), copies, "copies of a topic move");
    }
    Ok(Some(step.part))
}

/// Whether copies were on their way when it was last looked: what is added is to be seen before it is complete.
fn was_moving(topic: &Topic) -> bool {
    let conditions = topic.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    find(conditions, COPIES_PLACED).is_some_and(|placed| placed.status == "False")
}

fn refusal(asked: Asked<'_>) -> Option<Part> {
    let Asked { copies, nodes, .. } = asked;
    (copies > nodes).then(|| {
        let told = format!(
            "{copies} copies need a node each, and the Broker has {nodes}: set {REPLICAS} to {nodes} at most, or spec.replicas of the Broker to {copies}"
        );
        Part::bad(COPIES_PLACED, REASON_TOO_FEW_NODES, told)
    })
}

/// Decides over what the cluster says.
fn decide(asked: Asked<'_>, layout: &Layout) -> Step {
    let Asked { topic, copies, nodes } = asked;
    let wanted = usize::try_from(copies).unwrap_or_default();
    let own = || layout.partitions.iter().filter(|partition| partition.topic == topic);
    let left = own().filter(|own| own.replicas.len() != wanted).count();
    let behind = own().filter(|own| own.in_sync.len() < own.replicas.len()).count();
    if left == 0 && (behind == 0 || layout.ongoing == 0) {
        // A copy that is behind though nothing is on its way is on a node that is down: that is no move.
        return Step { moves: Vec::new(), part: placed(copies) };
    }
    let told = format!(
        "gives each partition {copies} copies: partitions left: {left} of {}, and {behind} that lack a copy",
        own().count()
    );
    let kept = match layout.settled(nodes) {
        Ok(kept) => kept,
        Err(waits) => return Step::waits(format!("{told}; {waits}")),
    };
    match placement::resize(&layout.partitions, |partition| partition.topic == topic, wanted, &kept) {
        Err(error) => Step::waits(format!("{told}; {error}")),
        Ok(mut moves) => {
            moves.truncate(MOVES_MAX);
            Step { moves, ..Step::waits(told) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::placement::{Node, Partition};

    fn layout(nodes: i32, partitions: &[&[i32]]) -> Layout {
        let partition = |(index, replicas): (i32, &&[i32])| Partition {
            topic: "orders".into(),
            index,
            in_sync: replicas.to_vec(),
            replicas: replicas.to_vec(),
        };
        Layout {
            nodes: (0..nodes).map(|id| Node { id, rack: None }).collect(),
            partitions: (0..).zip(partitions).map(partition).collect(),
            ongoing: 0,
        }
    }

    const fn asked(copies: i32) -> Asked<'static> {
        Asked { topic: "orders", copies, nodes: 3 }
    }

    /// Goal: only partitions of the topic with another number move, a few at a time, and none when all have it.
    #[test]
    fn a_batch_moves_at_a_time() {
        let mut many = layout(3, &vec![&[0_i32][..]; 50]);
        many.partitions.push(Partition {
            topic: "other".into(),
            index: 0,
            replicas: vec![0],
            in_sync: vec![0],
        });
        let step = decide(asked(3), &many);
        assert_eq!(step.moves.len(), MOVES_MAX);
        assert!(step.moves.iter().all(|to| to.topic == "orders" && to.replicas.len() == 3));
        assert!(step.part.message.contains("partitions left: 50 of 50"), "{}", step.part.message);
        let done = decide(asked(3), &layout(3, &[&[0, 1, 2], &[2, 1, 0]]));
        assert_eq!((done.moves.len(), done.part), (0, placed(3)));
        let fewer = decide(asked(2), &layout(3, &[&[0, 1, 2]]));
        assert_eq!(fewer.moves.iter().map(|to| to.replicas.len()).collect::<Vec<_>>(), [2]);
    }

    /// Goal: nothing moves while copies are on their way, whoever moves them, or while a node is not there; nor to a node that
    /// is to leave.
    #[test]
    fn nothing_moves_into_a_move() {
        let one = || layout(3, &[&[0]]);
        let busy = decide(asked(3), &Layout { ongoing: 4, ..one() });
        assert!(busy.moves.is_empty() && busy.part.message.ends_with("on their way: 4"), "{busy:?}");
        let down = decide(asked(2), &layout(2, &[&[0]]));
        assert!(down.moves.is_empty() && down.part.message.contains("node 2"), "{down:?}");
        let leaving = decide(asked(3), &layout(5, &[&[0]]));
        assert!(leaving.moves[0].replicas.iter().all(|node| *node < 3), "{leaving:?}");
    }

    /// Goal: copies that are added count once they are complete; a node that is down is no move without an end.
    #[test]
    fn copies_count_when_they_are_complete() {
        let mut catching_up = layout(3, &[&[0, 1, 2]]);
        catching_up.partitions[0].in_sync = vec![0];
        catching_up.ongoing = 1;
        assert_eq!(decide(asked(3), &catching_up).part.reason, REASON_MOVING);
        catching_up.ongoing = 0;
        assert_eq!(decide(asked(3), &catching_up).part, placed(3));
    }
}
