//! A stream of bytes from an engine → what it says. Pure. Whatever comes, it holds no more than one line.

use super::Health;
use serde::Deserialize;

/// Longest line. Engines of later versions may say more than this one.
pub(super) const LINE_BYTES_MAX: usize = 4096;

/// Why a line cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It does not end.
    #[error("a line has more than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// It is not JSON, or says not all that it should.
    #[error("a line does not say how the engine is")]
    Malformed,
    /// No disk has this size.
    #[error("a line tells a size that cannot be")]
    Size,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Storage {
    capacity_bytes: u64,
    used_bytes: u64,
}

/// As the engine writes it; what is unknown is for later versions of us.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    storage: Storage,
    disk_nearly_full: bool,
    read_only_partitions: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The line that has not ended.
    rest: Vec<u8>,
}

impl Decoder {
    /// The newest of what these bytes say with those before them; `None` when no line ended. A line replaces those before
    /// it, but each must be readable. After an error it is of no use.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<Option<Health>, LineError> {
        let mut newest = None;
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            self.hold(line)?;
            let line = std::mem::take(&mut self.rest);
            if !line.is_empty() {
                newest = Some(decode(&line)?);
            }
        }
        self.hold(bytes)?;
        Ok(newest)
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), LineError> {
        if self.rest.len().saturating_add(bytes.len()) > LINE_BYTES_MAX {
            return Err(LineError::TooLong);
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.rest.len()
    }
}

fn decode(line: &[u8]) -> Result<Health, LineError> {
    let line: Line = serde_json::from_slice(line).map_err(|_| LineError::Malformed)?;
    let Storage { capacity_bytes, used_bytes } = line.storage;
    // Quantities of Kubernetes have 63 bits.
    if i64::try_from(capacity_bytes).is_err() || used_bytes > capacity_bytes {
        return Err(LineError::Size);
    }
    let (disk_nearly_full, read_only_partitions) = (line.disk_nearly_full, line.read_only_partitions);
    Ok(Health { capacity_bytes, used_bytes, disk_nearly_full, read_only_partitions })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the broker's own test has it.
    const LINE: &str = r#"{"storage":{"capacityBytes":10000,"usedBytes":5000},"diskNearlyFull":false,"readOnlyPartitions":0}"#;

    fn known() -> Health {
        Health { capacity_bytes: 10_000, used_bytes: 5_000, disk_nearly_full: false, read_only_partitions: 0 }
    }

    /// Goal: a line of an engine is read however it is cut, also with more in it than we know; of several the last counts;
    /// an empty one says nothing.
    #[test]
    fn lines_are_read_however_they_are_cut() {
        for cut in 0..=LINE.len() {
            let mut decoder = Decoder::default();
            let (first, second) = LINE.split_at(cut);
            assert_eq!(decoder.feed(first.as_bytes()), Ok(None));
            assert_eq!(decoder.feed(format!("{second}\n").as_bytes()), Ok(Some(known())), "cut at {cut}");
            assert_eq!((decoder.feed(b"\n\r\n"), decoder.held()), (Err(LineError::Malformed), 0));
        }
        let later = LINE.replace("5000", "6000").replace('}', r#","more":{"x":[1]}}"#);
        let both = format!("{LINE}\n\n{later}\n{}", "{");
        let mut decoder = Decoder::default();
        assert_eq!(decoder.feed(both.as_bytes()), Ok(Some(Health { used_bytes: 6_000, ..known() })));
        assert_eq!(decoder.held(), 1);
    }

    /// Goal: what no engine says is refused: other JSON, sizes that cannot be, numbers of another sort, lines without end.
    #[test]
    fn what_no_engine_says_is_refused() {
        for (line, why) in [
            ("no".to_owned(), LineError::Malformed),
            ("[]".to_owned(), LineError::Malformed),
            ("{}".to_owned(), LineError::Malformed),
            ("\u{0}".to_owned(), LineError::Malformed),
            ("[".repeat(LINE_BYTES_MAX), LineError::Malformed),
            (LINE.replace("5000", "-1"), LineError::Malformed),
            (LINE.replace("5000", "1.5"), LineError::Malformed),
            (LINE.replace("5000", "1e999"), LineError::Malformed),
            (LINE.replace("10000", "99999999999999999999"), LineError::Malformed),
            (LINE.replace("false", "\"false\""), LineError::Malformed),
            (LINE.replace("\"diskNearlyFull\":false,", ""), LineError::Malformed),
            (format!("{LINE}{LINE}"), LineError::Malformed),
            (LINE.replace("5000", "10001"), LineError::Size),
            (LINE.replace("10000", &u64::MAX.to_string()), LineError::Size),
            ("x".repeat(LINE_BYTES_MAX + 1), LineError::TooLong),
        ] {
            assert_eq!(Decoder::default().feed(format!("{line}\n").as_bytes()), Err(why), "{line}");
        }
        let mut endless = Decoder::default();
        let outcome = (0..1000).find_map(|_| endless.feed(&[b' '; 100]).err());
        assert_eq!(outcome, Some(LineError::TooLong));
        assert!(endless.held() <= LINE_BYTES_MAX);
    }

    proptest! {
        /// Goal: what an engine says comes through in pieces of any size.
        #[test]
        fn round_trip(sizes in (0..=i64::MAX as u64, any::<u64>()), flags in (any::<bool>(), any::<u64>()), piece in 1_usize..200) {
            let (capacity, used) = (sizes.0, sizes.1 % sizes.0.saturating_add(1));
            let line = serde_json::json!({
                "storage": {"capacityBytes": capacity, "usedBytes": used},
                "diskNearlyFull": flags.0, "readOnlyPartitions": flags.1,
            });
            let (mut decoder, mut heard) = (Decoder::default(), None);
            for bytes in format!("{line}\n").as_bytes().chunks(piece) {
                heard = decoder.feed(bytes).unwrap().or(heard);
            }
            let said = Health {
                capacity_bytes: capacity, used_bytes: used, disk_nearly_full: flags.0, read_only_partitions: flags.1,
            };
            prop_assert_eq!(heard, Some(said));
        }

        /// Goal: no bytes panic or are held beyond a line, whatever was fed before.
        #[test]
        fn hostile_bytes(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..12), line in any::<bool>()) {
            let mut decoder = Decoder::default();
            for piece in pieces {
                let piece = if line { [LINE.as_bytes(), b"\n", &piece].concat() } else { piece };
                if decoder.feed(&piece).is_err() {
                    break;
                }
                prop_assert!(decoder.held() <= LINE_BYTES_MAX);
            }
        }
    }
}
