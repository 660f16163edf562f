//! Any bytes, cut anywhere, through a whole ZMTP connection: nothing panics, and nothing above
//! the limits comes out. The first byte chooses our socket type.

use zmtp::{Config, Event, Limits, Session, SocketType};

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
                    session.send_message(&frames);
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// The greeting of a peer.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut greeting = vec![3, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1];
    greeting.extend(b"NULL");
    greeting.resize(65, 0);
    greeting.extend(b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x04PAIR");
    vec![greeting]
}
