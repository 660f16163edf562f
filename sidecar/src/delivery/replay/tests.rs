//! The ring against a simple model: always the longest end of what was published that the limits allow.

use super::*;
use crate::messaging::Message;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

fn batch(first: u64, sizes: &[usize], accepted: u64) -> Arc<Batch> {
    let part = |size: &usize| vec![Bytes::from(vec![0; *size])];
    let messages: Vec<Message> =
        sizes.iter().map(|size| Message { parts: part(size), ..Message::default() }).collect();
    Arc::new(Batch::new(first, Duration::from_secs(accepted), messages, sizes.to_vec()))
}

const NO_LIMITS: Replay = Replay { messages: usize::MAX, bytes: usize::MAX, time: Duration::MAX };

fn numbers(ring: &Ring, received: u64) -> Vec<u64> {
    let of = |(batch, from): (&Arc<Batch>, usize)| {
        (from..batch.len()).map(|index| batch.sequence(index)).collect::<Vec<_>>()
    };
    ring.after(received).flat_map(of).collect()
}

/// Goal: each limit alone lets the oldest go, and without limits at all nothing is kept.
#[test]
fn each_limit_lets_the_oldest_go() {
    let cases = [
        (Replay { messages: 2, ..NO_LIMITS }, vec![3, 4]),
        (Replay { bytes: 2 * (10 + OVERHEAD_BYTES), ..NO_LIMITS }, vec![3, 4]),
        (Replay { time: Duration::from_secs(4), ..NO_LIMITS }, vec![4]),
        (NO_LIMITS, vec![1, 2, 3, 4]),
    ];
    for (limits, kept) in cases {
        let mut ring = Ring::default();
        ring.push(&batch(1, &[10, 10, 10], 0), Some(limits), Duration::ZERO);
        ring.push(&batch(4, &[10], 5), Some(limits), Duration::from_secs(5));
        assert_eq!(numbers(&ring, 0), kept);
        assert_eq!((ring.first(), ring.messages()), (Some(kept[0]), kept.len()));
        assert_eq!(numbers(&ring, 3), [4]);
        ring.limit(None, Duration::from_secs(5));
        assert_eq!((ring.first(), ring.messages(), ring.bytes()), (None, 0, 0));
    }
}

/// Goal: time passes without a publish too.
#[test]
fn what_is_too_old_goes_by_itself() {
    let mut ring = Ring::default();
    let limits = Some(Replay { time: Duration::from_secs(4), ..NO_LIMITS });
    ring.push(&batch(1, &[10], 0), limits, Duration::ZERO);
    ring.limit(limits, Duration::from_secs(4));
    assert_eq!(ring.messages(), 1);
    ring.limit(limits, Duration::from_secs(5));
    assert_eq!((ring.first(), ring.messages(), ring.bytes()), (None, 0, 0));
}

proptest! {
    /// Goal: whatever is published and however the limits change, what is kept is the longest end that they allow.
    #[test]
    fn the_longest_end_is_kept(
        steps in vec((vec(0..200_usize, 1..8), 0..20_usize, 0..4000_usize, 0..10_u64), 1..40),
        received in 0..200_u64,
    ) {
        let (mut ring, mut all, mut now) = (Ring::default(), Vec::<(u64, usize, u64)>::new(), 0);
        for (sizes, messages, bytes, seconds) in steps {
            now += seconds / 2;
            let limits = Replay { messages, bytes, time: Duration::from_secs(seconds) };
            ring.push(&batch(all.len() as u64 + 1, &sizes, now), Some(limits), Duration::from_secs(now));
            // What a former limit let go is gone.
            let first = ring.first();
            let next = all.len() as u64 + 1;
            all.extend((next..).zip(&sizes).map(|(number, size)| (number, *size, now)));
            let kept: Vec<_> = all.iter().filter(|one| first.is_some_and(|first| one.0 >= first)).collect();
            let cost: usize = kept.iter().map(|one| one.1 + OVERHEAD_BYTES).sum();
            prop_assert_eq!((ring.messages(), ring.bytes()), (kept.len(), cost));
            prop_assert!(kept.len() <= messages && cost <= bytes);
            prop_assert!(kept.iter().all(|one| now - one.2 <= seconds));
            let expected: Vec<u64> = kept.iter().map(|one| one.0).filter(|number| *number > received).collect();
            prop_assert_eq!(numbers(&ring, received), expected);
        }
    }

    /// Goal: nothing is let go that the limits allow, while they stay the same.
    #[test]
    fn nothing_goes_too_early(batches in vec(vec(0..200_usize, 1..8), 1..40), messages in 1..60_usize, bytes in 0..9000_usize) {
        let limits = Replay { messages, bytes, time: Duration::MAX };
        let (mut ring, mut all) = (Ring::default(), Vec::new());
        for sizes in batches {
            ring.push(&batch(all.len() as u64 + 1, &sizes, 0), Some(limits), Duration::ZERO);
            all.extend(sizes);
        }
        let mut left = bytes;
        let fits = all.iter().rev().take(messages).take_while(|size| {
            let fits = left >= **size + OVERHEAD_BYTES;
            left = left.saturating_sub(**size + OVERHEAD_BYTES);
            fits
        });
        prop_assert_eq!(ring.messages(), fits.count());
    }
}
