//! What omitted fields of a Channel mean. The schema carries the same values.

use super::{Acknowledge, Buffer, Delivery, Overflow, Redeliver};
use crate::{duration::Duration, quantity::Quantity};

/// How long a publish waits for a full buffer, in milliseconds.
pub(super) const BLOCK_TIMEOUT_MS: u64 = 5_000;
/// How long a request waits for its reply, in milliseconds.
pub(super) const REQUEST_TIMEOUT_MS: u64 = 5_000;
/// What a replay keeps that names no size, in bytes.
pub(super) const REPLAY_BYTES: u64 = 64 << 20;

pub(super) fn max_message_size() -> Quantity {
    "1Mi".parse().expect("a constant that is a size")
}

pub(super) fn buffer_messages() -> i32 {
    10_000
}

pub(super) fn buffer_size() -> Quantity {
    "16Mi".parse().expect("a constant that is a size")
}

pub(super) fn redeliver_after() -> Duration {
    "30s".parse().expect("a constant that is a time")
}

pub(super) fn redeliver_attempts() -> i32 {
    5
}

impl Default for Buffer {
    fn default() -> Self {
        Self { messages: buffer_messages(), size: buffer_size() }
    }
}

impl Default for Redeliver {
    fn default() -> Self {
        Self { after: redeliver_after(), attempts: redeliver_attempts() }
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            overflow: Overflow::Block,
            block_timeout: None,
            buffer: Buffer::default(),
            acknowledge: Acknowledge::None,
            redeliver: None,
            dead_letter: None,
            spill: None,
            replay: None,
        }
    }
}
