//! Why messages are missing, as numbers on the wire and as words.

/// Why messages are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The subscriber's queue was full and the Channel's overflow is `DropNewest`.
    DroppedNewest,
    /// The connection was away for longer than the publisher keeps messages, or for more messages.
    Disconnected,
    /// The publisher ended before all was sent.
    Shutdown,
    /// Sequence numbers are missing and the publisher did not say why; or it started anew.
    Lost,
    /// They are larger than the subscriber takes.
    TooLarge,
    /// The subscriber's queue was full of later messages and the Channel's overflow is `DropOldest`, or it is
    /// `KeepLatest` and the queue was full of other keys.
    DroppedOldest,
    /// A later message of the same key took their place: the Channel's overflow is `KeepLatest`.
    Replaced,
    /// The message was tried as often as the Channel allows, and never acknowledged.
    AttemptsExhausted,
    /// It went through the Topic of overflow `Spill`, which does not have it any more.
    SpillLost,
    /// A reason of a newer version.
    Other,
}

impl GapReason {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Other => 0,
            Self::DroppedNewest => 1,
            Self::Disconnected => 2,
            Self::Shutdown => 3,
            Self::Lost => 4,
            Self::TooLarge => 5,
            Self::DroppedOldest => 6,
            Self::Replaced => 7,
            Self::AttemptsExhausted => 8,
            Self::SpillLost => 9,
        }
    }

    pub(crate) const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::DroppedNewest,
            2 => Self::Disconnected,
            3 => Self::Shutdown,
            4 => Self::Lost,
            5 => Self::TooLarge,
            6 => Self::DroppedOldest,
            7 => Self::Replaced,
            8 => Self::AttemptsExhausted,
            9 => Self::SpillLost,
            _ => Self::Other,
        }
    }

    /// The word that metrics and apps see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DroppedNewest => "dropped_newest",
            Self::Disconnected => "disconnected",
            Self::Shutdown => "shutdown",
            Self::Lost => "lost",
            Self::TooLarge => "too_large",
            Self::DroppedOldest => "dropped_oldest",
            Self::Replaced => "replaced",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::SpillLost => "spill_lost",
            Self::Other => "other",
        }
    }
}
