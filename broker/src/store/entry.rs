//! The entries of the broker's own table as bytes. Pure: the fuzzer compiles this file by itself.

use bytes::{Buf, BufMut, Bytes};

/// Version of the entries' form.
const VERSION: u8 = 1;

/// A change: the key, and its new value or `None` to remove it.
pub(crate) type Change = (String, Option<Bytes>);

/// Changes as one entry of the table's log.
pub(crate) fn encode(changes: &[Change]) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut bytes = vec![VERSION];
    for (key, value) in changes {
        bytes.put_u32(length(key.as_bytes()));
        bytes.put_slice(key.as_bytes());
        bytes.put_u8(u8::from(value.is_some()));
        if let Some(value) = value {
            bytes.put_u32(length(value));
            bytes.put_slice(value);
        }
    }
    bytes
}

/// The changes of an entry; `None` when it is not one, or of a newer version.
pub(crate) fn decode(mut bytes: Bytes) -> Option<Vec<Change>> {
    if bytes.try_get_u8().ok()? != VERSION {
        return None;
    }
    let mut changes = Vec::new();
    while bytes.has_remaining() {
        let key = String::from_utf8(take(&mut bytes)?.to_vec()).ok()?;
        let value = if bytes.try_get_u8().ok()? == 1 { Some(take(&mut bytes)?) } else { None };
        changes.push((key, value));
    }
    Some(changes)
}

fn take(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
    // A slice of the batch would keep all of it in memory.
    (length <= bytes.len()).then(|| Bytes::copy_from_slice(&bytes.split_to(length)))
}
