//! Bytes of a journal file. The first byte says whether the checksums are made to fit, so that the fuzzer gets past
//! them. No length in them makes more memory than they are.

use record_log::journal;

/// Bytes of a round's head, and where its parts are; see `journal/frame.rs`.
const HEAD_BYTES: usize = 64;

/// One input.
pub fn run(data: &[u8]) {
    let Some((_, data)) = data.split_first() else { return };
    for salt in [0, 1] {
        if let Some(round) = journal::decode(data, salt) {
            assert!(round.size >= HEAD_BYTES.min(round.size));
            for entry in &round.entries {
                // Whole entries lie within the bytes.
                if entry.intact {
                    assert!(data.get(entry.position..entry.position + entry.length).is_some());
                }
            }
        }
    }
}

/// A few bytes of no meaning.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![vec![0; 80]]
}
