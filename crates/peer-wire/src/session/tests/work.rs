//! Numbered subscriptions: attempts, acks, nacks, replies.

use super::pair::{Pair, numbered};
use super::*;
use crate::frame::{Failure, FailureCode, Gap, GapReason, ReplyBody, Span, header};
use crate::message::Origin;

const fn span(first: u64, last: u64) -> Span {
    Span { first, last }
}

const fn attempt(sequence: u64, attempt: u16) -> Origin {
    Origin { sequence, attempt, timeout_ms: None }
}

/// Goal: the same message may come again under another number, and acks, nacks and gaps speak of those numbers.
#[test]
fn deliveries_have_numbers_of_their_own() {
    let mut pair = Pair::standing(10);
    assert!(pair.publisher.send_work(1, 1, attempt(70, 1), &numbered(70)));
    assert!(pair.publisher.send_work(1, 2, attempt(90, 1), &numbered(90)));
    assert!(pair.publisher.send_work(1, 3, attempt(70, 2), &numbered(70)));
    assert!(!pair.publisher.send_work(1, 3, attempt(71, 1), &numbered(71)), "a number is used once");
    let gap = Gap { first: 5, last: 6, messages: 2, reason: GapReason::Disconnected };
    assert!(pair.publisher.send_numbered_gap(1, 4, gap));
    assert!(!pair.publisher.send_numbered_gap(1, 4, gap));
    pair.exchange();
    let Some(Event::Messages { messages, .. }) = pair.subscriber.poll_event() else { panic!("messages") };
    let seen: Vec<_> =
        messages.iter().map(|message| (message.sequence, message.origin.unwrap().attempt)).collect();
    assert_eq!(seen, [(1, 1), (2, 1), (3, 2)]);
    assert_eq!(pair.subscriber.poll_event(), Some(Event::NumberedGap { id: 1, number: 4, gap }));
    pair.subscriber.ack(1, &[span(1, 1), span(3, 3)]);
    pair.subscriber.nack(1, 500, &[span(2, 2)]);
    pair.exchange();
    let spans = vec![span(1, 1), span(3, 3)];
    assert_eq!(pair.publisher.poll_event(), Some(Event::Ack { id: 1, spans }));
    assert_eq!(
        pair.publisher.poll_event(),
        Some(Event::Nack { id: 1, delay_ms: 500, spans: vec![span(2, 2)] })
    );
}

/// Goal: a request carries its time, and its answer or refusal comes back with its number.
#[test]
fn replies_come_back() {
    let mut pair = Pair::standing(10);
    pair.publisher.expect_replies(1 << 20);
    let origin = Origin { timeout_ms: Some(1500), ..attempt(3, 1) };
    assert!(pair.publisher.send_work(1, 1, origin, &numbered(3)));
    assert!(pair.publisher.send_work(1, 2, origin, &numbered(4)));
    pair.exchange();
    let Some(Event::Messages { messages, .. }) = pair.subscriber.poll_event() else { panic!("messages") };
    assert_eq!(messages[0].origin, Some(origin));
    let failure = Failure { code: FailureCode::NotFound, text: "no such price".to_owned() };
    pair.subscriber.reply(1, 2, Err(failure.clone()));
    pair.subscriber.reply(1, 1, Ok(numbered(300)));
    pair.exchange();
    let refused = Event::Reply { id: 1, number: 2, outcome: Err(failure) };
    assert_eq!(pair.publisher.poll_event(), Some(refused));
    let answered = Event::Reply { id: 1, number: 1, outcome: Ok(numbered(300)) };
    assert_eq!(pair.publisher.poll_event(), Some(answered));
}

/// Goal: what was never sent cannot be acknowledged, refused or answered, and a reply is bounded by its header.
#[test]
fn answers_against_the_rules() {
    for frame in [Frame::Ack(vec![span(1, 2)]), Frame::Nack { delay_ms: 0, spans: vec![span(2, 2)] }] {
        let mut pair = Pair::standing(10);
        assert!(pair.publisher.send_work(1, 1, attempt(1, 1), &numbered(1)));
        let mut output = Output::default();
        frame.encode(1, &mut output);
        let mut bytes = BytesMut::from(&output.pop().unwrap()[..]);
        let error = pair.publisher.handle_input(&mut bytes, pair.now).unwrap_err();
        assert_eq!(error, ProtocolError::OutOfOrder { id: 1, sequence: 2, last: 1 });
    }
    let mut pair = Pair::standing(10);
    let mut output = Output::default();
    ReplyBody { number: 1, outcome: Ok(numbered(1)) }.encode(1, &mut output);
    let mut bytes = BytesMut::from(&output.pop().unwrap()[..]);
    let error = pair.publisher.handle_input(&mut bytes, pair.now).unwrap_err();
    assert_eq!(error, ProtocolError::OutOfOrder { id: 1, sequence: 1, last: 0 });

    let mut pair = Pair::standing(10);
    pair.publisher.expect_replies(1000);
    let length = u32::try_from(1000 + limits::MESSAGE_OVERHEAD_BYTES_MAX + 1).unwrap();
    let mut header = BytesMut::from(&length.to_be_bytes()[..]);
    header.extend_from_slice(&[kind::REPLY, 0, 0, 0, 0, 1]);
    let error = pair.publisher.handle_input(&mut header, pair.now).unwrap_err();
    assert!(matches!(error, ProtocolError::TooLong { what: "reply frame", .. }), "{error}");
}

/// Goal: ranges that overlap, touch or go backwards are refused: their number would not be bounded by what was sent.
#[test]
fn senseless_ranges_are_refused() {
    for (first, second) in [(span(1, 3), span(3, 4)), (span(1, 3), span(4, 5)), (span(5, 4), span(9, 9))] {
        let mut pair = Pair::standing(10);
        let mut output = Output::default();
        header(kind::ACK, 0, 1, 34).encode(&mut output);
        output.put_u16(2);
        for bound in [first.first, first.last, second.first, second.last] {
            output.put_u64(bound);
        }
        let mut bytes = BytesMut::from(&output.pop().unwrap()[..]);
        let error = pair.publisher.handle_input(&mut bytes, pair.now).unwrap_err();
        assert_eq!(error, ProtocolError::BadValue { what: "order of ranges" });
    }
}
