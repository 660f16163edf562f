//! Entries of the broker's own table. What decodes encodes to the same.

use bytes::Bytes;

#[path = "../../broker/src/store/entry.rs"]
mod entry;

/// One input.
pub fn run(data: &[u8]) {
    let Some(changes) = entry::decode(Bytes::copy_from_slice(data)) else { return };
    let again = entry::decode(Bytes::from(entry::encode(&changes)));
    assert_eq!(again, Some(changes));
}

/// A change and a removal.
pub fn seeds() -> Vec<Vec<u8>> {
    let value = Some(Bytes::from_static(b"{}"));
    vec![entry::encode(&[]), entry::encode(&[("topic/a".to_owned(), value), ("group/b".to_owned(), None)])]
}
