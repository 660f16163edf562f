//! Short hashes that go into objects, to tell one content from another: not against anybody who looks for a match.

use sha2::{Digest as _, Sha256};

/// `bytes` of the hash of a text, as hexadecimal digits.
pub(crate) fn hash(text: &str, bytes: usize) -> String {
    Sha256::digest(text).iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: it is the beginning of SHA-256 as everybody writes it.
    #[test]
    fn it_is_the_beginning_of_sha_256() {
        assert_eq!(hash("", 4), "e3b0c442");
        assert_eq!(hash("abc", 2), "ba78");
    }
}
