//! Any bytes, cut anywhere, through a whole ZMTP connection: nothing panics, and nothing above
//! the limits comes out. The first byte chooses our socket type.

use zmtp::{Config, Envelope, Event, Limits, Session, SocketType};

const LIMITS: Limits = Limits { message_bytes_max: 4096, frames_max: 16, command_bytes_max: 512 };

/// One input.
pub fn run(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let socket_type = SocketType::ALL[usize::from(*first) % SocketType::ALL.len()];
    let now = std::time::Instant::now();
    let config = Config { limits: LIMITS, ..Config::new(socket_type) };
    let mut session = Session::new(config, now);
    for piece in rest.chunks(usize::from(*first).max(1)) {
        session.input().extend_from_slice(piece);
        session.handle_input(now);
        loop {
            match session.poll_event() {
                Ok(Some(Event::Message(frames))) => {
                    assert!(!frames.is_empty() && frames.len() <= LIMITS.frames_max);
                    let bytes: usize = frames.iter().map(|frame| frame.len()).sum();
                    assert!(bytes <= LIMITS.message_bytes_max);
                    // As it came, also when the envelope is taken off and put on again.
                    let (envelope, body) = Envelope::split(frames.clone()).expect("it is within the limits");
                    let joined: Vec<_> = envelope.join(&body).collect();
                    assert!(joined.iter().copied().take(frames.len()).eq(&frames));
                    session.send_message(joined);
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// The greeting and READY of a peer, and a message of one that asks.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1];
    greeting.extend(b"NULL");
    greeting.resize(64, 0);
    let seed = |first: usize, rest: &[u8]| {
        let first = u8::try_from(first).expect("there are few socket types");
        [&[first], &greeting[..], rest].concat()
    };
    let pair = b"\x04\x1a\x05READY\x0bSocket-Type\x00\x00\x00\x04PAIR\x00\x01x";
    let dealer = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x01\x01a\x01\x00\x00\x01x";
    let index = |ours| SocketType::ALL.iter().position(|one| *one == ours).expect("all of them are there");
    vec![seed(index(SocketType::Pair), pair), seed(index(SocketType::Router), dealer)]
}
