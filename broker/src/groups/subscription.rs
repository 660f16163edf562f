//! What members of the classic protocol say that they subscribe to: the first bytes of their metadata.
//!
//! The broker never needs it to run a group; only to know which offsets are in use.

use std::collections::BTreeSet;

use kafka_wire::Reader;

use bytes::Bytes;

/// The topics in a member's metadata for the protocol type `consumer`: `None` if it is something else.
pub(crate) fn topics(metadata: &Bytes) -> Option<BTreeSet<String>> {
    let mut reader = Reader::new(metadata.clone());
    if reader.int16().ok()? < 0 {
        return None;
    }
    let count = reader.array_length::<String>(false).ok()??;
    let mut topics = BTreeSet::new();
    for _ in 0..count {
        topics.insert(reader.string(false).ok()??);
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Goal: the topics of a real subscription are read, whatever comes behind them.
    #[test]
    fn subscriptions_are_read() {
        let metadata = b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\0\0\0\0\0\0\0\0";
        let expected = BTreeSet::from(["a".to_owned(), "bc".to_owned()]);
        assert_eq!(topics(&Bytes::from_static(metadata)), Some(expected));
        assert_eq!(topics(&Bytes::new()), None);
        assert_eq!(topics(&Bytes::from_static(b"\0\x03\x7f\xff\xff\xff")), None);
    }

    proptest! {
        /// Goal: no bytes make it panic.
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            drop(topics(&Bytes::from(bytes)));
        }
    }
}
