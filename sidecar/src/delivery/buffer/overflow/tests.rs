//! Full buffers against a simple model: what is told adds up, in its place, and memory stays bounded.

use super::*;
use crate::delivery::buffer::Sink;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// A message of a key, with some bytes that depend on it; key 0 is none, then the subject counts.
fn message(key: u8) -> Message {
    Message {
        subject: Bytes::copy_from_slice(&[key % 2]),
        key: (key > 0).then(|| Bytes::copy_from_slice(&[key])),
        parts: vec![Bytes::from(vec![0; usize::from(key) * 10])],
        ..Message::default()
    }
}

fn batch(first: u64, keys: &[u8]) -> Arc<Batch> {
    let messages: Vec<Message> = keys.iter().map(|key| message(*key)).collect();
    let sizes = messages.iter().map(Message::size_bytes).collect();
    Arc::new(Batch::new(first, Duration::ZERO, messages, sizes))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Message(u64),
    Gap(Gap),
}

impl Told {
    fn last(self) -> u64 {
        match self {
            Self::Message(sequence) => sequence,
            Self::Gap(gap) => gap.last,
        }
    }
}

/// What a subscriber was told.
#[derive(Default)]
struct Heard {
    credit: usize,
    told: Vec<Told>,
}

impl Heard {
    fn received(&self) -> u64 {
        self.told.last().map_or(0, |told| told.last())
    }
}

impl Sink for Heard {
    fn has_room(&mut self) -> bool {
        self.credit > 0
    }
    fn message(&mut self, sequence: u64, _: &Message) -> bool {
        if self.credit == 0 {
            return false;
        }
        self.credit -= 1;
        self.told.push(Told::Message(sequence));
        true
    }
    fn gap(&mut self, gap: &Gap) -> bool {
        self.told.push(Told::Gap(*gap));
        true
    }
}

fn gap(first: u64, last: u64, messages: u64, reason: GapReason) -> Told {
    Told::Gap(Gap { first, last, messages, reason })
}

const FEW: Amount = Amount { messages: 3, bytes: 1000 };

/// Goal: under DropOldest the newest stay, and one gap in front of them counts what went.
#[test]
fn the_oldest_make_room() {
    let (mut buffer, all) = (Buffer::default(), Prefixes::default());
    buffer.push_dropping_oldest(&batch(1, &[1, 1]), &all, FEW);
    let outcome = buffer.push_dropping_oldest(&batch(3, &[1; 4]), &all, FEW);
    assert_eq!(outcome, Outcome { taken: 4, dropped_oldest: 3, ..Outcome::default() });
    let mut heard = Heard { credit: 9, ..Heard::default() };
    buffer.drain(&mut heard, false);
    let lost = gap(1, 3, 3, GapReason::DroppedOldest);
    assert_eq!(heard.told, [lost, Told::Message(4), Told::Message(5), Told::Message(6)]);
}

/// Goal: a message that is larger than the whole buffer passes alone.
#[test]
fn a_large_message_clears_the_buffer() {
    let (mut buffer, all) = (Buffer::default(), Prefixes::default());
    let limits = Amount { messages: 3, bytes: 40 };
    buffer.push_dropping_oldest(&batch(1, &[1, 1]), &all, limits);
    let outcome = buffer.push_dropping_oldest(&batch(3, &[200]), &all, limits);
    assert_eq!((outcome.taken, outcome.dropped_oldest, buffer.amount().messages), (1, 2, 1));
}

/// Goal: under KeepLatest a waiting message gives way to a later one of its key, each loss is told where it was, and
/// what is left comes in the order of the latest write.
#[test]
fn the_latest_of_each_key_stays() {
    let (mut buffer, all) = (Buffer::default(), Prefixes::default());
    let outcome = buffer.push_keeping_latest(&batch(1, &[1, 2, 1, 3, 1]), &all, FEW);
    assert_eq!(outcome, Outcome { taken: 5, replaced: 2, ..Outcome::default() });
    let mut heard = Heard { credit: 9, ..Heard::default() };
    buffer.drain(&mut heard, false);
    let replaced = |sequence| gap(sequence, sequence, 1, GapReason::Replaced);
    let rest = [Told::Message(4), Told::Message(5)];
    assert_eq!(heard.told[..4], [replaced(1), Told::Message(2), replaced(3), rest[0]]);
    assert_eq!(heard.told[4..], rest[1..]);
}

/// Goal: a buffer full of other keys drops the one that was written longest ago, and counts it as such.
#[test]
fn too_many_keys_drop_the_oldest() {
    let (mut buffer, all) = (Buffer::default(), Prefixes::default());
    let outcome = buffer.push_keeping_latest(&batch(1, &[1, 2, 3, 4, 2]), &all, FEW);
    assert_eq!(outcome, Outcome { taken: 5, replaced: 1, dropped_oldest: 1, ..Outcome::default() });
    let mut heard = Heard { credit: 9, ..Heard::default() };
    buffer.drain(&mut heard, false);
    let messages: Vec<_> = heard.told.iter().filter(|told| matches!(told, Told::Message(_))).collect();
    assert_eq!(messages, [&Told::Message(3), &Told::Message(4), &Told::Message(5)]);
}

/// Goal: without a key the subject counts, and a key is never taken for a subject.
#[test]
fn a_message_without_a_key_counts_by_its_subject() {
    let mut keyless = message(0);
    keyless.subject = Bytes::from_static(&[7]);
    let messages = vec![keyless.clone(), message(7), keyless];
    let sizes = messages.iter().map(Message::size_bytes).collect();
    let batch = Arc::new(Batch::new(1, Duration::ZERO, messages, sizes));
    let mut buffer = Buffer::default();
    let outcome = buffer.push_keeping_latest(&batch, &Prefixes::default(), FEW);
    assert_eq!((outcome.replaced, buffer.amount().messages), (1, 2));
}

/// Goal: what was sent stays, whatever comes after it.
#[test]
fn what_was_sent_is_not_replaced() {
    let (mut buffer, all) = (Buffer::default(), Prefixes::default());
    buffer.push_keeping_latest(&batch(1, &[1]), &all, FEW);
    buffer.drain(&mut Heard { credit: 1, ..Heard::default() }, true);
    assert_eq!(buffer.push_keeping_latest(&batch(2, &[1]), &all, FEW).replaced, 0);
    buffer.rewind();
    let mut heard = Heard { credit: 9, ..Heard::default() };
    buffer.drain(&mut heard, true);
    assert_eq!(heard.told, [Told::Message(1), Told::Message(2)]);
}

/// Goal: a key that changes a million times while nobody reads costs one message and one gap.
#[test]
fn places_of_gaps_are_cleared_away() {
    let (mut buffer, all) = (Buffer::default(), Prefixes::default());
    buffer.push_keeping_latest(&batch(1, &[2]), &all, FEW);
    for sequence in 2..100_000 {
        buffer.push_keeping_latest(&batch(sequence, &[1]), &all, FEW);
        assert!(buffer.waiting.len() <= 4 * SLACK, "{}", buffer.waiting.len());
    }
    let mut heard = Heard { credit: 9, ..Heard::default() };
    buffer.drain(&mut heard, false);
    let messages: u64 = heard
        .told
        .iter()
        .map(|told| match told {
            Told::Gap(gap) => gap.messages,
            Told::Message(_) => 1,
        })
        .sum();
    assert_eq!(messages, 99_999);
}

#[derive(Debug, Clone)]
enum Step {
    DropOldest(Vec<u8>),
    KeepLatest(Vec<u8>),
    /// With so much credit.
    Drain(usize),
    Confirm,
    /// The connection dies, and so many of the last things that were sent never arrived.
    Die(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => vec(0..6_u8, 1..12).prop_map(Step::DropOldest),
        6 => vec(0..6_u8, 1..12).prop_map(Step::KeepLatest),
        4 => (0..8_usize).prop_map(Step::Drain),
        1 => Just(Step::Confirm),
        1 => (0..6_usize).prop_map(Step::Die),
    ]
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    sequence: u64,
    key: u8,
    /// A later one of its key takes its place.
    known: bool,
}

/// What the buffer must do, without regard to cost.
#[derive(Default)]
struct Model {
    waiting: Vec<Waiting>,
    sent: Vec<Waiting>,
    lost: BTreeMap<u64, GapReason>,
    /// Above the limits, since what was sent waits again.
    rewound: usize,
}

fn bytes_of(key: u8) -> usize {
    message(key).size_bytes()
}

impl Model {
    fn amount(&self) -> Amount {
        let bytes = self.waiting.iter().map(|waiting| bytes_of(waiting.key)).sum();
        Amount { messages: self.waiting.len(), bytes }
    }

    fn make_room(&mut self, key: u8, limits: Amount) {
        loop {
            let amount = self.amount();
            let fits = amount.messages < limits.messages && amount.bytes + bytes_of(key) <= limits.bytes;
            if amount.messages == 0 || fits {
                return;
            }
            let dropped = self.waiting.remove(0);
            self.lost.insert(dropped.sequence, GapReason::DroppedOldest);
        }
    }

    fn push(&mut self, sequence: u64, key: u8, latest: bool, limits: Amount) {
        if !latest {
            self.waiting.iter_mut().for_each(|waiting| waiting.known = false);
        }
        // Without a key the subject counts, and it is the same for all of these.
        if let Some(place) =
            self.waiting.iter().position(|waiting| latest && waiting.known && waiting.key == key)
        {
            let replaced = self.waiting.remove(place);
            self.lost.insert(replaced.sequence, GapReason::Replaced);
        }
        self.make_room(key, limits);
        self.waiting.push(Waiting { sequence, key, known: latest });
    }

    fn die(&mut self, received: u64) {
        self.sent.retain(|sent| sent.sequence > received);
        let again = std::mem::take(&mut self.sent);
        self.rewound = self.rewound.max(again.len());
        let again = again.into_iter().map(|sent| Waiting { known: false, ..sent });
        self.waiting = again.chain(std::mem::take(&mut self.waiting)).collect();
    }
}

/// Everything from 1 to `last` was told once: as a message, or in a gap of its place with the right reason.
fn check(told: &[Told], model: &Model, last: u64) {
    let delivered: Vec<u64> = told
        .iter()
        .filter_map(|told| match told {
            Told::Message(sequence) => Some(*sequence),
            Told::Gap(_) => None,
        })
        .collect();
    let wanted: Vec<u64> = (1..=last).filter(|sequence| !model.lost.contains_key(sequence)).collect();
    assert_eq!(delivered, wanted);
    let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
    let mut from = 0;
    for (place, one) in told.iter().chain([&Told::Message(last + 1)]).enumerate() {
        match one {
            Told::Gap(gap) => {
                let before = place.checked_sub(1).map_or(0, |before| told[before].last());
                assert!(gap.first > before && gap.last - gap.first + 1 >= gap.messages, "{told:?}");
                *counted.entry(gap.reason.as_str()).or_default() += gap.messages;
            }
            Told::Message(sequence) => {
                let mut lost: BTreeMap<&str, u64> = BTreeMap::new();
                for (_, reason) in model.lost.range(from + 1..*sequence) {
                    *lost.entry(reason.as_str()).or_default() += 1;
                }
                assert_eq!(std::mem::take(&mut counted), lost, "before {sequence}: {told:?}");
                from = *sequence;
            }
        }
    }
}

proptest! {
    /// Goal: over any mix of policies, reads, confirmations and lost connections the buffer does what the model
    /// does, stays within its limits, and tells every loss once, by reason, in its place.
    #[test]
    fn the_buffer_does_what_the_model_does(steps in vec(step(), 1..80), messages in 1..8_usize, bytes in 1..300_usize) {
        let limits = Amount { messages, bytes };
        let (mut buffer, mut model, all) = (Buffer::default(), Model::default(), Prefixes::default());
        let (mut heard, mut next, mut confirmed) = (Heard::default(), 1_u64, 0);
        for step in steps {
            match step {
                Step::DropOldest(keys) | Step::KeepLatest(keys) if keys.is_empty() => {}
                Step::DropOldest(keys) => {
                    buffer.push_dropping_oldest(&batch(next, &keys), &all, limits);
                    for key in keys {
                        model.push(next, key, false, limits);
                        next += 1;
                    }
                }
                Step::KeepLatest(keys) => {
                    buffer.push_keeping_latest(&batch(next, &keys), &all, limits);
                    for key in keys {
                        model.push(next, key, true, limits);
                        next += 1;
                    }
                }
                Step::Drain(credit) => {
                    heard.credit = credit;
                    buffer.drain(&mut heard, true);
                    let count = credit.min(model.waiting.len());
                    model.sent.extend(model.waiting.drain(..count));
                }
                Step::Confirm => {
                    confirmed = heard.received();
                    buffer.confirm(confirmed);
                }
                Step::Die(lost) => {
                    for _ in 0..lost {
                        if heard.received() > confirmed {
                            heard.told.pop();
                        }
                    }
                    confirmed = heard.received();
                    buffer.confirm(confirmed);
                    buffer.rewind();
                    model.die(confirmed);
                }
            }
            let amount = buffer.amount();
            prop_assert_eq!(amount, model.amount());
            prop_assert!(amount.messages <= limits.messages.max(1) + model.rewound);
            let known = model.waiting.iter().filter(|waiting| waiting.known).count();
            let places = buffer.latest.as_ref().map_or(0, |latest| latest.places.len());
            prop_assert_eq!(places, known);
            prop_assert!(buffer.waiting.len() <= 16 * (limits.messages + model.rewound + SLACK));
        }
        heard.credit = usize::MAX;
        buffer.drain(&mut heard, true);
        prop_assert!(buffer.is_empty() && buffer.amount() == Amount::default());
        check(&heard.told, &model, next - 1);
    }
}
