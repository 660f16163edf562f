//! Acks in any order commit only what is contiguous; nacks come again; credit bounds all.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use runtime::clock;

use super::*;

fn position(partition: i32, offset: i64) -> Position {
    Position { partition, offset, publisher: "".into(), epoch: 0 }
}

fn message() -> Message {
    Message { parts: vec![Bytes::from_static(b"x")], ..Message::default() }
}

proptest! {
    /// Goal: whatever the order of acks, what may be committed never passes an unacknowledged
    /// offset and reaches the end once all are acknowledged. Offsets may have holes.
    #[test]
    fn commits_the_contiguous_prefix(order in Just((0_usize..20).collect::<Vec<_>>()).prop_shuffle(), hole in 1_i64..5) {
        let mut progress = Progress::new(DoneBy::Ack, 20);
        let ids: Vec<(u64, i64)> = (0..20).map(|index| {
            let offset = index * hole;
            (progress.deliver(position(3, offset), message()).id, offset)
        }).collect();
        let mut open: BTreeSet<i64> = ids.iter().map(|(_, offset)| *offset).collect();
        let mut committed = -1;
        for index in order {
            let (id, offset) = ids[index];
            open.remove(&offset);
            if let Some(done) = progress.ack(id) {
                prop_assert_eq!(done.partition, 3);
                prop_assert!(done.last_offset > committed);
                committed = done.last_offset;
            }
            prop_assert!(open.first().is_none_or(|first| committed < *first));
        }
        prop_assert_eq!(committed, 19 * hole);
        prop_assert_eq!(progress.open_bytes, 0);
    }
}

/// Goal: a refused message comes again when due, with a new id and the next attempt, holds back
/// the commit until it is acknowledged, and needs credit like any other.
#[test]
fn refused_messages_come_again() {
    let now = clock::now();
    let mut progress = Progress::new(DoneBy::Ack, 3);
    let first = progress.deliver(position(0, 5), message());
    let second = progress.deliver(position(0, 6), message());
    progress.nack(first.id, now + Duration::from_secs(1));
    assert_eq!(progress.ack(second.id), None);
    assert_eq!(progress.redeliver(now), None);
    assert_eq!(progress.next_due(), Some(now + Duration::from_secs(1)));
    let again = progress.redeliver(now + Duration::from_secs(1)).unwrap();
    assert_eq!((again.attempt, again.id, again.position.offset), (2, 3, 5));
    assert!(!progress.has_room());
    assert_eq!(progress.ack(first.id), None, "the first try's id is no longer open");
    progress.nack(again.id, now);
    assert_eq!(progress.redeliver(now), None, "no credit");
    progress.grant(1);
    let third = progress.redeliver(now).unwrap();
    assert_eq!(third.attempt, 3);
    assert_eq!(progress.ack(third.id), Some(Done { partition: 0, last_offset: 6 }));
}

/// Goal: acks and redeliveries of a partition that moved away do nothing.
#[test]
fn revoked_partitions_are_forgotten() {
    let now = clock::now();
    let mut progress = Progress::new(DoneBy::Ack, 10);
    let gone = progress.deliver(position(0, 1), message());
    let stays = progress.deliver(position(1, 1), message());
    progress.nack(gone.id, now);
    progress.revoke(&[0]);
    assert_eq!(progress.redeliver(now), None);
    assert_eq!(progress.ack(gone.id), None);
    assert_eq!(progress.ack(stays.id), Some(Done { partition: 1, last_offset: 1 }));
}

/// Goal: without acknowledgement nothing is kept.
#[test]
fn keeps_nothing_without_acknowledgement() {
    let mut progress = Progress::new(DoneBy::Nothing, 2);
    progress.deliver(position(0, 1), message());
    assert!(progress.open.is_empty() && progress.partitions.is_empty());
    progress.grant(u32::MAX);
    assert_eq!(progress.credit, super::super::CREDIT_MAX);
}

/// Goal: without acks, what the app took is done, per partition, and not more.
#[test]
fn hand_over_is_done() {
    let mut progress = Progress::new(DoneBy::HandOver, 10);
    let first = progress.deliver(position(0, 1), message());
    progress.deliver(position(1, 7), message());
    let third = progress.deliver(position(0, 2), message());
    progress.deliver(position(0, 3), message());
    progress.nack(first.id, clock::now());
    assert_eq!(progress.next_due(), None, "what cannot be refused is not kept");
    let mut done = progress.handed_over(third.id);
    done.sort_by_key(|done| done.partition);
    assert_eq!(done, [Done { partition: 0, last_offset: 2 }, Done { partition: 1, last_offset: 7 }]);
    assert_eq!(progress.handed_over(third.id), []);
}
