//! Any bytes, cut anywhere, through a session between sidecars.

use std::time::Duration;

use bytes::BytesMut;
use peer_wire::{Locality, Session, Settings, limits};

/// One input; the first byte says how it is cut.
pub fn run(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let settings = Settings {
        sidecar: "namespace/pod".to_owned(),
        epoch: 1,
        locality: Locality { node: "node".to_owned(), zone: "zone".to_owned() },
        version_max: limits::VERSION,
        heartbeat: Duration::from_secs(5),
        silence_max: Duration::from_secs(15),
        confirm_delay: Duration::from_millis(20),
    };
    let mut session = Session::new(settings, Duration::ZERO);
    let mut input = BytesMut::new();
    for piece in rest.chunks(usize::from(*first).max(1)) {
        input.extend_from_slice(piece);
        if session.handle_input(&mut input, Duration::ZERO).is_err() {
            return;
        }
        while session.poll_event().is_some() {}
        while session.poll_output().is_some() {}
    }
}

/// What a session says first.
pub fn seeds() -> Vec<Vec<u8>> {
    let settings = Settings {
        sidecar: "other/pod".to_owned(),
        epoch: 2,
        locality: Locality { node: "node".to_owned(), zone: "zone".to_owned() },
        version_max: limits::VERSION,
        heartbeat: Duration::from_secs(5),
        silence_max: Duration::from_secs(15),
        confirm_delay: Duration::from_millis(20),
    };
    let mut session = Session::new(settings, Duration::ZERO);
    let mut seed = vec![7];
    while let Some(chunk) = session.poll_output() {
        seed.extend_from_slice(&chunk);
    }
    vec![seed]
}
