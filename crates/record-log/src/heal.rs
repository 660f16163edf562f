//! Taking a log back into service after its damaged records were deleted on request.
//!
//! Nothing is healed that was not looked at: what is left is read and checked first, and offsets that were given
//! out once are not given out again.

use std::io;

use crate::{
    error::AppendError,
    log::{Log, seal},
    storage::{File, Storage, is_full},
};

/// More offsets than a segment has.
const SEGMENT_OFFSETS: i64 = i32::MAX as i64;

impl<S: Storage> Log<S> {
    /// Takes writes again if no damage is left behind the start offset. Damage that is left stays told.
    pub(crate) fn heal(&mut self, now_ms: i64) -> Result<(), AppendError> {
        if self.start_offset >= self.end_offset() {
            self.start_anew(now_ms)?;
        } else if let Err(reason) = self.look_again() {
            if let Some(known) = &mut self.read_only {
                known.reason = reason;
            }
            return Ok(());
        } else if let Err(source) = self.write_pages(now_ms) {
            return Err(self.broken(source));
        }
        self.read_only = None;
        Ok(())
    }

    /// Everything was deleted: a new segment, behind all offsets that are known to have been given out.
    fn start_anew(&mut self, now_ms: i64) -> Result<(), AppendError> {
        let mut base_offset = self.end_offset().max(self.known_end).max(self.start_offset);
        if self.active().damage.is_some() || self.active().header.sealed {
            // Nobody knows how many records are lost: a gap in the offsets harms nobody.
            base_offset = base_offset.saturating_add(SEGMENT_OFFSETS);
        }
        // First the start: a crash between the two leaves a log that says what it lacks.
        self.move_start(base_offset)?;
        match self.create_next(base_offset, now_ms) {
            Ok(next) if next.base_offset == self.active().base_offset => *self.active_mut() = next,
            Ok(next) => self.segments.push(next),
            Err(source) if is_full(&source) => {
                return Err(AppendError::Full { folder: self.folder.to_string(), source });
            }
            Err(source) => return Err(self.broken(source)),
        }
        self.recent_index = None;
        self.remove_oldest(self.segments.len() - 1)
    }

    /// Reads all that is left.
    fn look_again(&mut self) -> Result<(), String> {
        if self.end_offset() < self.known_end {
            let (folder, end, known) = (&self.folder, self.end_offset(), self.known_end);
            return Err(format!("the records {end} to {} of {folder} are missing", known - 1));
        }
        if let Some(reason) = &self.active().damage {
            return Err(format!(
                "{reason}; records behind it may be lost: only deleting all records heals this"
            ));
        }
        if self.active().header.sealed {
            let folder = &self.folder;
            return Err(format!(
                "the last file of {folder} is missing: only deleting all records heals this"
            ));
        }
        self.recent_index = None;
        self.walk(self.start_offset, &mut |_, _| ()).map_err(|error| error.to_string())
    }

    /// Writes the header pages that could not be read, now that what is behind them was.
    fn write_pages(&mut self, now_ms: i64) -> io::Result<()> {
        for segment in &mut self.segments {
            if segment.damage.take().is_some() {
                segment.file.sync()?;
                seal(segment, now_ms)?;
            }
        }
        Ok(())
    }
}
