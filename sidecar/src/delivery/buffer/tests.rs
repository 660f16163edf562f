//! The buffer against a simple model: nothing is lost, doubled or reordered, and gaps count exactly.

use super::*;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

fn batch(first: u64, count: usize) -> Arc<Batch> {
    let messages: Vec<Message> = (0..count)
        .map(|index| {
            let letter = if (first + index as u64).is_multiple_of(3) { b'a' } else { b'b' };
            Message {
                subject: Bytes::copy_from_slice(&[letter]),
                parts: vec![Bytes::new()],
                ..Message::default()
            }
        })
        .collect();
    let sizes = messages.iter().map(Message::size_bytes).collect();
    Arc::new(Batch::new(first, Duration::ZERO, messages, sizes))
}

#[derive(Default)]
struct Got {
    credit: usize,
    messages: Vec<u64>,
    gaps: Vec<Gap>,
}

impl Sink for Got {
    fn has_room(&mut self) -> bool {
        self.credit > 0
    }
    fn message(&mut self, sequence: u64, _: &Message) -> bool {
        if self.credit == 0 {
            return false;
        }
        self.credit -= 1;
        self.messages.push(sequence);
        true
    }
    fn gap(&mut self, gap: &Gap) -> bool {
        self.gaps.push(*gap);
        true
    }
}

const SMALL: Amount = Amount { messages: 10, bytes: 1000 };

/// Goal: a full buffer drops the newest, and delivered plus gap is what was published.
#[test]
fn drops_become_one_exact_gap() {
    let mut buffer = Buffer::default();
    let all = Prefixes::default();
    let mut push = |batch| {
        let outcome = buffer.push_or_drop(&batch, &all, SMALL, GapReason::DroppedNewest);
        (outcome.taken, outcome.refused)
    };
    assert_eq!((push(batch(1, 8)), push(batch(9, 8)), push(batch(17, 4))), ((8, 0), (2, 6), (0, 4)));
    let mut got = Got { credit: 100, ..Got::default() };
    assert_eq!(buffer.drain(&mut got, false).messages, 10);
    assert_eq!(got.messages, (1..=10).collect::<Vec<_>>());
    assert_eq!(got.gaps, [Gap { first: 11, last: 20, messages: 10, reason: GapReason::DroppedNewest }]);
    assert!(buffer.is_empty() && buffer.amount() == Amount::default());
}

/// Goal: what matched and was dropped is counted; what did not match is not.
#[test]
fn gaps_under_a_filter_count_matches_only() {
    let mut buffer = Buffer::default();
    let filter = Prefixes::new(vec![Bytes::from_static(b"a")]);
    let limits = Amount { messages: 2, bytes: 1000 };
    let outcome = buffer.push_or_drop(&batch(1, 30), &filter, limits, GapReason::DroppedNewest);
    assert_eq!((outcome.taken, outcome.refused), (2, 8));
    let mut got = Got { credit: 100, ..Got::default() };
    buffer.drain(&mut got, false);
    assert_eq!(got.messages, [3, 6]);
    assert_eq!(got.gaps, [Gap { first: 9, last: 30, messages: 8, reason: GapReason::DroppedNewest }]);
}

/// Goal: an empty buffer takes a message that is larger than the limit; a buffer with content does not.
#[test]
fn a_large_message_passes_alone() {
    let buffer = Buffer::default();
    let limits = Amount { messages: 1, bytes: 1 };
    assert!(buffer.fits(Amount { messages: 1, bytes: 100 }, limits));
    let mut buffer = Buffer::default();
    buffer.push(&batch(1, 1), &Prefixes::default());
    assert!(!buffer.fits(Amount { messages: 1, bytes: 0 }, limits));
}

proptest! {
    /// Goal: over any mix of sends, confirmations and lost connections, the subscriber that resumes at what it
    /// has got sees every sequence number once and in order.
    #[test]
    fn resuming_loses_and_doubles_nothing(steps in vec((0..4_u8, 0..12_usize), 1..60)) {
        let mut buffer = Buffer::default();
        let (mut next, mut received) = (1_u64, Vec::<u64>::new());
        for (step, size) in steps {
            match step {
                0 => {
                    if size > 0 {
                        buffer.push(&batch(next, size), &Prefixes::default());
                        next += size as u64;
                    }
                }
                1 => {
                    let mut got = Got { credit: size, ..Got::default() };
                    buffer.drain(&mut got, true);
                    received.extend(&got.messages);
                }
                2 => buffer.confirm(received.last().copied().unwrap_or(0)),
                // The connection dies; the last `size` of what was sent never arrived.
                _ => {
                    let confirmed = buffer.in_flight.front().map(|item| match item {
                        Item::Run(run) => run.batch.sequence(run.from),
                        Item::Gap(gap) => gap.first,
                    });
                    for _ in 0..size {
                        if received.last().is_some_and(|last| confirmed.is_some_and(|first| *last >= first)) {
                            received.pop();
                        }
                    }
                    buffer.confirm(received.last().copied().unwrap_or(0));
                    buffer.rewind();
                }
            }
        }
        let mut got = Got { credit: usize::MAX, ..Got::default() };
        buffer.drain(&mut got, true);
        received.extend(&got.messages);
        prop_assert_eq!(received, (1..next).collect::<Vec<_>>());
        prop_assert_eq!(buffer.amount(), Amount::default());
    }
}
