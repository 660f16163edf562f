//! Frames come back as they went, and hostile headers cost nothing.

use proptest::prelude::*;

use super::*;

proptest! {
    /// Goal: any frame comes back, however its bytes are cut, and leaves what follows alone.
    #[test]
    fn round_trip(body in proptest::collection::vec(any::<u8>(), 0..600), more: bool, command: bool, tail in proptest::collection::vec(any::<u8>(), 0..4)) {
        let more = more && !command;
        let mut bytes = BytesMut::new();
        encode_frame_header(&mut bytes, more, command, body.len());
        prop_assert_eq!(bytes.len(), frame_header_len(body.len()));
        bytes.put_slice(&body);
        let whole = bytes.len();
        for length in 0..whole {
            let mut part = BytesMut::from(&bytes[..length]);
            prop_assert_eq!(decode(&mut part, 600, 600), Ok(None));
        }
        bytes.put_slice(&tail);
        let frame = decode(&mut bytes, 600, 600).unwrap().unwrap();
        prop_assert_eq!(frame, Frame { more, command, body: Bytes::from(body) });
        prop_assert_eq!(&bytes[..], &tail[..]);
    }

    /// Goal: no bytes make the decoder panic or return more than the limit.
    #[test]
    fn hostile(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Ok(Some(frame)) = decode(&mut buffer, 16, 8) {
            let limit = if frame.command { 8 } else { 16 };
            prop_assert!(frame.body.len() <= limit);
        }
    }
}

/// Goal: a length of 2^63 is refused from the header alone, and the buffer does not grow.
#[test]
fn refuses_huge_lengths_before_the_body() {
    for (flags, what) in [(LONG, "message"), (LONG | COMMAND, "command")] {
        let mut buffer = BytesMut::from(&[flags, 0x80, 0, 0, 0, 0, 0, 0, 0][..]);
        let capacity = buffer.capacity();
        let error = decode(&mut buffer, 1 << 20, 1 << 10).unwrap_err();
        assert!(
            matches!(error, SessionError::TooLarge { what: named, size, .. } if named == what && size == 1 << 63)
        );
        assert_eq!(buffer.capacity(), capacity);
    }
}

/// Goal: reserved bits and a command with MORE are refused.
#[test]
fn refuses_unknown_flags() {
    for flags in [0x08, 0x10, 0x80, MORE | COMMAND] {
        let mut buffer = BytesMut::from(&[flags, 0][..]);
        assert_eq!(decode(&mut buffer, 10, 10), Err(SessionError::Flags(flags)));
    }
}
