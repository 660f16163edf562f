//! Two sessions in memory, and hostile peers: no sockets, no clock.

use bytes::Buf;
use proptest::prelude::*;

use super::*;
use crate::Subscriptions;

/// The one reading of the clock: `Instant` has no other beginning.
#[expect(
    clippy::disallowed_methods,
    reason = "a pure crate has no runtime::clock, and a test needs a first instant"
)]
fn start() -> Instant {
    Instant::now()
}

fn config(socket_type: SocketType) -> Config {
    Config { limits: Limits { message_bytes_max: 20_000, ..Limits::default() }, ..Config::new(socket_type) }
}

/// Moves at most `cut` bytes at a time until nothing is left to move; returns what `to` saw.
fn carry(from: &mut Session, to: &mut Session, cut: usize, now: Instant) -> Result<Vec<Event>, SessionError> {
    let mut events = Vec::new();
    while from.output().has_remaining() {
        let taken = from.output().chunk().len().min(cut.max(1));
        let piece = from.output().copy_to_bytes(taken);
        to.input().extend_from_slice(&piece);
        to.handle_input(now);
        while let Some(event) = to.poll_event()? {
            events.push(event);
        }
    }
    Ok(events)
}

/// Runs the handshake of both, returns the READY events of each or why it ended.
fn shake(one: &mut Session, other: &mut Session, now: Instant) -> [Result<Vec<Event>, SessionError>; 2] {
    let (mut at_one, mut at_other) = (Ok(Vec::new()), Ok(Vec::new()));
    for _ in 0..3 {
        keep(&mut at_other, carry(one, other, usize::MAX, now));
        keep(&mut at_one, carry(other, one, usize::MAX, now));
    }
    [at_one, at_other]
}

/// Appends events; the first error stays.
fn keep(kept: &mut Result<Vec<Event>, SessionError>, new: Result<Vec<Event>, SessionError>) {
    match (kept, new) {
        (Ok(events), Ok(new)) => events.extend(new),
        (kept @ Ok(_), Err(error)) => *kept = Err(error),
        (Err(_), _) => {}
    }
}

fn pair(one: SocketType, other: SocketType) -> (Session, Session, Instant) {
    let now = start();
    let (mut one, mut other) = (Session::new(config(one), now), Session::new(config(other), now));
    for result in shake(&mut one, &mut other, now) {
        assert!(matches!(&result.unwrap()[..], [Event::Ready(_)]));
    }
    (one, other, now)
}

/// Goal: every pair of socket types either becomes ready at both ends or is refused at both
/// ends, with an ERROR that names what would work.
#[test]
fn all_pairs_of_socket_types() {
    let now = start();
    for one in SocketType::ALL {
        for other in SocketType::ALL {
            let (mut left, mut right) = (Session::new(config(one), now), Session::new(config(other), now));
            let results = shake(&mut left, &mut right, now);
            for (result, (ours, theirs)) in results.iter().zip([(one, other), (other, one)]) {
                match result {
                    Ok(events) => {
                        assert!(one.talks_to(other), "{one} and {other}");
                        assert!(matches!(&events[..], [Event::Ready(peer)] if peer.socket_type == theirs));
                    }
                    Err(SessionError::SocketType { ours: named, .. }) => {
                        assert!(!one.talks_to(other) && *named == ours);
                    }
                    Err(SessionError::Peer(reason)) => assert!(reason.contains(&theirs.peers()), "{reason}"),
                    Err(other) => panic!("unexpected {other}"),
                }
            }
        }
    }
}

/// Goal: an end that takes one type alone refuses the others that could talk to it, and says which one it takes.
#[test]
fn one_type_alone() {
    let now = start();
    for other in [SocketType::Req, SocketType::Dealer, SocketType::Router, SocketType::Rep] {
        let only = Config { only: Some(SocketType::Dealer), ..config(SocketType::Router) };
        let (mut left, mut right) = (Session::new(only, now), Session::new(config(other), now));
        let [ours, theirs] = shake(&mut left, &mut right, now);
        if other == SocketType::Dealer {
            assert!(matches!(&ours.unwrap()[..], [Event::Ready(_)]) && theirs.is_ok());
            continue;
        }
        let error = ours.unwrap_err().to_string();
        assert!(error.contains(&format!("a {other} socket")) && error.ends_with("use DEALER"), "{error}");
        // A type that may not talk to a ROUTER at all sees that in our READY.
        if SocketType::Router.talks_to(other) {
            assert_eq!(theirs, Err(SessionError::Peer(error)));
        }
    }
}

proptest! {
    /// Goal: messages come through whole and in order, whatever the frames and the cuts.
    #[test]
    fn messages_round_trip(
        messages in proptest::collection::vec(proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..5), 0..8),
        large in 4000_usize..6000,
        cut in 1_usize..700,
    ) {
        let (mut push, mut pull, now) = pair(SocketType::Push, SocketType::Pull);
        let mut messages: Vec<Vec<Bytes>> = messages.into_iter().map(|m| m.into_iter().map(Bytes::from).collect()).collect();
        messages.push(vec![Bytes::from(vec![7; large]), Bytes::new(), Bytes::from(vec![8; large])]);
        for message in &messages {
            push.send_message(message);
        }
        let events = carry(&mut push, &mut pull, cut, now).unwrap();
        let wanted: Vec<Event> = messages.into_iter().map(Event::Message).collect();
        prop_assert_eq!(events, wanted);
    }

    /// Goal: hostile bytes at any point of a connection end it or are waited for; nothing
    /// panics, and nothing above the limits is kept.
    #[test]
    fn hostile_bytes(noise in proptest::collection::vec(any::<u8>(), 0..400), phase in 0..3) {
        let now = start();
        let mut session = Session::new(config(SocketType::XPub), now);
        if phase > 0 {
            session.input().extend_from_slice(&greeting::encode());
        }
        if phase > 1 {
            let ready = Command::Ready(vec![Property { name: "socket-type".into(), value: "SUB".into() }]).encode();
            frame::encode_frame_header(session.input(), false, true, ready.len());
            session.input().extend_from_slice(&ready);
        }
        session.input().extend_from_slice(&noise);
        while let Ok(Some(event)) = session.poll_event() {
            if let Event::Message(frames) = event {
                prop_assert!(frames.iter().map(Bytes::len).sum::<usize>() <= 20_000);
            }
        }
    }
}

/// Goal: subscriptions arrive in both forms, and a publisher's filter follows them.
#[test]
fn subscriptions_in_both_forms() {
    let prefix = Bytes::from_static(b"eu.");
    for minor in [0, 1] {
        let (mut publisher, mut subscriber, now) = pair(SocketType::Pub, SocketType::Sub);
        subscriber.version.minor = minor;
        subscriber.send_subscribe(&prefix);
        subscriber.send_cancel(&prefix);
        let events = carry(&mut subscriber, &mut publisher, 1, now).unwrap();
        assert_eq!(events, [Event::Subscribe(prefix.clone()), Event::Cancel(prefix.clone())], "3.{minor}");
    }
    let mut subscriptions = Subscriptions::new(1);
    subscriptions.subscribe(&prefix).unwrap();
    assert!(subscriptions.matches(b"eu.de"));
}

/// Goal: the sum of a message's frames is bounded, and so is their number; the text names both.
#[test]
fn bounds_whole_messages() {
    let (mut push, mut pull, now) = pair(SocketType::Push, SocketType::Pull);
    push.send_message(&[Bytes::from(vec![0; 15_000]), Bytes::from(vec![0; 5_001])]);
    let error = carry(&mut push, &mut pull, 1000, now).unwrap_err();
    assert_eq!(error, SessionError::TooLarge { what: "message", size: 20_001, limit: 20_000 });
    // The sender is told.
    let told = carry(&mut pull, &mut push, usize::MAX, now).unwrap_err();
    assert!(matches!(told, SessionError::Peer(reason) if reason.contains("limit of 20000 bytes")));

    let (mut push, mut pull, now) = pair(SocketType::Push, SocketType::Pull);
    push.send_message(&vec![Bytes::new(); 1025]);
    assert_eq!(carry(&mut push, &mut pull, 1000, now), Err(SessionError::TooManyFrames(1024)));
}

/// Goal: a refused peer is told why after its greeting, and our end is closed.
#[test]
fn refuses_with_a_reason() {
    let now = start();
    let mut door = Session::refusing(config(SocketType::Pub), "channels/prices: not allowed".into(), now);
    let mut app = Session::new(config(SocketType::Sub), now);
    let [told, ended] = shake(&mut app, &mut door, now);
    assert_eq!(told, Err(SessionError::Peer("channels/prices: not allowed".into())));
    assert_eq!(ended, Err(SessionError::Refused("channels/prices: not allowed".into())));
    assert_eq!(door.poll_event(), Ok(None));
    assert_eq!(door.poll_timeout(), None);
}

/// Goal: PINGs are answered, own PINGs go out on time, silence ends the session, a peer's TTL counts.
#[test]
fn heartbeats() {
    let now = start();
    let beat = Heartbeat { interval: Duration::from_secs(1), timeout: Duration::from_secs(3) };
    let mut dealer = Session::new(Config { heartbeat: Some(beat), ..config(SocketType::Dealer) }, now);
    let mut router = Session::new(config(SocketType::Router), now);
    assert_eq!(dealer.poll_timeout(), Some(now + Duration::from_secs(30)));
    drop(shake(&mut dealer, &mut router, now));
    assert_eq!(router.poll_timeout(), None);
    assert_eq!(dealer.poll_timeout(), Some(now + beat.interval));
    let later = now + beat.interval;
    dealer.handle_timeout(later).unwrap();
    assert_eq!(carry(&mut dealer, &mut router, 1, later), Ok(vec![]));
    // The PING carried our timeout as TTL.
    assert_eq!(router.poll_timeout(), Some(later + beat.timeout));
    assert_eq!(carry(&mut router, &mut dealer, 1, later), Ok(vec![]));
    assert_eq!(dealer.last_input, later);
    assert_eq!(router.handle_timeout(later + beat.timeout), Err(SessionError::HeartbeatTimeout(3000)));
    assert_eq!(dealer.handle_timeout(later + beat.timeout), Err(SessionError::HeartbeatTimeout(3000)));
}

/// Goal: a peer that does not finish its handshake is let go.
#[test]
fn handshake_deadline() {
    let now = start();
    let mut session = Session::new(config(SocketType::Pub), now);
    session.input().extend_from_slice(&greeting::encode());
    assert_eq!(session.poll_event(), Ok(None));
    assert_eq!(session.handle_timeout(now + Duration::from_secs(29)), Ok(()));
    assert_eq!(
        session.handle_timeout(now + Duration::from_secs(30)),
        Err(SessionError::HandshakeTimeout(30_000))
    );
}

/// Goal: messages and commands before READY, a READY without a type, and a second READY are refused.
#[test]
fn refuses_what_comes_out_of_turn() {
    let ready = |name: &'static str| {
        Command::Ready(vec![Property { name: name.into(), value: "SUB".into() }]).encode()
    };
    let cases = [
        (vec![(false, Bytes::from_static(b"hi"))], SessionError::TooEarly("a message")),
        (vec![(true, Command::Subscribe(Bytes::new()).encode())], SessionError::TooEarly("a command")),
        (vec![(true, ready("X-Type"))], SessionError::NoSocketType),
        (
            vec![(true, ready("Socket-Type")), (true, ready("Socket-Type"))],
            SessionError::Malformed("second READY"),
        ),
    ];
    for (frames, wanted) in cases {
        let mut session = Session::new(config(SocketType::Pub), start());
        session.input().extend_from_slice(&greeting::encode());
        for (command, body) in frames {
            frame::encode_frame_header(session.input(), false, command, body.len());
            session.input().extend_from_slice(&body);
        }
        let error = loop {
            match session.poll_event() {
                Ok(event) => assert!(matches!(event, Some(Event::Ready(_))), "{event:?} instead of {wanted}"),
                Err(error) => break error,
            }
        };
        assert_eq!(error, wanted);
    }
}
