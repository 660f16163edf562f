//! Sessions of different versions against each other, and the bytes of the versions that were.

use super::pair::{Pair, numbered, settings, subscribe};
use super::*;
use crate::frame::Span;
use crate::message::Origin;

/// What a sidecar of each version said first, byte for byte: `shop/a`, epoch 77. These never change.
const HELLO_1: &[u8] = b"\0\0\0\x1e\x01\0\0\0\0\0PNCE\0\x01\0\x01\0\0\0\0\0\0\0\x4d\0\x06shop/a";
const HELLO_2: &[u8] = b"\0\0\0\x1e\x01\0\0\0\0\0PNCE\0\x01\0\x02\0\0\0\0\0\0\0\x4d\0\x06shop/a";
const HELLO_3: &[u8] =
    b"\0\0\0\x2e\x01\0\0\0\0\0PNCE\0\x01\0\x03\0\0\0\0\0\0\0\x4d\0\x06shop/a\0\x06node-a\0\x06zone-1";
/// A Subscribe of version 2, with its ordinal, and the same of version 1.
const SUBSCRIBE_2: &[u8] = b"\0\0\0\x2e\x02\x04\0\0\0\x07\0\x04shop\0\x06prices\0\x10\0\0\0\0\0\x09\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\0\x05\0\0";
const SUBSCRIBE_1: &[u8] =
    b"\0\0\0\x26\x02\0\0\0\0\x07\0\x04shop\0\x06prices\0\x10\0\0\0\0\0\x09\0\0\0\0\0\x10\0\0\0\0";

fn said(session: &mut Session) -> Vec<u8> {
    std::iter::from_fn(|| session.poll_output()).flatten().collect()
}

fn session(version_max: u16) -> Session {
    Session::new(Settings { version_max, ..settings() }, Duration::ZERO)
}

/// Goal: what a version says first is what it always said, so a sidecar that was built then understands it.
#[test]
fn hellos_are_the_bytes_that_they_were() {
    for (version, bytes) in [(1, HELLO_1), (2, HELLO_2), (3, HELLO_3)] {
        assert_eq!(said(&mut session(version)), bytes, "version {version}");
    }
    assert_eq!(limits::VERSION, 3, "a new version adds its bytes here");
}

/// Goal: to a peer that said hello in the words of an older version a session speaks that version, and no newer word.
#[test]
fn a_peer_of_an_older_build_is_understood() {
    for (version, hello, subscribed) in
        [(1, HELLO_1, SUBSCRIBE_1), (2, HELLO_2, SUBSCRIBE_2), (3, HELLO_3, SUBSCRIBE_2)]
    {
        let mut session = session(limits::VERSION);
        drop(said(&mut session));
        session.handle_input(&mut BytesMut::from(hello), Duration::ZERO).unwrap();
        assert_eq!(session.version(), Some(version));
        let Some(Event::Established(found)) = session.poll_event() else { panic!("established") };
        let known = version >= limits::VERSION_LOCALITY;
        assert_eq!((found.sidecar.as_str(), found.epoch), ("shop/a", 77));
        assert_eq!(found.locality, if known { settings().locality } else { Locality::default() });
        assert!(session.subscribe(7, Subscribe { ordinal: Some(5), ..subscribe(9) }));
        assert_eq!(said(&mut session), subscribed, "version {version}");
    }
}

/// Goal: whichever side is the older one, both speak its version, and messages, acks, credit and goodbye go both ways.
#[test]
fn every_pair_of_versions_works() {
    let all = limits::VERSION_OLDEST..=limits::VERSION;
    for (publisher, subscriber) in all.clone().flat_map(|one| all.clone().map(move |other| (one, other))) {
        let mut pair = Pair::established_with(publisher, subscriber);
        let common = publisher.min(subscriber);
        assert_eq!((pair.publisher.version(), pair.subscriber.version()), (Some(common), Some(common)));
        assert!(pair.subscriber.subscribe(1, Subscribe { ordinal: Some(4), ..subscribe(10) }));
        pair.exchange();
        let Some(Event::Subscribe { subscribe, .. }) = pair.publisher.poll_event() else { panic!("asked") };
        let knows = common >= limits::VERSION_ORDINALS;
        assert_eq!(subscribe.ordinal, knows.then_some(4), "{publisher} and {subscriber}");
        pair.publisher.accept(1, 0);
        pair.publisher.expect_replies(1 << 10);
        let origin = Origin { sequence: 1, attempt: 1, timeout_ms: Some(9) };
        assert!(pair.publisher.send_work(1, 1, origin, &numbered(1)));
        pair.exchange();
        pair.subscriber.ack(1, &[Span { first: 1, last: 1 }]);
        pair.subscriber.grant(1, 5, 5);
        pair.subscriber.reply(1, 1, Ok(numbered(2)));
        pair.subscriber.goodbye(GoodbyeCode::Draining, "bye");
        pair.exchange();
        let heard: Vec<Event> = std::iter::from_fn(|| pair.subscriber.poll_event()).collect();
        assert!(matches!(&heard[..], [Event::Subscribed { .. }, Event::Messages { .. }]), "{heard:?}");
        let heard: Vec<Event> = std::iter::from_fn(|| pair.publisher.poll_event()).collect();
        assert!(
            matches!(
                &heard[..],
                [Event::Ack { .. }, Event::Credit { .. }, Event::Reply { .. }, Event::Goodbye(_)]
            ),
            "{heard:?}"
        );
    }
}

/// Goal: without a common version each side refuses, says both ranges and who has to be upgraded how, to its own log and
/// to the peer.
#[test]
fn no_common_version_says_what_to_do() {
    for (oldest, newest, word) in
        [(4, 6, "restart this pod"), (0, 0, "restart its pod"), (7, 9, "one version at a time")]
    {
        let hello = Hello {
            version_oldest: oldest,
            version_newest: newest,
            epoch: 1,
            sidecar: "shop/x".to_owned(),
            locality: Locality::default(),
        };
        let mut output = Output::default();
        Frame::Hello(hello).encode(0, &mut output);
        let mut bytes: BytesMut = std::iter::from_fn(|| output.pop()).flatten().collect();
        let mut session = session(limits::VERSION);
        drop(said(&mut session));
        let error = session.handle_input(&mut bytes, Duration::ZERO).unwrap_err();
        let own = (limits::VERSION_OLDEST, limits::VERSION);
        let wanted = ProtocolError::NoCommonVersion { oldest, newest, own_oldest: own.0, own_newest: own.1 };
        assert_eq!(error, wanted);
        let text = error.to_string();
        for part in
            [format!("the peer speaks {oldest} to {newest}"), format!("this side {} to {}", own.0, own.1)]
        {
            assert!(text.contains(&part) && text.contains(word), "{text}");
        }
        assert_eq!((session.poll_event(), session.version(), session.is_closing()), (None, None, true));
        let goodbye = String::from_utf8_lossy(&said(&mut session)).into_owned();
        assert!(goodbye.contains(&text), "{goodbye}");
    }
}

/// Goal: a name that is too long for a Hello is left out and does not cut the connection.
#[test]
fn a_long_place_is_left_out() {
    let locality = Locality { node: "n".repeat(limits::NODE_NAME_BYTES_MAX + 1), zone: "z".to_owned() };
    let mut one = Session::new(Settings { locality, ..settings() }, Duration::ZERO);
    let mut other = session(limits::VERSION);
    let mut bytes = BytesMut::from(&said(&mut one)[..]);
    other.handle_input(&mut bytes, Duration::ZERO).unwrap();
    assert_eq!(other.peer().map(|hello| hello.locality.clone()), Some(Locality::default()));
}
