//! What no peer may exceed. Checked before anything is allocated.

/// The version of the protocol that this crate speaks, and the oldest it understands.
pub const VERSION: u16 = 3;
/// See [`VERSION`].
pub const VERSION_OLDEST: u16 = 1;
/// From this version on, a Subscribe may carry its ordinal.
pub(crate) const VERSION_ORDINALS: u16 = 2;
/// From this version on, a Hello says where its sender runs.
pub(crate) const VERSION_LOCALITY: u16 = 3;

/// Bytes of a frame's header: length, kind, flags, subscription id.
pub const HEADER_BYTES: usize = 10;
/// Bytes that the length field does not count: itself.
pub const LENGTH_BYTES: usize = 4;
/// Longest Hello, header included. Before a Hello nothing else is read.
pub const HELLO_BYTES_MAX: usize = 4 * 1024;
/// Longest frame, header included, of all kinds but Hello and Message.
pub const CONTROL_BYTES_MAX: usize = 512 * 1024;
/// What a Message frame may be longer than the payload limit of its subscription: header, sequence numbers,
/// lengths. Headers of a message count as payload, their lengths do not.
pub const MESSAGE_OVERHEAD_BYTES_MAX: usize = 128 * 1024;
/// The largest payload limit that a subscription may state, in bytes.
pub const MESSAGE_BYTES_MAX: u32 = 256 * 1024 * 1024;

/// Longest name of a sidecar, in bytes.
pub const SIDECAR_NAME_BYTES_MAX: usize = 512;
/// Longest name of a node, in bytes.
pub const NODE_NAME_BYTES_MAX: usize = 253;
/// Longest name of a zone, in bytes.
pub const ZONE_BYTES_MAX: usize = 63;
/// Longest namespace or Channel name, in bytes.
pub const NAME_BYTES_MAX: usize = 253;
/// Longest text of a Refuse or Goodbye, in bytes. Longer ones are cut when sent.
pub const TEXT_BYTES_MAX: usize = 2 * 1024;
/// Most prefixes of one subscription.
pub const PREFIXES_MAX: usize = 16 * 1024;
/// Most bytes of all prefixes of one subscription together.
pub const PREFIX_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of all prefixes of one connection together.
pub const PREFIX_BYTES_SESSION_MAX: usize = 8 * 1024 * 1024;
/// Most subscriptions of one peer over one connection.
pub const SUBSCRIPTIONS_MAX: usize = 4 * 1024;

/// Most ranges of one Ack or Nack.
pub const SPANS_MAX: usize = 4 * 1024;

/// Longest subject, in bytes.
pub const SUBJECT_BYTES_MAX: usize = 65_535;
/// Longest header name, in bytes.
pub const HEADER_NAME_BYTES_MAX: usize = 65_535;
/// Most headers of a message.
pub const HEADERS_MAX: usize = 4 * 1024;
/// Most parts of a message.
pub const PARTS_MAX: usize = 16 * 1024;

/// Most credit in messages that a subscription may hold at once.
pub const CREDIT_MESSAGES_MAX: u32 = 1 << 30;
/// Most credit in bytes that a subscription may hold at once.
pub const CREDIT_BYTES_MAX: u64 = 1 << 40;
/// Most bytes of answers that wait to be written before a peer that does not read is cut off.
pub const OUTPUT_CONTROL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Checks the prefixes of one subscription; call it once where they enter.
///
/// # Errors
/// Names the limit that they exceed.
pub fn check_prefixes(prefixes: &[bytes::Bytes]) -> Result<(), crate::MessageProblem> {
    let longest = prefixes.iter().map(bytes::Bytes::len).max().unwrap_or(0);
    for (what, length, limit) in [
        ("number of prefixes", prefixes.len(), PREFIXES_MAX),
        ("bytes of one prefix", longest, SUBJECT_BYTES_MAX),
        ("bytes of all prefixes", prefix_bytes(prefixes), PREFIX_BYTES_MAX),
    ] {
        if length > limit {
            return Err(crate::MessageProblem { what, length, limit });
        }
    }
    Ok(())
}

pub(crate) fn prefix_bytes(prefixes: &[bytes::Bytes]) -> usize {
    prefixes.iter().fold(0, |sum: usize, prefix| sum.saturating_add(prefix.len()))
}
