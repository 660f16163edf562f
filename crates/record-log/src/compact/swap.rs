//! Putting a compacted file in place of those that it was made of.
//!
//! The rename is the moment: before it, an open finds the old files and an unfinished one; after it, the new one, and
//! removes what is left of the others.

use std::{io, sync::Arc};

use super::{Compacted, unfinished_name};
use crate::{
    error::AppendError,
    index::Index,
    log::Log,
    retention::remove_segment,
    segment::{self, Segment},
    storage::{File, Storage},
};

impl<S: Storage> Log<S> {
    /// Puts compacted segments in place. `false`: those that they were made of are not all there any more, or the log
    /// takes no writes, and nothing was changed.
    ///
    /// # Errors
    /// [`AppendError::Full`] leaves the log as it was; after [`AppendError::Storage`] it takes no more writes.
    pub fn put_compacted(&mut self, compacted: Compacted<S::File>) -> Result<bool, AppendError> {
        let Compacted { sources, header, made } = compacted;
        let is_first = |segment: &Segment<S::File>| {
            sources.first().is_some_and(|source| Arc::ptr_eq(source, &segment.file))
        };
        let found = self.segments.iter().position(is_first).filter(|at| {
            let there = self.segments.iter().skip(*at).zip(&sources);
            there.filter(|(segment, source)| Arc::ptr_eq(&segment.file, source)).count() == sources.len()
        });
        let Some(at) = found.filter(|_| self.read_only.is_none()) else {
            drop(self.storage.remove(&self.path(&unfinished_name(header.base_offset))));
            return Ok(false);
        };
        let Some((file, index)) = made else {
            let segment = self.segments.get_mut(at).expect("it was just found");
            let written = segment.write_header(header);
            return written.map(|()| true).map_err(|source| self.broken(source));
        };
        let base = header.base_offset;
        let (from, to) = (self.path(&unfinished_name(base)), self.path(&segment::file_name(base)));
        match self.storage.rename(&from, &to) {
            Err(source) if source.kind() == io::ErrorKind::StorageFull => {
                return Err(AppendError::Full { folder: self.folder.to_string(), source });
            }
            renamed => renamed.map_err(|source| self.broken(source))?,
        }
        let length = header.synced_position;
        let new = Segment::from_header((file, &self.folder), header, length);
        let old: Vec<i64> =
            self.segments.splice(at..at + sources.len(), [new]).map(|segment| segment.base_offset).collect();
        self.recent_index = None;
        self.settle(at, &old, &index).map_err(|source| self.broken(source))?;
        Ok(true)
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// The new name is made durable, then nobody needs the others.
    fn settle(&self, at: usize, old: &[i64], index: &Index) -> io::Result<()> {
        self.storage.sync_folder(&self.folder)?;
        for base in old.iter().skip(1) {
            remove_segment(&self.storage, &self.folder, *base)?;
        }
        // An index that could not be written is built again when it is needed.
        drop(self.segments.get(at).map(|segment| self.write_index(segment, index)));
        Ok(())
    }

    fn write_index(&self, segment: &Segment<S::File>, index: &Index) -> io::Result<()> {
        let base = segment.base_offset;
        let file = self.storage.open(&self.path(&segment::index_name(base)))?;
        file.truncate(0)?;
        let chunk = index.unsaved(segment.index_mark(), base, segment.position);
        chunk.map_or(Ok(()), |(at, bytes, _)| file.write_at(at, &bytes))
    }
}
