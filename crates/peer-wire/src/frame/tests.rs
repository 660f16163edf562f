//! Round trips of every kind, and bodies from hostile peers.

#![expect(clippy::arithmetic_side_effects, reason = "a test may overflow: then it fails")]

use super::*;
use crate::message::{Message, Origin, Place, body_bytes, decode_body, encode_body, flags_of};
use proptest::collection::vec;
use proptest::prelude::*;

fn bytes(most: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..most).prop_map(Bytes::from)
}

fn sequence() -> impl Strategy<Value = u64> {
    0..=i64::MAX.unsigned_abs()
}

fn gap_reason() -> impl Strategy<Value = GapReason> {
    any::<u8>().prop_map(GapReason::from_number)
}

/// Ascending, and not touching each other.
fn spans() -> impl Strategy<Value = Vec<Span>> {
    vec((1..1_u64 << 40, 0..1_u64 << 20), 0..9).prop_map(|steps| {
        let mut last = 0;
        steps
            .into_iter()
            .map(|(step, more)| {
                let first = last + 1 + step;
                last = first + more;
                Span { first, last }
            })
            .collect()
    })
}

fn frame() -> impl Strategy<Value = Frame> {
    let resume = proptest::option::of(
        (any::<u64>(), sequence()).prop_map(|(epoch, received)| Resume { epoch, received }),
    );
    let subscribe = (
        "[a-z]{0,20}",
        "[a-z]{0,20}",
        any::<u32>(),
        any::<(u32, u64, bool, Option<u64>)>(),
        resume,
        vec(bytes(20), 0..9),
    )
        .prop_map(|(namespace, name, message_bytes_max, credit, resume, prefixes)| Subscribe {
            namespace,
            name,
            message_bytes_max,
            credit_messages: credit.0,
            credit_bytes: credit.1,
            resume,
            replay: credit.2,
            ordinal: credit.3,
            prefixes,
        });
    let hello = (any::<(u16, u64)>(), 0..6_u16, "\\PC{0,50}", "[a-z]{0,20}", "[a-z]{0,20}").prop_map(
        |((version_oldest, epoch), version_newest, sidecar, node, zone)| {
            let locality = Locality { node, zone };
            let locality =
                if version_newest >= limits::VERSION_LOCALITY { locality } else { Locality::default() };
            Hello { version_oldest, version_newest, epoch, sidecar, locality }
        },
    );
    let gap = (1..1_u64 << 40, 0..1_u64 << 20, gap_reason()).prop_map(|(first, more, reason)| Gap {
        first,
        last: first + more,
        messages: more / 2,
        reason,
    });
    let numbered = (sequence(), 1..1_u64 << 40).prop_map(|(number, first)| {
        (number, Gap { first, last: first, messages: 1, reason: GapReason::Lost })
    });
    let nack = (any::<u32>(), spans()).prop_map(|(delay_ms, spans)| Frame::Nack { delay_ms, spans });
    let refuse = (any::<u8>(), "\\PC{0,50}")
        .prop_map(|(code, text)| Frame::Refuse(Refusal { code: RefusalCode::from_number(code), text }));
    let goodbye = (any::<u8>(), "\\PC{0,50}")
        .prop_map(|(code, text)| Frame::Goodbye(Goodbye { code: GoodbyeCode::from_number(code), text }));
    prop_oneof![
        hello.prop_map(Frame::Hello),
        subscribe.prop_map(Frame::Subscribe),
        sequence().prop_map(|received| Frame::Subscribed { received }),
        Just(Frame::Unsubscribe),
        Just(Frame::Unsubscribed),
        vec(bytes(20), 0..9).prop_map(Frame::Prefixes),
        (any::<(u32, u64)>(), sequence()).prop_map(|((messages, bytes), received)| Frame::Credit {
            messages,
            bytes,
            received
        }),
        gap.prop_map(Frame::Gap),
        numbered.prop_map(|(number, gap)| Frame::NumberedGap { number, gap }),
        spans().prop_map(Frame::Ack),
        nack,
        refuse,
        any::<u64>().prop_map(Frame::Ping),
        any::<u64>().prop_map(Frame::Pong),
        goodbye,
    ]
}

fn collect(output: &mut Output) -> Bytes {
    let mut all = Vec::new();
    while let Some(chunk) = output.pop() {
        all.extend_from_slice(&chunk);
    }
    Bytes::from(all)
}

fn split(mut frame: Bytes) -> (Header, Bytes) {
    let header = Header::peek(&frame).expect("a whole header");
    assert_eq!(header.frame_bytes(), frame.len());
    (header, frame.split_off(limits::HEADER_BYTES))
}

proptest! {
    /// Goal: every frame is read back as it was written.
    #[test]
    fn frames_round_trip(frame in frame(), id in any::<u32>()) {
        let mut output = Output::default();
        frame.encode(id, &mut output);
        let length = output.len();
        let written = collect(&mut output);
        prop_assert_eq!(written.len(), length);
        let (header, body) = split(written);
        prop_assert_eq!(header.id, id);
        prop_assert_eq!(Frame::decode(header, body), Ok(Some(frame)));
    }

    /// Goal: every reply, and every refusal to reply, is read back as it was written.
    #[test]
    fn replies_round_trip(number in sequence(), key in proptest::option::of(bytes(30)), parts in vec(bytes(9000), 0..3),
                          code in any::<u8>(), text in "\\PC{0,50}", fails in any::<bool>()) {
        let outcome = if fails {
            Err(Failure { code: FailureCode::from_number(code), text })
        } else {
            Ok(Message { key, parts, ..Message::default() })
        };
        let reply = ReplyBody { number, outcome };
        let mut output = Output::default();
        reply.encode(7, &mut output);
        let (header, body) = split(collect(&mut output));
        prop_assert_eq!((header.kind, header.id), (kind::REPLY, 7));
        prop_assert_eq!(decode_reply(header.flags, body), Ok(reply));
    }

    /// Goal: every message is read back as it was written, and its length is known beforehand.
    #[test]
    fn messages_round_trip(
        subject in bytes(30), key in proptest::option::of(bytes(30)),
        headers in vec(("\\PC{0,9}", bytes(20)), 0..5), parts in vec(bytes(20_000), 0..4),
        timestamp_ms in any::<i64>(), sequence in 1..1_u64 << 60, skipped in proptest::option::of(0..1_u64 << 30),
        origin in proptest::option::of((1..1_u64 << 60, any::<u16>(), any::<Option<u32>>())),
    ) {
        let message = Message { subject, key, headers, parts, timestamp_ms };
        let previous = skipped.map(|skipped| (sequence - 1).saturating_sub(skipped));
        let origin = origin.map(|(sequence, attempt, timeout_ms)| Origin { sequence, attempt, timeout_ms });
        let place = Place { sequence, previous, origin };
        let mut output = Output::default();
        encode_body(&mut output, &place, &message);
        prop_assert_eq!(output.len(), body_bytes(&message, &place));
        let placed = decode_body(flags_of(&message, &place), collect(&mut output)).unwrap();
        prop_assert_eq!(placed.origin, origin);
        prop_assert_eq!(placed.previous, previous.unwrap_or(sequence - 1));
        prop_assert_eq!((placed.sequence, placed.message), (sequence, message));
    }

    /// Goal: no body makes a decoder panic, whatever the kind and the flags.
    #[test]
    fn any_body_is_survived(kind in 0..24_u8, flags in any::<u8>(), body in bytes(300)) {
        let header = header(kind, flags, 1, body.len());
        drop(Frame::decode(header, body.clone()));
        drop(decode_reply(flags, body.clone()));
        drop(decode_body(flags, body));
    }
}

/// Goal: a count that the rest of the body cannot hold is refused before memory is reserved for it.
#[test]
fn counts_are_checked_against_what_came() {
    let mut output = Output::default();
    output.put_u16(16_000);
    let body = collect(&mut output);
    let refused = Frame::decode(header(kind::PREFIXES, 0, 1, 2), body);
    assert!(matches!(refused, Err(ProtocolError::TooLong { what: "number of prefixes", .. })), "{refused:?}");
}

/// Goal: kinds of a newer version are skipped when they say so, and refused when not.
#[test]
fn unknown_kinds() {
    let skipped = Frame::decode(header(99, FLAG_OPTIONAL, 1, 3), Bytes::from_static(b"abc"));
    assert_eq!(skipped, Ok(None));
    let refused = Frame::decode(header(99, 0, 1, 3), Bytes::from_static(b"abc"));
    assert_eq!(refused, Err(ProtocolError::UnknownKind { kind: 99 }));
}

/// Goal: a long text is cut at a character, not within one.
#[test]
fn texts_are_cut_at_a_character() {
    let text = "é".repeat(limits::TEXT_BYTES_MAX);
    assert!(cut(&text).len() <= limits::TEXT_BYTES_MAX);
    assert!(cut(&text).chars().all(|letter| letter == 'é'));
}
