//! Peers that break the rules.

use super::pair::{Pair, numbered, settings, subscribe};
use super::*;
use crate::message::{Place, body_bytes, encode_body, flags_of};

fn bytes_of(output: &mut Output) -> BytesMut {
    let mut all = BytesMut::new();
    while let Some(chunk) = output.pop() {
        all.extend_from_slice(&chunk);
    }
    all
}

fn frame(id: u32, frame: &Frame) -> BytesMut {
    let mut output = Output::default();
    frame.encode(id, &mut output);
    bytes_of(&mut output)
}

fn message(id: u32, sequence: u64, previous: Option<u64>) -> BytesMut {
    let (mut output, message) = (Output::default(), numbered(sequence));
    let place = Place { sequence, previous, origin: None };
    let bits = flags_of(&message, &place);
    crate::frame::header(kind::MESSAGE, bits, id, body_bytes(&message, &place)).encode(&mut output);
    encode_body(&mut output, &place, &message);
    bytes_of(&mut output)
}

/// Feeds `bytes` to `session`; it must refuse them, close, and say why in a goodbye.
fn refused(session: &mut Session, mut bytes: BytesMut, now: Duration) -> ProtocolError {
    while session.poll_output().is_some() {}
    let error = session.handle_input(&mut bytes, now).unwrap_err();
    assert!(session.is_closing());
    let last = session.poll_output().expect("a goodbye");
    assert_eq!(Header::peek(&last).map(|header| header.kind), Some(kind::GOODBYE));
    let mut more = BytesMut::from(&b"more"[..]);
    assert_eq!(session.handle_input(&mut more, now), Ok(()), "what follows is dropped");
    assert!(more.is_empty());
    error
}

/// Goal: nothing but a hello opens a session, and its length is bounded.
#[test]
fn before_the_hello() {
    let now = Duration::from_secs(5);
    let mut session = Session::new(settings(), now);
    let error = refused(&mut session, frame(1, &Frame::Ping(1)), now);
    assert_eq!(error, ProtocolError::Unexpected { what: "the first frame is not a hello" });

    let mut session = Session::new(settings(), now);
    let claim = BytesMut::from(&[0xff, 0xff, 0xff, 0xff, kind::HELLO, 0, 0, 0, 0, 0][..]);
    assert!(matches!(refused(&mut session, claim, now), ProtocolError::TooLong { .. }));

    let mut session = Session::new(settings(), now);
    let hello = Hello {
        version_oldest: 8,
        version_newest: 9,
        epoch: 1,
        sidecar: "shop/x".to_owned(),
        locality: Locality::default(),
    };
    let error = refused(&mut session, frame(0, &Frame::Hello(hello)), now);
    assert!(matches!(error, ProtocolError::NoCommonVersion { oldest: 8, newest: 9, .. }));
}

/// Goal: what an older peer cannot read is not sent to it.
#[test]
fn an_older_peer_gets_no_ordinal() {
    for (version_newest, sent) in [(1, None), (2, Some(7)), (3, Some(7))] {
        let mut session = Session::new(settings(), Duration::ZERO);
        let (sidecar, locality) = ("shop/x".to_owned(), Locality::default());
        let hello = Hello { version_oldest: 1, version_newest, epoch: 1, sidecar, locality };
        session.handle_input(&mut frame(0, &Frame::Hello(hello)), Duration::ZERO).unwrap();
        let wanted = Subscribe { ordinal: Some(7), ..subscribe(1) };
        assert!(session.subscribe(1, wanted.clone()));
        let mut written = BytesMut::new();
        while let Some(chunk) = session.poll_output() {
            written.extend_from_slice(&chunk);
        }
        let subscribe = frame(1, &Frame::Subscribe(Subscribe { ordinal: sent, ..wanted }));
        assert!(written.ends_with(&subscribe), "version {version_newest}");
    }
}

/// Goal: a message needs a subscription, an acceptance, credit, and a sequence number that goes up.
#[test]
fn messages_against_the_rules() {
    let mut pair = Pair::standing(1);
    let error = refused(&mut pair.subscriber, message(9, 1, None), pair.now);
    assert!(matches!(error, ProtocolError::Unexpected { .. }), "{error}");

    let mut pair = Pair::established();
    assert!(pair.subscriber.subscribe(1, subscribe(1)));
    let error = refused(&mut pair.subscriber, message(1, 1, None), pair.now);
    assert!(matches!(error, ProtocolError::Unexpected { .. }), "{error}");

    let mut pair = Pair::standing(1);
    let mut two = message(1, 1, None);
    two.extend_from_slice(&message(1, 2, None));
    assert_eq!(refused(&mut pair.subscriber, two, pair.now), ProtocolError::CreditExceeded { id: 1 });
    assert!(matches!(pair.subscriber.poll_event(), Some(Event::Messages { .. })), "the first one counts");

    let mut pair = Pair::standing(10);
    let mut two = message(1, 5, Some(0));
    two.extend_from_slice(&message(1, 5, Some(4)));
    let error = refused(&mut pair.subscriber, two, pair.now);
    assert_eq!(error, ProtocolError::OutOfOrder { id: 1, sequence: 5, last: 5 });
}

/// Goal: a length above the subscription's limit is refused when only the header has come.
#[test]
fn long_messages_are_refused_by_their_header() {
    let mut pair = Pair::standing(10);
    let length = u32::try_from((1 << 20) + limits::MESSAGE_OVERHEAD_BYTES_MAX + 1).unwrap();
    let mut header = BytesMut::new();
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(&[kind::MESSAGE, 0, 0, 0, 0, 1]);
    assert!(matches!(refused(&mut pair.subscriber, header, pair.now), ProtocolError::TooLong { .. }));
}

/// Goal: a peer cannot confirm what was never sent, nor pile up credit without end.
#[test]
fn credit_against_the_rules() {
    let credit = |messages, received| frame(1, &Frame::Credit { messages, bytes: 0, received });
    let mut pair = Pair::standing(1);
    let error = refused(&mut pair.publisher, credit(0, 5), pair.now);
    assert_eq!(error, ProtocolError::OutOfOrder { id: 1, sequence: 5, last: 0 });
    let mut pair = Pair::standing(1);
    let error = refused(&mut pair.publisher, credit(u32::MAX, 0), pair.now);
    assert_eq!(error, ProtocolError::BadValue { what: "credit in messages" });
}

/// Goal: a peer that makes us answer and does not read is cut off while the answers are still few.
#[test]
fn answers_are_bounded() {
    let mut pair = Pair::established();
    let pings = frame(0, &Frame::Ping(1)).repeat(10_000);
    let mut most = 0;
    let error = loop {
        let outcome = pair.publisher.handle_input(&mut BytesMut::from(&pings[..]), pair.now);
        most = most.max(pair.publisher.output_bytes());
        if let Err(error) = outcome {
            break error;
        }
    };
    assert_eq!(error, ProtocolError::OutputFull);
    assert!(most <= limits::OUTPUT_CONTROL_BYTES_MAX + 10_000, "{most}");
}

/// Goal: subscriptions and their prefixes are bounded over the whole connection.
#[test]
fn subscriptions_are_bounded() {
    let mut pair = Pair::established();
    let prefixes = vec![Bytes::from(vec![b'x'; 60_000]); 4];
    let mut counted = 0;
    let error = loop {
        let wanted = Subscribe { prefixes: prefixes.clone(), ..subscribe(1) };
        let mut bytes = frame(counted, &Frame::Subscribe(wanted));
        match pair.publisher.handle_input(&mut bytes, pair.now) {
            Ok(()) => counted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ProtocolError::TooLong { what: "bytes of all prefixes", .. }), "{error}");
    assert!(usize::try_from(counted).unwrap() * 240_000 <= limits::PREFIX_BYTES_SESSION_MAX);

    let mut pair = Pair::established();
    for id in 0..=u32::try_from(limits::SUBSCRIPTIONS_MAX).unwrap() {
        let mut bytes = frame(id, &Frame::Subscribe(subscribe(1)));
        pair.publisher.handle_input(&mut bytes, pair.now).unwrap();
    }
    let asked = std::iter::from_fn(|| pair.publisher.poll_event()).count();
    assert_eq!(asked, limits::SUBSCRIPTIONS_MAX, "the one above is refused by the session");
}

proptest! {
    /// Goal: no bytes make a session panic, before the hello and after, and what it keeps stays within its limits.
    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..2000), established in any::<bool>(), valid in any::<bool>()) {
        let (mut session, now) = if established {
            let pair = Pair::standing(10);
            (pair.subscriber, pair.now)
        } else {
            (Session::new(settings(), Duration::ZERO), Duration::ZERO)
        };
        let mut input = BytesMut::new();
        if valid {
            // A header that passes, so that bodies are reached.
            let kind = bytes.first().copied().unwrap_or(0) % 24;
            let length = u32::try_from(bytes.len() + 6).unwrap();
            input.extend_from_slice(&length.to_be_bytes());
            input.extend_from_slice(&[kind, bytes.get(1).copied().unwrap_or(0), 0, 0, 0, 1]);
        }
        input.extend_from_slice(&bytes);
        let before = input.len();
        drop(session.handle_input(&mut input, now));
        prop_assert!(input.len() <= before && session.output_bytes() < 100_000);
        while session.poll_event().is_some() {}
    }
}
