//! The last offset of each key, in bounded memory: of a key there are 128 bits of its SHA-256, so that nobody can make
//! two keys that look the same.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

/// What a key takes in a table that is growing: the old one and the new one, which is hardly half full then.
const KEY_BYTES: usize = 96;

/// The table.
pub(super) struct Keys {
    newest: HashMap<[u8; 16], i64>,
    keys_max: usize,
}

impl Keys {
    pub(super) fn new(memory_bytes: usize) -> Self {
        Self { newest: HashMap::new(), keys_max: (memory_bytes / KEY_BYTES).max(1) }
    }

    /// To be asked before a batch: all keys of one batch always go in, so that there is progress.
    pub(super) fn is_full(&self) -> bool {
        self.newest.len() >= self.keys_max
    }

    pub(super) fn put(&mut self, key: &[u8], offset: i64) {
        let newest = self.newest.entry(short(key)).or_insert(offset);
        *newest = (*newest).max(offset);
    }

    /// Whether a later record has this key.
    pub(super) fn has_newer(&self, key: &[u8], offset: i64) -> bool {
        self.newest.get(&short(key)).is_some_and(|newest| *newest > offset)
    }
}

fn short(key: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.iter_mut().zip(Sha256::digest(key)).for_each(|(to, from)| *to = from);
    short
}
