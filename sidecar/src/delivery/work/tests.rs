//! Desks: examples, and properties over random histories with an account of every message.

mod account;
mod near;

use super::desk::*;
use super::post::{Call, Post};
use super::receiver::{Candidate, choose};
use crate::delivery::buffer::{Amount, Sink};
use bytes::Bytes;
use peer_wire::{Distance, Gap, GapReason, Message, Origin, Span};
use std::sync::Arc;
use std::time::Duration;

const NOW: Duration = Duration::from_secs(100);

/// What one receiver was sent.
#[derive(Debug, Default)]
struct Inbox {
    /// Number, sequence, attempt.
    messages: Vec<(u64, u64, u16)>,
    gaps: Vec<(GapReason, u64)>,
    /// How many more it takes.
    room: usize,
}

impl Inbox {
    fn of(room: usize) -> Self {
        Self { room, ..Self::default() }
    }

    fn sequences(&self) -> Vec<u64> {
        self.messages.iter().map(|message| message.1).collect()
    }
}

impl Sink for Inbox {
    fn has_room(&mut self) -> bool {
        self.room > 0
    }

    fn message(&mut self, _: u64, _: &Message) -> bool {
        unreachable!("a desk numbers its deliveries")
    }

    fn gap(&mut self, _: &Gap) -> bool {
        unreachable!("a desk numbers its gaps")
    }

    fn work(&mut self, number: u64, origin: Origin, _: &Message) -> bool {
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        self.messages.push((number, origin.sequence, origin.attempt));
        true
    }

    fn numbered_gap(&mut self, _: u64, gap: &Gap) -> bool {
        self.gaps.push((gap.reason, gap.messages));
        true
    }
}

const ACK: Settle = Settle::Ack { after: Duration::from_secs(30), attempts: 3 };

fn desk(settle: Settle, messages: usize, shared: bool) -> Desk {
    Desk::new(Rules { limits: Amount { messages, bytes: 1 << 20 }, settle, shared, dead_letters: false })
}

fn post(sequence: u64, key: Option<&str>) -> Arc<Post> {
    let key = key.map(|key| Bytes::copy_from_slice(key.as_bytes()));
    Arc::new(Post::new(sequence, NOW, Message { key, ..Message::default() }, None))
}

fn request(sequence: u64, idempotent: bool) -> Arc<Post> {
    let call = Call { deadline: NOW + Duration::from_secs(5), idempotent };
    Arc::new(Post::new(sequence, NOW, Message::default(), Some(call)))
}

fn take(desk: &mut Desk, id: u32) -> Inbox {
    let mut inbox = Inbox::of(usize::MAX);
    desk.take(id, &mut inbox, (true, NOW));
    inbox
}

const fn span(first: u64, last: u64) -> Span {
    Span { first, last }
}

/// Goal: what used up its attempts counts against the buffer until it is written elsewhere, and is not dropped.
#[test]
fn dead_letters_are_kept_until_they_are_written() {
    let mut desk = desk(Settle::Ack { after: Duration::from_secs(30), attempts: 1 }, 1, true);
    let rules = Rules { dead_letters: true, ..desk.rules };
    desk.set_rules(rules);
    desk.join(1, Distance::Far, (0, 0));
    desk.credit(1, 1);
    assert_eq!(desk.offer(&post(7, None), true), Offered::Taken);
    take(&mut desk, 1);
    desk.nack(1, &[span(1, 1)], (Duration::ZERO, NOW));
    let died = desk.poll_died();
    assert_eq!(died.iter().map(|dead| (dead.post.sequence, dead.attempts)).collect::<Vec<_>>(), [(7, 1)]);
    assert_eq!(desk.poll_dropped(), []);
    assert_eq!(take(&mut desk, 1).gaps, [(GapReason::AttemptsExhausted, 1)]);
    assert_eq!((desk.waiting(), desk.load().messages), (0, 1), "nobody waits for it, and it takes room");
    assert_eq!(desk.offer(&post(8, None), true), Offered::Full, "it takes up the buffer");
    desk.buried(7);
    assert_eq!(desk.offer(&post(8, None), true), Offered::Taken);
    desk.buried(7);
    assert_eq!(desk.load().messages, 1, "twice is once");
}

/// Goal: work goes to those with the larger free share of their credit, and a receiver without credit gets nothing.
#[test]
fn work_follows_the_free_share_of_credit() {
    let mut desk = desk(Settle::Receipt, 1000, true);
    desk.join(1, Distance::Far, (30, 0));
    desk.join(2, Distance::Far, (10, 0));
    desk.join(3, Distance::Far, (0, 0));
    for sequence in 1..=20 {
        assert_eq!(desk.offer(&post(sequence, None), true), Offered::Taken);
    }
    let (one, two, three) = (take(&mut desk, 1), take(&mut desk, 2), take(&mut desk, 3));
    assert_eq!((one.messages.len(), two.messages.len(), three.messages.len()), (15, 5, 0));
    assert!(one.messages.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "numbers have no holes");
}

/// Goal: what a stuck receiver has no credit for goes to the others; it holds no more than its credit.
#[test]
fn a_stuck_receiver_costs_the_others_nothing() {
    let mut desk = desk(Settle::Receipt, 10_000, true);
    desk.join(1, Distance::Far, (10, 0));
    desk.join(2, Distance::Far, (10, 0));
    let mut done = 0;
    for sequence in 1..=1000 {
        assert_eq!(desk.offer(&post(sequence, None), true), Offered::Taken);
        let went = take(&mut desk, 2).messages.len();
        desk.credit(2, went as u64);
        done += went;
    }
    done += take(&mut desk, 2).messages.len();
    assert!((990..=1000).contains(&done), "all but the credit of the one that is stuck: {done}");
}

/// Goal: keys stick to their receiver while it lives, and move together, in order, when it is gone.
#[test]
fn keys_stick_and_move() {
    let mut desk = desk(Settle::Receipt, 1000, true);
    desk.join(1, Distance::Far, (1000, 0));
    desk.join(2, Distance::Far, (1000, 0));
    let key = |sequence: u64| format!("key {}", sequence % 16);
    for sequence in 1..=64 {
        desk.offer(&post(sequence, Some(&key(sequence))), true);
    }
    let (one, two) = (take(&mut desk, 1), take(&mut desk, 2));
    assert!(one.messages.len() >= 16 && two.messages.len() >= 16, "both have keys");
    let keys =
        |inbox: &Inbox| inbox.sequences().into_iter().map(key).collect::<std::collections::BTreeSet<_>>();
    assert!(keys(&one).is_disjoint(&keys(&two)), "a key has one receiver");
    for sequence in 65..=128 {
        desk.offer(&post(sequence, Some(&key(sequence))), true);
    }
    desk.leave(2, None);
    let rest = take(&mut desk, 1);
    assert_eq!(rest.messages.len(), 64, "what waited for the other has moved");
    for name in keys(&rest) {
        let of_key: Vec<u64> =
            rest.sequences().into_iter().filter(|sequence| key(*sequence) == name).collect();
        assert!(of_key.is_sorted(), "{name}: {of_key:?}");
    }
}

/// Goal: without a receiver a blocking offer waits, and what waits for one that is gone is not lost.
#[test]
fn without_receivers() {
    let mut desk = desk(Settle::Receipt, 4, true);
    assert_eq!(desk.offer(&post(1, None), true), Offered::Nobody);
    desk.join(1, Distance::Far, (2, 0));
    for sequence in 1..=6 {
        assert_eq!(desk.offer(&post(sequence, None), true), Offered::Taken, "{sequence}");
    }
    assert_eq!(desk.offer(&post(7, None), true), Offered::Full);
    desk.leave(1, None);
    assert_eq!(desk.waiting(), 6);
    desk.join(2, Distance::Far, (10, 0));
    let mut came = take(&mut desk, 2).sequences();
    came.extend(take(&mut desk, 2).sequences());
    assert_eq!(came, [1, 2, 3, 4, 5, 6]);
}

/// Goal: what was sent to a receiver that is gone and was not confirmed is lost without acknowledgement: counted, and told
/// to another.
#[test]
fn without_acknowledgement_the_unconfirmed_is_a_counted_gap() {
    let mut desk = desk(Settle::Receipt, 100, true);
    desk.join(1, Distance::Far, (10, 0));
    for sequence in 1..=5 {
        desk.offer(&post(sequence, None), true);
    }
    assert_eq!(take(&mut desk, 1).messages.len(), 5);
    desk.confirm(1, 2);
    desk.join(2, Distance::Far, (10, 0));
    desk.leave(1, None);
    assert_eq!(desk.poll_dropped().iter().map(|dropped| dropped.1).sum::<u64>(), 3);
    assert_eq!(take(&mut desk, 2).gaps, [(GapReason::Disconnected, 3)]);
}

/// Goal: a receiver that resumes gets what had not come, under the same numbers, and nothing else again.
#[test]
fn resuming_repeats_what_had_not_come() {
    let mut desk = desk(ACK, 100, false);
    desk.join(1, Distance::Far, (10, 0));
    for sequence in 1..=5 {
        desk.offer(&post(sequence, None), true);
    }
    let mut first = Inbox::of(4);
    desk.take(1, &mut first, (true, NOW));
    desk.away(1);
    assert_eq!(desk.back(1, 2, 10), 2);
    assert_eq!(take(&mut desk, 1).messages, [(3, 3, 1), (4, 4, 1), (5, 5, 1)]);
    desk.ack(1, &[span(1, 5)]);
    assert_eq!((desk.load().messages, desk.due()), (0, None));
}

/// Goal: a nack brings a message to another receiver, an overdue ack too; after the last attempt it is dropped, counted
/// and told; an ack that comes late still counts.
#[test]
fn redelivery() {
    let mut desk = desk(ACK, 100, true);
    desk.join(1, Distance::Far, (10, 0));
    desk.join(2, Distance::Far, (10, 0));
    desk.offer(&post(7, None), true);
    let (first, other) = if take(&mut desk, 1).messages.is_empty() { (2, 1) } else { (1, 2) };
    take(&mut desk, first);
    desk.nack(first, &[span(1, 1)], (Duration::from_secs(1), NOW));
    assert!(take(&mut desk, other).messages.is_empty(), "not before the delay");
    assert_eq!(desk.due(), Some(NOW + Duration::from_secs(1)));
    desk.expire(NOW + Duration::from_secs(1));
    assert_eq!(take(&mut desk, other).messages, [(1, 7, 2)]);
    desk.expire(NOW + Duration::from_secs(60));
    assert_eq!(take(&mut desk, first).messages, [(2, 7, 3)]);
    desk.expire(NOW + Duration::from_secs(120));
    assert_eq!(desk.poll_dropped(), [(GapReason::AttemptsExhausted, 1)]);
    assert_eq!(take(&mut desk, first).gaps, [(GapReason::AttemptsExhausted, 1)]);
    assert_eq!(desk.load().messages, 0);

    desk.offer(&post(8, None), true);
    let (id, sent) = match take(&mut desk, 1) {
        inbox if inbox.messages.is_empty() => (2, take(&mut desk, 2)),
        inbox => (1, inbox),
    };
    desk.expire(NOW + Duration::from_secs(60));
    desk.ack(id, &[span(sent.messages[0].0, sent.messages[0].0)]);
    assert!(take(&mut desk, 1).messages.is_empty() && take(&mut desk, 2).messages.is_empty());
    assert_eq!(desk.waiting(), 0, "the late ack settles it");
}

/// Goal: unacknowledged messages count against the buffer, and an ack makes room.
#[test]
fn unacknowledged_messages_count_against_the_buffer() {
    let mut desk = desk(ACK, 3, false);
    desk.join(1, Distance::Far, (100, 0));
    for sequence in 1..=3 {
        assert_eq!(desk.offer(&post(sequence, None), true), Offered::Taken);
    }
    assert_eq!(take(&mut desk, 1).messages.len(), 3);
    assert_eq!(desk.offer(&post(4, None), true), Offered::Full);
    desk.ack(1, &[span(2, 2)]);
    assert_eq!(desk.offer(&post(4, None), true), Offered::Taken);
    assert_eq!(desk.offer(&post(5, None), false), Offered::Dropped);
    assert_eq!(desk.poll_dropped(), [(GapReason::DroppedNewest, 1)]);
}

/// Goal: acknowledgement can be turned off while messages are out; it cannot be turned on for receivers that do not know.
#[test]
fn rules_change_while_messages_are_out() {
    let mut desk = desk(ACK, 3, true);
    desk.join(1, Distance::Far, (100, 0));
    (1..=3).for_each(|sequence| assert_eq!(desk.offer(&post(sequence, None), true), Offered::Taken));
    assert_eq!(take(&mut desk, 1).messages.len(), 3);
    let plain = Rules { settle: Settle::Receipt, ..desk.rules };
    desk.set_rules(plain);
    assert_eq!(desk.load().messages, 0);
    desk.confirm(1, 3);
    desk.expire(NOW + Duration::from_secs(600));
    assert_eq!((desk.waiting(), desk.due()), (0, None));
    desk.set_rules(Rules { settle: ACK, ..plain });
    assert_eq!(desk.rules, plain);
}

/// Goal: a request whose responder is gone goes to another only when it may be executed twice; answers are matched once.
#[test]
fn requests_of_a_responder_that_is_gone() {
    let mut desk = desk(Settle::Reply, 100, true);
    desk.join(1, Distance::Far, (10, 0));
    desk.offer(&request(1, false), true);
    desk.offer(&request(2, true), true);
    desk.offer(&request(3, true), true);
    assert_eq!(take(&mut desk, 1).sequences(), [1, 2, 3]);
    assert_eq!(desk.reply(1, 3), Some(3));
    assert_eq!(desk.reply(1, 3), None, "a second answer");
    desk.join(2, Distance::Far, (10, 0));
    desk.leave(1, None);
    assert_eq!(desk.poll_failed(), [1]);
    assert_eq!(take(&mut desk, 2).messages, [(1, 2, 2)]);
    assert_eq!(desk.reply(2, 1), Some(2));
}

/// Goal: a request that nobody waits for any more is neither sent nor counted, and its late answer is known as late.
#[test]
fn cancelled_requests() {
    let mut desk = desk(Settle::Reply, 1, true);
    desk.join(1, Distance::Far, (1, 0));
    let (sent, waiting) = (request(1, false), request(2, false));
    assert_eq!(desk.offer(&sent, true), Offered::Taken);
    assert_eq!(take(&mut desk, 1).sequences(), [1]);
    assert_eq!(desk.offer(&waiting, true), Offered::Taken);
    assert_eq!(desk.offer(&request(3, false), true), Offered::Full);
    sent.cancel();
    waiting.cancel();
    desk.forget_cancelled();
    assert_eq!(desk.reply(1, 1), None, "late");
    assert_eq!(desk.offer(&request(3, false), true), Offered::Taken);
    desk.credit(1, 1);
    assert_eq!(take(&mut desk, 1).sequences(), [3]);
}

proptest::proptest! {
    /// Goal: the choice has credit, is not avoided where somebody else has credit, is the nearest of those, and of
    /// the equally near has the largest free share.
    #[test]
    fn the_choice_is_the_one_with_the_most_room(
        all in proptest::collection::vec(
            (-2..50_i64, 1..50_i64, 0..9_u64, proptest::bool::ANY, near::distance()), 0..8,
        ),
    ) {
        let candidates: Vec<Candidate> = (1..).zip(all)
            .map(|(id, (free, more, turn, avoided, distance))| {
                Candidate { id, distance, free, capacity: free.max(0) + more, turn, avoided }
            })
            .collect();
        let able = || candidates.iter().filter(|candidate| candidate.free > 0);
        let chosen = choose(candidates.iter().copied());
        proptest::prop_assert_eq!(chosen.is_some(), able().next().is_some());
        if let Some((id, run)) = chosen {
            let chosen = able().find(|candidate| candidate.id == id).expect("it has credit");
            proptest::prop_assert!((1..=64).contains(&run) && run <= chosen.free);
            for other in able() {
                proptest::prop_assert!(!chosen.avoided || other.avoided);
                if chosen.avoided == other.avoided {
                    proptest::prop_assert!(chosen.distance <= other.distance);
                }
                if (chosen.avoided, chosen.distance) == (other.avoided, other.distance) {
                    let (own, others) = (chosen.free * other.capacity, other.free * chosen.capacity);
                    proptest::prop_assert!(own > others || (own == others && chosen.turn <= other.turn));
                }
            }
        }
    }
}
