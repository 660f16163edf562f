//! Messages with other than one part, in a record, which has one value: the parts stand one behind the other, and a
//! header says how long each is. Pure.

use bytes::{Bytes, BytesMut};

use crate::messaging::Message;

/// Sizes in bytes, with commas: `8,120`; empty for no parts at all.
pub(crate) const SIZES_HEADER: &str = "pinnace-part-sizes";

/// All parts in one: the only one is not copied.
pub(crate) fn join(parts: &[Bytes]) -> Bytes {
    if let [part] = parts {
        return part.clone();
    }
    let mut all = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    parts.iter().for_each(|part| all.extend_from_slice(part));
    all.freeze()
}

/// What [`SIZES_HEADER`] says of them; `None` for exactly one.
pub(crate) fn sizes(parts: &[Bytes]) -> Option<String> {
    let sizes = || parts.iter().map(|part| part.len().to_string()).collect::<Vec<_>>().join(",");
    (parts.len() != 1).then(sizes)
}

/// The message with exactly one part. One that has one already is as it was.
pub(crate) fn fold(message: &Message) -> Message {
    let mut folded = message.clone();
    if let Some(sizes) = sizes(&message.parts) {
        folded.parts = vec![join(&message.parts)];
        folded.headers.push((SIZES_HEADER.to_owned(), Bytes::from(sizes)));
    }
    folded
}

/// The message as it was before [`fold`]. A header that does not fit the value is left as it is.
pub(super) fn unfold(mut message: Message) -> Message {
    let Some(place) = message.headers.iter().position(|(name, _)| name == SIZES_HEADER) else {
        return message;
    };
    let parts = {
        let ([value], Some((_, sizes))) = (&message.parts[..], message.headers.get(place)) else {
            return message;
        };
        cut(value, sizes)
    };
    if let Some(parts) = parts {
        message.headers.remove(place);
        message.parts = parts;
    }
    message
}

/// The parts, if the sizes are those of exactly this value.
fn cut(value: &Bytes, sizes: &[u8]) -> Option<Vec<Bytes>> {
    let text = std::str::from_utf8(sizes).ok()?;
    let (mut rest, mut parts) = (value.clone(), Vec::new());
    for size in text.split(',').filter(|_| !text.is_empty()) {
        let size: usize = size.parse().ok()?;
        if size > rest.len() || parts.len() >= peer_wire::limits::PARTS_MAX {
            return None;
        }
        parts.push(rest.split_to(size));
    }
    rest.is_empty().then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Goal: whatever the parts are, the record's value brings them back.
        #[test]
        fn parts_come_back(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5)) {
            let parts = parts.into_iter().map(Bytes::from).collect();
            let message = Message { parts, ..Message::default() };
            let folded = fold(&message);
            prop_assert_eq!(folded.parts.len(), 1);
            prop_assert_eq!(unfold(folded), message);
        }

        /// Goal: sizes that somebody else wrote neither panic nor lose a byte.
        #[test]
        fn strange_sizes_change_nothing_they_do_not_fit(sizes in "[0-9,a-]{0,12}", value in "[a-z]{0,9}") {
            let headers = vec![(SIZES_HEADER.to_owned(), Bytes::from(sizes))];
            let message = Message { parts: vec![Bytes::from(value.clone())], headers, ..Message::default() };
            let read = unfold(message.clone());
            let all: Vec<u8> = read.parts.concat();
            prop_assert_eq!(&all[..], value.as_bytes());
            prop_assert!(read == message || read.headers.is_empty());
        }
    }
}
