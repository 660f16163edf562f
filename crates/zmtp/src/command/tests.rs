//! Commands come back as they went; hostile bodies are refused, never a panic.

use proptest::prelude::*;

use super::*;

fn bytes(length: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), length).prop_map(Bytes::from)
}

fn command() -> impl Strategy<Value = Command> {
    let property = (bytes(1..20), bytes(0..300)).prop_map(|(name, value)| Property { name, value });
    prop_oneof![
        proptest::collection::vec(property, 0..5).prop_map(Command::Ready),
        bytes(0..=255).prop_map(Command::Error),
        bytes(0..300).prop_map(Command::Subscribe),
        bytes(0..300).prop_map(Command::Cancel),
        (any::<u16>(), bytes(0..=16))
            .prop_map(|(ttl, context)| Command::Ping { ttl_ms: u32::from(ttl) * 100, context }),
        bytes(0..=16).prop_map(Command::Pong),
    ]
}

proptest! {
    /// Goal: every command comes back.
    #[test]
    fn round_trip(command in command()) {
        prop_assert_eq!(Command::decode(command.encode()), Ok(command));
    }

    /// Goal: no body makes the decoder panic; a cut command is refused or shorter, never longer.
    #[test]
    fn hostile(command in command(), cut in 0.0..1.0_f64, noise in bytes(0..40)) {
        let encoded = command.encode();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a position in a short test buffer")]
        let length = (encoded.len() as f64 * cut) as usize;
        drop(Command::decode(encoded.slice(..length)));
        drop(Command::decode(noise));
    }
}

/// Goal: lengths that point past the end are refused.
#[test]
fn refuses_lengths_past_the_end() {
    let cases: [(&'static [u8], &str); 7] = [
        (b"", "nameless"),
        (b"\x09READY", "nameless"),
        (b"\x05READY\x0bSocket", "READY"),
        (b"\x05READY\x01a\xff\xff\xff\xffb", "READY"),
        (b"\x05READY\x00\x00\x00\x00\x00", "READY"),
        (b"\x05ERROR\x09no", "ERROR"),
        (b"\x04PING\x00", "PING"),
    ];
    for (body, what) in cases {
        assert_eq!(Command::decode(Bytes::from_static(body)), Err(SessionError::Malformed(what)), "{body:?}");
    }
}
