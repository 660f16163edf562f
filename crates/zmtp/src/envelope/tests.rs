//! Envelopes come off and go on again, and what waits for a reply is bounded.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn message(frames: &[&'static str]) -> Vec<Bytes> {
    frames.iter().map(|frame| Bytes::from_static(frame.as_bytes())).collect()
}

fn joined(envelope: &Envelope, body: &[Bytes]) -> Vec<Bytes> {
    envelope.join(body).cloned().collect()
}

/// The one reading of the clock: `Instant` has no other beginning.
#[expect(
    clippy::disallowed_methods,
    reason = "a pure crate has no runtime::clock, and a test needs a first instant"
)]
fn start() -> Instant {
    Instant::now()
}

proptest! {
    /// Goal: a message taken apart and put together again is the message, and the envelope ends with its only empty frame.
    #[test]
    fn round_trip(frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3), 1..12)) {
        let frames: Vec<Bytes> = frames.into_iter().map(Bytes::from).collect();
        let (envelope, body) = Envelope::split(frames.clone()).unwrap();
        let count = envelope.frames.len();
        prop_assert_eq!(envelope.frames.iter().position(Bytes::is_empty), count.checked_sub(1));
        prop_assert_eq!(count.checked_add(body.len()), Some(frames.len()));
        let mut wanted = frames;
        if body.is_empty() {
            wanted.push(Bytes::new());
        }
        prop_assert_eq!(joined(&envelope, &body), wanted);
    }

    /// Goal: hostile envelopes are kept within the limits or refused, and what is kept is a copy.
    #[test]
    fn hostile(count in 0_usize..200, length in 1_usize..1000, whole: bool) {
        let mut frames = vec![Bytes::from(vec![7; length]); count];
        if whole {
            frames.push(Bytes::new());
        }
        match Envelope::split(frames.clone()) {
            Ok((envelope, _)) => {
                let kept: usize = envelope.frames.iter().map(Bytes::len).sum();
                prop_assert!(kept <= ENVELOPE_BYTES_MAX && envelope.frames.len() <= ENVELOPE_FRAMES_MAX);
                prop_assert!(envelope.frames.iter().zip(&frames).all(|(ours, theirs)| ours == theirs));
                let shared = envelope.frames.iter().zip(&frames).any(|(ours, theirs)| {
                    !ours.is_empty() && ours.as_ptr() == theirs.as_ptr()
                });
                prop_assert!(!shared);
            }
            Err(error) => {
                prop_assert!(error.size > ENVELOPE_BYTES_MAX || error.frames > ENVELOPE_FRAMES_MAX);
            }
        }
    }

    /// Goal: the map does what a plain map does, never grows past its limit, and tells late replies from unknown ones.
    #[test]
    fn waiting_is_a_bounded_map(steps in proptest::collection::vec((0_u8..4, 0_u64..40), 0..200), limit in 0_usize..8) {
        let start = start();
        let at = |ms: u64| start.checked_add(Duration::from_millis(ms)).unwrap();
        let mut waiting = Waiting::new(limit);
        let mut plain: BTreeMap<u64, Instant> = BTreeMap::new();
        let mut ids = 1..;
        let mut last = 0;
        for (step, number) in steps {
            match step {
                0 | 1 => {
                    let id = ids.next().unwrap();
                    let added = waiting.add(id, at(number));
                    prop_assert_eq!(added, plain.len() < limit);
                    if added {
                        last = id;
                        plain.insert(id, at(number));
                    }
                }
                2 => {
                    let wanted = match plain.remove(&number) {
                        Some(_) => Matched::Waiting,
                        None if last > 0 && number <= last => Matched::Late,
                        None => Matched::Unknown,
                    };
                    prop_assert_eq!(waiting.take(number), wanted);
                }
                _ => {
                    let before = plain.len();
                    plain.retain(|_, until| *until > at(number));
                    prop_assert_eq!(waiting.expire(at(number)).checked_add(plain.len()), Some(before));
                }
            }
            prop_assert_eq!(waiting.len(), plain.len());
            prop_assert_eq!(waiting.is_empty(), plain.is_empty());
            prop_assert_eq!(waiting.next_expiry(), plain.values().min().copied());
        }
    }

    /// Goal: the id in an envelope comes back, and no other envelope is taken for one.
    #[test]
    fn ids_round_trip(id: u64, frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..12), 0..3)) {
        let envelope = Envelope::of_id(id);
        prop_assert_eq!(envelope.id(), Some(id));
        let (again, body) = Envelope::split(joined(&envelope, &[])).unwrap();
        prop_assert_eq!((again.id(), body), (Some(id), vec![Bytes::new()]));
        let mut frames: Vec<Bytes> = frames.into_iter().map(Bytes::from).collect();
        let named = matches!(&frames[..], [only] if only.len() == 8);
        frames.push(Bytes::new());
        prop_assert_eq!(Envelope::split(frames).unwrap().0.id().is_some(), named);
    }
}

/// Goal: what the sockets of ZeroMQ send is read as they mean it.
#[test]
fn messages_of_the_socket_types() {
    for (frames, envelope, body) in [
        // REQ; REQ with ZMQ_REQ_CORRELATE; a DEALER as REQ; a DEALER without an envelope; two hops.
        (&["", "a"][..], &[""][..], &["a"][..]),
        (&["1234", "", "a", "", "b"], &["1234", ""], &["a", "", "b"]),
        (&["", ""], &[""], &[""]),
        (&["a", "b"], &[], &["a", "b"]),
        (&["one", "two", "", "a"], &["one", "two", ""], &["a"]),
        (&[""], &[""], &[]),
    ] {
        let (got, rest) = Envelope::split(message(frames)).unwrap();
        assert_eq!((got.frames, rest), (message(envelope), message(body)), "{frames:?}");
    }
    assert_eq!(Envelope::default().id(), None);
    // Nobody can answer what was never asked, and an id does not come twice.
    let (mut waiting, now) = (Waiting::new(2), start());
    assert_eq!(waiting.take(0), Matched::Unknown);
    assert!(waiting.add(5, now) && !waiting.add(5, now) && !waiting.add(4, now));
}
