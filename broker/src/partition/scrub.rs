//! Reading a partition to see whether it is whole. Changes nothing but to tell damage.

use super::Partition;

/// Bytes read at a time.
const STEP_BYTES: usize = 256 * 1024;

/// A look at some batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) next_offset: i64,
    pub(crate) bytes: u64,
}

impl Partition {
    /// Reads some batches from `offset` on and checks them; `None` when there are no more, or the next are damaged,
    /// which is told like to a reader.
    pub(crate) fn scrub(&self, offset: i64) -> Option<Step> {
        let located = match &mut self.lock().log {
            Some(log) => log.locate(offset.max(log.start_offset())),
            None => Ok(None),
        };
        let read = located.and_then(|found| found.map(|found| found.read(STEP_BYTES)).transpose());
        match read {
            Ok(slice) => {
                let slice = slice.filter(|slice| slice.next_offset > offset)?;
                let bytes = u64::try_from(slice.bytes.len()).unwrap_or(u64::MAX);
                Some(Step { next_offset: slice.next_offset, bytes })
            }
            Err(error) => {
                self.met(&error);
                None
            }
        }
    }
}
