//! Bytes of a journal file. The first byte says whether magic and checksums are made to fit, so that the fuzzer gets
//! past them.

use record_log::journal;

/// Bytes of a round's head, and where its fields are; see `journal/frame.rs`.
const HEAD_BYTES: usize = 60;

/// One input.
pub fn run(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let mut bytes = data.to_vec();
    if first & 1 == 1 && fit(&mut bytes).is_none() {
        return;
    }
    let Some(round) = journal::decode(&bytes, 0) else { return };
    assert!(round.size >= HEAD_BYTES);
    for entry in round.entries.iter().filter(|entry| entry.intact) {
        assert!(
            bytes.get(entry.position..entry.position + entry.length).is_some(),
            "what is intact is there"
        );
    }
}

/// Gives the head its magic, version, salt and checksums, and the table a length that is there.
fn fit(bytes: &mut [u8]) -> Option<()> {
    let there = u32::try_from(bytes.len().checked_sub(HEAD_BYTES)?).ok()?;
    bytes.get_mut(..16)?.copy_from_slice(b"PJRD\x01\0\0\0\0\0\0\0\0\0\0\0");
    let wanted = u32::from_be_bytes(bytes.get(36..40)?.try_into().ok()?);
    let table = if wanted > there { wanted % (there + 1) } else { wanted };
    bytes.get_mut(36..40)?.copy_from_slice(&table.to_be_bytes());
    let end = HEAD_BYTES + usize::try_from(table).ok()?;
    let checksum = crc32c::crc32c(bytes.get(HEAD_BYTES..end)?);
    bytes.get_mut(48..52)?.copy_from_slice(&checksum.to_be_bytes());
    let checksum = crc32c::crc32c(bytes.get(..56)?);
    bytes.get_mut(56..60)?.copy_from_slice(&checksum.to_be_bytes());
    Some(())
}

/// A round without entries, and one with an entry of no bytes.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut empty = vec![0; 1 + HEAD_BYTES];
    empty[0] = 1;
    let mut one = empty.clone();
    one[1 + 35] = 1;
    one[1 + 39] = 27;
    one.extend([0, 1, b'f']);
    one.extend([0; 24]);
    vec![empty, one]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the seeds are rounds once they are made to fit: the fuzzer starts behind the checksums.
    #[test]
    fn seeds_are_rounds() {
        let entries = seeds().into_iter().map(|seed| {
            let mut bytes = seed[1..].to_vec();
            fit(&mut bytes).unwrap();
            journal::decode(&bytes, 0).unwrap().entries.len()
        });
        assert_eq!(entries.collect::<Vec<_>>(), [0, 1]);
    }
}
