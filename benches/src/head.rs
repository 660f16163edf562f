//! The beginning of every message, in the bytes that `benches/channel` gives it. Pure.

/// Bytes of a head.
pub(crate) const HEAD_BYTES: usize = 16;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Warm,
    Message,
    End,
}

/// Who sent a message, as what, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    pub(crate) publisher: u64,
    pub(crate) number: u64,
    pub(crate) time_ns: u64,
}

impl Head {
    /// As it is sent.
    pub(crate) fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let kind: u64 = match self.kind {
            Kind::Warm => b'w'.into(),
            Kind::Message => b'm'.into(),
            Kind::End => b'e'.into(),
        };
        let word = kind << 56 | self.publisher << 48 | self.number;
        let mut bytes = [0; HEAD_BYTES];
        let (first, second) = bytes.split_at_mut(8);
        first.copy_from_slice(&word.to_le_bytes());
        second.copy_from_slice(&self.time_ns.to_le_bytes());
        bytes
    }

    /// The head of a message; `None` when it is none of ours.
    pub(crate) fn of(message: &[u8]) -> Option<Self> {
        let (first, rest) = message.split_first_chunk::<8>()?;
        let (second, _) = rest.split_first_chunk::<8>()?;
        let (word, time_ns) = (u64::from_le_bytes(*first), u64::from_le_bytes(*second));
        let kind = match word.to_be_bytes()[0] {
            b'w' => Kind::Warm,
            b'm' => Kind::Message,
            b'e' => Kind::End,
            _ => return None,
        };
        Some(Self { kind, publisher: word >> 48 & 0xff, number: word & 0xffff_ffff_ffff, time_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a head comes back as it was sent, and other bytes are none.
    #[test]
    fn heads_come_back() {
        for kind in [Kind::Warm, Kind::Message, Kind::End] {
            let head = Head { kind, publisher: 7, number: 5_000_000_000, time_ns: 1 << 60 };
            assert_eq!(Head::of(&head.to_bytes()), Some(head));
        }
        assert_eq!(Head::of(&[b'x'; 100]), None);
        assert_eq!(Head::of(b"short"), None);
    }
}
