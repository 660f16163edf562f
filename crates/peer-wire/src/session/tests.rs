//! Pairs of sessions in memory, on a clock of the test's own.
#![expect(clippy::arithmetic_side_effects, reason = "a test may overflow: then it fails")]

mod hostile;
mod pair;
mod versions;
mod work;

use super::*;
use crate::frame::{Gap, GapReason, GoodbyeCode, Refusal, RefusalCode, Resume, Subscribe};
use crate::message::Message;
use pair::{Pair, numbered, settings, subscribe};
use proptest::collection::vec;
use proptest::prelude::*;

/// Goal: a subscription stands, messages come in order as one event, credit and confirmation go back.
#[test]
fn messages_flow_for_credit() {
    let mut pair = Pair::established();
    assert!(pair.subscriber.subscribe(1, subscribe(3)));
    pair.exchange();
    assert!(matches!(pair.publisher.poll_event(), Some(Event::Subscribe { id: 1, .. })));
    assert!(!pair.publisher.send_message(1, 1, &numbered(1)), "not accepted yet");
    pair.publisher.accept(1, 0);
    for sequence in 1..=5 {
        assert_eq!(pair.publisher.send_message(1, sequence, &numbered(sequence)), sequence <= 3);
    }
    pair.exchange();
    assert_eq!(pair.subscriber.poll_event(), Some(Event::Subscribed { id: 1, received: 0 }));
    let Some(Event::Messages { id: 1, messages }) = pair.subscriber.poll_event() else { panic!("messages") };
    assert_eq!(messages.iter().map(|message| message.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(messages[2].message, numbered(3));
    assert_eq!(pair.subscriber.granted(1).messages, 0);

    pair.subscriber.grant(1, 2, 0);
    pair.exchange();
    assert_eq!(pair.publisher.poll_event(), Some(Event::Credit { id: 1, messages: 2, received: 3 }));
    assert!(
        pair.publisher.send_message(1, 9, &numbered(9)),
        "sequence numbers that do not match are skipped"
    );
    pair.exchange();
    let Some(Event::Messages { messages, .. }) = pair.subscriber.poll_event() else { panic!("no gap") };
    assert_eq!(messages[0].sequence, 9);
}

/// Goal: credit in bytes holds as well: a message may begin while it is above zero.
#[test]
fn bytes_are_credit_too() {
    let mut pair = Pair::established();
    assert!(pair.subscriber.subscribe(1, Subscribe { credit_bytes: 100, ..subscribe(1000) }));
    pair.exchange();
    pair.publisher.accept(1, 0);
    let sent =
        (1..100).take_while(|sequence| pair.publisher.send_message(1, *sequence, &numbered(7))).count();
    assert!((2..=4).contains(&sent), "{sent}");
    pair.exchange();
    assert_eq!(pair.subscriber.granted(1).bytes, 0);
    pair.subscriber.grant(1, 0, 1000);
    pair.exchange();
    assert!(pair.publisher.send_message(1, 100, &numbered(7)));
    pair.exchange();
}

/// Goal: gaps come in their place, an unexplained hole is told as lost, and resuming at a place that the publisher
/// cannot serve is told too.
#[test]
fn gaps_are_told_in_their_place() {
    let mut pair = Pair::established();
    let resume = Some(Resume { epoch: pair::PUBLISHER_EPOCH, received: 10 });
    assert!(pair.subscriber.subscribe(1, Subscribe { resume, ..subscribe(100) }));
    pair.exchange();
    pair.publisher.accept(1, 15);
    assert!(pair.publisher.send_message(1, 16, &numbered(16)));
    let gap = Gap { first: 18, last: 20, messages: 2, reason: GapReason::DroppedNewest };
    assert!(pair.publisher.send_gap(1, gap));
    assert!(!pair.publisher.send_gap(1, gap), "a range is told once");
    assert!(pair.publisher.send_message(1, 21, &numbered(21)));
    pair.exchange();
    assert_eq!(pair.subscriber.poll_event(), Some(Event::Subscribed { id: 1, received: 15 }));
    let lost = Gap { first: 11, last: 15, messages: 0, reason: GapReason::Lost };
    assert_eq!(pair.subscriber.poll_event(), Some(Event::Gap { id: 1, gap: lost }));
    assert!(matches!(pair.subscriber.poll_event(), Some(Event::Messages { .. })));
    assert_eq!(pair.subscriber.poll_event(), Some(Event::Gap { id: 1, gap }));
    assert!(matches!(pair.subscriber.poll_event(), Some(Event::Messages { .. })));
}

/// Goal: after an unsubscribe nothing of the subscription is heard, what was on its way is dropped, and the id is free
/// again only when the publisher has confirmed.
#[test]
fn unsubscribe_while_messages_are_on_their_way() {
    let mut pair = Pair::standing(100);
    assert!(pair.publisher.send_message(1, 1, &numbered(1)));
    pair.subscriber.unsubscribe(1);
    assert!(!pair.subscriber.subscribe(1, subscribe(1)), "the id is in use");
    pair.exchange();
    assert_eq!(pair.subscriber.poll_event(), None);
    assert_eq!(pair.publisher.poll_event(), Some(Event::Unsubscribe { id: 1 }));
    pair.exchange();
    assert!(pair.subscriber.subscribe(1, subscribe(1)));
}

/// Goal: a refusal ends a subscription, before it stood and after, and says why.
#[test]
fn refusals_carry_their_words() {
    let mut pair = Pair::standing(100);
    assert!(pair.subscriber.subscribe(2, subscribe(1)));
    pair.exchange();
    pair.publisher.refuse(1, RefusalCode::PermissionDenied, "no longer");
    pair.publisher.refuse(2, RefusalCode::NotFound, "no such channel");
    pair.exchange();
    for (id, code, text) in
        [(1, RefusalCode::PermissionDenied, "no longer"), (2, RefusalCode::NotFound, "no such channel")]
    {
        let refusal = Refusal { code, text: text.to_owned() };
        assert_eq!(pair.subscriber.poll_event(), Some(Event::Refused { id, refusal }));
    }
    assert!(!pair.publisher.send_message(1, 1, &numbered(1)));
    pair.subscriber.grant(1, 5, 5);
    pair.exchange();
}

/// Goal: idle sessions ping each other and stay; a silent peer is given up on time, and nothing wakes up in between.
#[test]
fn heartbeats() {
    let mut pair = Pair::established();
    for _ in 0..100 {
        pair.now = pair.publisher.poll_timeout().min(pair.subscriber.poll_timeout());
        pair.publisher.handle_timeout(pair.now).unwrap();
        pair.subscriber.handle_timeout(pair.now).unwrap();
        pair.exchange();
    }
    assert!(
        pair.now >= settings().heartbeat * 50,
        "no more than a wake-up per heartbeat and side: {:?}",
        pair.now
    );
    let last = pair.now;
    loop {
        pair.now = pair.subscriber.poll_timeout();
        match pair.subscriber.handle_timeout(pair.now) {
            Ok(()) => while pair.subscriber.poll_output().is_some() {},
            Err(error) => {
                assert!(matches!(error, ProtocolError::Silent(_)), "{error}");
                break;
            }
        }
    }
    assert!(pair.now - last <= settings().silence_max, "{:?}", pair.now - last);
    assert!(pair.subscriber.is_closing());
}

/// Goal: what came is confirmed after a while even when the app gives no credit, so that the publisher can forget it.
#[test]
fn receipt_is_confirmed_without_credit() {
    let mut pair = Pair::standing(100);
    assert!(pair.publisher.send_message(1, 1, &numbered(1)));
    pair.exchange();
    assert_eq!(pair.publisher.poll_event(), None);
    pair.now += settings().confirm_delay;
    assert!(pair.subscriber.poll_timeout() <= pair.now);
    pair.subscriber.handle_timeout(pair.now).unwrap();
    pair.exchange();
    assert_eq!(pair.publisher.poll_event(), Some(Event::Credit { id: 1, messages: 0, received: 1 }));
    assert_eq!(pair.publisher.credit(1).messages, 99);
}

/// Goal: after a goodbye a side sends nothing and hears nothing.
#[test]
fn goodbye_is_the_last_word() {
    let mut pair = Pair::standing(100);
    pair.publisher.goodbye(GoodbyeCode::Draining, "bye");
    assert!(!pair.publisher.send_message(1, 1, &numbered(1)));
    pair.publisher.goodbye(GoodbyeCode::Unneeded, "again");
    pair.exchange();
    let Some(Event::Goodbye(goodbye)) = pair.subscriber.poll_event() else { panic!("a goodbye") };
    assert_eq!((goodbye.code, goodbye.text.as_str()), (GoodbyeCode::Draining, "bye"));
    pair.subscriber.grant(1, 1, 1);
    pair.exchange();
    assert_eq!(pair.publisher.poll_event(), None);
}

/// Goal: large payloads are shared with the output, small ones are packed: many frames a chunk.
#[test]
fn output_is_packed_and_large_payloads_are_shared() {
    let mut pair = Pair::standing(10_000);
    for sequence in 1..=1000 {
        assert!(pair.publisher.send_message(1, sequence, &numbered(sequence)));
    }
    let chunks = std::iter::from_fn(|| pair.publisher.poll_output()).count();
    assert!(chunks <= 2, "{chunks}");
    let large = Message { parts: vec![Bytes::from(vec![1; 100_000])], ..Message::default() };
    assert!(pair.publisher.send_message(1, 1001, &large));
    let chunks: Vec<Bytes> = std::iter::from_fn(|| pair.publisher.poll_output()).collect();
    assert!(chunks.iter().any(|chunk| chunk.as_ptr() == large.parts[0].as_ptr()), "not copied");
}

proptest! {
    /// Goal: however the bytes are cut into reads, and whatever credit is given when, the subscriber sees what was sent,
    /// in order, and never more than it gave credit for.
    #[test]
    fn any_split_of_the_stream(steps in vec((0..3_u8, 1..40_usize), 1..80), cut in 1..200_usize) {
        let mut pair = Pair::standing(0);
        pair.cut = cut;
        let (mut next, mut granted, mut got) = (1_u64, 0_usize, Vec::new());
        for (step, size) in steps {
            match step {
                0 => {
                    pair.subscriber.grant(1, u32::try_from(size).unwrap(), 1000);
                    granted += size;
                }
                1 => for _ in 0..size {
                    if pair.publisher.send_message(1, next, &numbered(next)) {
                        next += 1;
                    }
                },
                _ => pair.exchange(),
            }
            while let Some(event) = pair.subscriber.poll_event() {
                if let Event::Messages { messages, .. } = event {
                    got.extend(messages.iter().map(|message| message.sequence));
                }
            }
            prop_assert!(got.len() <= granted);
            while pair.publisher.poll_event().is_some() {}
        }
        pair.exchange();
        while let Some(Event::Messages { messages, .. }) = pair.subscriber.poll_event() {
            got.extend(messages.iter().map(|message| message.sequence));
        }
        prop_assert_eq!(got, (1..next).collect::<Vec<_>>());
    }
}
