//! Nearer receivers go first while they have credit: examples, and a property over random histories.

use super::*;
use crate::delivery::work::desk::fits;
use proptest::prelude::*;

pub(super) fn distance() -> impl Strategy<Value = Distance> {
    prop_oneof![Just(Distance::SameNode), Just(Distance::SameZone), Just(Distance::Far)]
}

fn offer(desk: &mut Desk, sequences: std::ops::RangeInclusive<u64>) {
    for sequence in sequences {
        assert_eq!(desk.offer(&post(sequence, None), true), Offered::Taken);
    }
}

fn waiting(desk: &Desk, id: u32) -> usize {
    desk.receivers.get(&id).map_or(0, |receiver| receiver.waiting)
}

/// Goal: one on the same node is served as far as its credit goes, then one of the zone, then the others; and as soon as a
/// nearer one has credit again it is next, in the middle of the run of another.
#[test]
fn the_nearest_with_credit_goes_first() {
    let mut desk = desk(Settle::Receipt, 10_000, true);
    desk.join(1, Distance::Far, (1000, 0));
    desk.join(2, Distance::SameZone, (20, 0));
    desk.join(3, Distance::SameNode, (10, 0));
    offer(&mut desk, 1..=40);
    assert_eq!((waiting(&desk, 3), waiting(&desk, 2), waiting(&desk, 1)), (10, 20, 10));
    assert_eq!(take(&mut desk, 3).sequences(), (1..=10).collect::<Vec<_>>());
    desk.credit(3, 2);
    offer(&mut desk, 41..=43);
    assert_eq!(take(&mut desk, 3).sequences(), [41, 42]);
    assert_eq!(waiting(&desk, 1), 11);
}

/// Goal: a near receiver that reads nothing holds up its credit and no more: the far one gets all the rest.
#[test]
fn a_near_one_that_is_stuck_holds_no_more_than_its_credit() {
    let mut desk = desk(Settle::Receipt, 10_000, true);
    desk.join(1, Distance::SameNode, (10, 0));
    desk.join(2, Distance::Far, (10, 0));
    let mut done = 0;
    for sequence in 1..=1000 {
        offer(&mut desk, sequence..=sequence);
        let went = take(&mut desk, 2).messages.len();
        desk.credit(2, went as u64);
        done += went;
    }
    done += take(&mut desk, 2).messages.len();
    assert_eq!(done, 990);
}

/// Goal: a key stays where it is when a nearer receiver comes.
#[test]
fn keys_stay_when_somebody_nearer_comes() {
    let mut desk = desk(Settle::Receipt, 1000, true);
    desk.join(1, Distance::Far, (100, 0));
    desk.offer(&post(1, Some("a")), true);
    desk.join(2, Distance::SameNode, (100, 0));
    for sequence in 2..=9 {
        assert_eq!(desk.offer(&post(sequence, Some("a")), true), Offered::Taken);
    }
    assert_eq!(take(&mut desk, 1).sequences(), (1..=9).collect::<Vec<_>>());
    assert!(take(&mut desk, 2).messages.is_empty());
}

/// The nearest of those that could take a message now.
fn nearest(desk: &Desk) -> Option<Distance> {
    let one = Amount { messages: 1, bytes: 0 };
    let able = desk.receivers.values().filter(|receiver| {
        receiver.present && receiver.free > 0 && fits(receiver.load, one, desk.rules.limits)
    });
    able.map(|receiver| receiver.distance).min()
}

/// One step: what, who, how many.
fn act(desk: &mut Desk, acknowledged: bool, (step, id, count): (u8, u32, u64)) {
    let Some(receiver) = desk.receivers.get(&id) else { return };
    let (present, number) = (receiver.present, receiver.number);
    match step {
        0 => desk.credit(id, count),
        1 if present => {
            desk.take(id, &mut Inbox::of(usize::try_from(count).unwrap_or(0)), (true, NOW));
        }
        2 if present => desk.confirm(id, number),
        3 if acknowledged && number > 0 => desk.ack(id, &[span(1, number.min(count))]),
        4 if acknowledged && number > 0 => {
            desk.nack(id, &[span(1, number.min(count))], (Duration::ZERO, NOW))
        }
        5 if present => desk.away(id),
        6 if !present => {
            desk.back(id, number, count);
        }
        _ => {}
    }
}

proptest! {
    /// Goal: in whatever history, a message without a key that is handed out goes to a receiver than which none that could
    /// have taken it is nearer, and nothing waits for anybody while somebody could take it.
    #[test]
    fn none_is_passed_over_for_one_farther_away(
        steps in proptest::collection::vec((0..12_u8, 1..5_u32, 1..70_u64), 1..150),
        distances in proptest::array::uniform4(distance()), acknowledged in any::<bool>(), limit in 5..40_usize,
    ) {
        let mut desk = desk(if acknowledged { ACK } else { Settle::Receipt }, limit, true);
        (1..).zip(distances).for_each(|(id, distance)| desk.join(id, distance, (8, 0)));
        let mut sequence = 0;
        for (step, id, count) in steps {
            if step < 7 {
                act(&mut desk, acknowledged, (step, id, count));
            } else {
                for _ in 0..count {
                    sequence += 1;
                    let (best, before) = (nearest(&desk), [1, 2, 3, 4].map(|id| waiting(&desk, id)));
                    let taken = desk.offer(&post(sequence, None), true);
                    let Some(best) = best.filter(|_| taken == Offered::Taken) else { continue };
                    let after = [1, 2, 3, 4].map(|id| waiting(&desk, id));
                    let got = (0..4).find(|place| after[*place] > before[*place]);
                    prop_assert_eq!(got.map(|place| distances[place]), Some(best), "{:?}", desk);
                }
            }
            prop_assert!(desk.pool.is_empty() || nearest(&desk).is_none(), "{:?}", desk);
        }
    }
}
