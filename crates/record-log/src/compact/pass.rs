//! One compaction, in steps: first the keys of what is new, as many as there is memory for, then each group of
//! segments up to there anew. The caller rests between the steps, and puts in place what they finish.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    CompactError, Compacted, Done, Limits, Policy, STEP_BYTES, Sealed, Writers,
    fate::{Fate, Judge, Open, records},
    keys::Keys,
    rewrite::{Cursor, Output, Rewrite},
};
use crate::{
    batch::BatchHeader,
    log::Log,
    scan::{Scan, to_u64},
    storage::{File, Storage},
};

/// More offsets than the index of a segment can tell apart.
const GROUP_OFFSETS_MAX: i64 = i32::MAX as i64;

/// What a step came to.
pub enum Step<F> {
    /// There is more to do.
    Working,
    /// These segments are done: they are to be put in place before the next step.
    Finished(Compacted<F>),
    /// All is done.
    Done(Done),
}

/// A compaction that is under way. Dropping it leaves the log as it is.
pub struct Pass<S: Storage> {
    storage: S,
    folder: Arc<str>,
    segment_bytes: u64,
    segments: Vec<Sealed<S::File>>,
    judge: Judge,
    open: Open,
    /// Where keys are taken from next; `None` once all are there.
    keys_at: Option<Cursor>,
    /// Groups of segments that are still to be written anew.
    left: VecDeque<Range<usize>>,
    current: Option<Rewrite<S::File>>,
    /// Below this offset an earlier compaction has left one record of each key.
    dirty_from: i64,
    done: Done,
}

impl<S: Storage> Log<S> {
    /// Begins to compact what `limits` and `policy` allow; `None` when there is nothing.
    #[must_use]
    pub fn begin_compaction(
        &self,
        limits: Limits,
        policy: &Policy,
        writers: Writers,
        now_ms: i64,
    ) -> Option<Pass<S>> {
        if self.read_only.is_some() {
            return None;
        }
        let segments = self.compactable(limits.stable_offset, policy, now_ms);
        let end = segments.last()?.end_offset();
        let is_clean = |segment: &&Sealed<S::File>| segment.header.clean_offset >= segment.end_offset();
        let first_dirty = segments.iter().take_while(is_clean).count();
        let dirty_from = segments.get(first_dirty).map_or(end, |segment| segment.header.clean_offset);
        let keys = Keys::new(limits.key_memory_bytes);
        let mut judge = Judge::new(writers, keys, (now_ms, policy.delete_retention_ms));
        judge.clean_offset = dirty_from;
        Some(Pass {
            storage: self.storage.clone(),
            folder: Arc::clone(&self.folder),
            segment_bytes: self.settings.segment_bytes,
            keys_at: Some(Cursor::start(&segments, first_dirty)),
            left: VecDeque::new(),
            current: None,
            segments,
            judge,
            open: Open::default(),
            dirty_from,
            done: Done::default(),
        })
    }
}

impl<S: Storage> Pass<S> {
    /// What was done so far.
    #[must_use]
    pub fn so_far(&self) -> Done {
        Done {
            clean_offset: self.judge.clean_offset,
            keyless_records: self.judge.keyless_records,
            ..self.done
        }
    }

    /// Does the next piece of work. Blocks on the storage.
    ///
    /// # Errors
    /// See [`CompactError`]; the pass is of no more use then.
    pub fn step(&mut self) -> Result<Step<S::File>, CompactError> {
        if let Some(cursor) = self.keys_at {
            return self.take_keys(cursor);
        }
        match self.current.take() {
            Some(rewrite) => self.rewrite(rewrite),
            None => self.next_group(),
        }
    }

    /// Takes in keys. When the table is full, what is compacted ends there.
    fn take_keys(&mut self, mut cursor: Cursor) -> Result<Step<S::File>, CompactError> {
        let Some(segment) = self.segments.get(cursor.segment) else { return Ok(self.all_keys()) };
        let batches = next_batches(segment, &mut cursor)?;
        let (end, is_over) = (segment.end_offset(), cursor.position >= segment.header.synced_position);
        for (header, bytes) in &batches {
            self.done.read_bytes += to_u64(bytes.len());
            if header.next_offset() <= self.dirty_from {
                continue;
            }
            if self.judge.keys.is_full() {
                return Ok(self.all_keys());
            }
            if !header.is_control() && !self.judge.is_aborted(header) {
                for record in records(header, bytes)? {
                    let offset = header.base_offset;
                    let record = record.map_err(|source| CompactError::Records { offset, source })?;
                    if let Some(key) = &record.key {
                        self.judge.keys.put(key, record.offset);
                    }
                }
            }
            self.judge.clean_offset = header.next_offset();
        }
        if is_over {
            self.judge.clean_offset = self.judge.clean_offset.max(end);
            cursor = Cursor::start(&self.segments, cursor.segment + 1);
        }
        self.keys_at = Some(cursor);
        Ok(Step::Working)
    }

    fn all_keys(&mut self) -> Step<S::File> {
        self.keys_at = None;
        self.left = self.groups();
        Step::Working
    }

    /// Segments side by side that fit into one, by what they have now.
    fn groups(&self) -> VecDeque<Range<usize>> {
        let mut groups: VecDeque<Range<usize>> = VecDeque::new();
        let (mut bytes, mut from) = (0_u64, 0);
        for (at, segment) in self.segments.iter().enumerate() {
            if segment.header.base_offset >= self.judge.clean_offset {
                break;
            }
            let together = bytes.saturating_add(segment.size());
            let offsets = segment.end_offset().saturating_sub(from);
            match groups.back_mut() {
                Some(group) if together <= self.segment_bytes && offsets <= GROUP_OFFSETS_MAX => {
                    group.end = at + 1;
                    bytes = together;
                }
                _ => {
                    groups.push_back(at..at + 1);
                    (bytes, from) = (segment.size(), segment.header.base_offset);
                }
            }
        }
        groups
    }

    fn next_group(&mut self) -> Result<Step<S::File>, CompactError> {
        let Some(range) = self.left.pop_front() else { return Ok(Step::Done(self.so_far())) };
        let several = range.len() > 1;
        self.current = Some(self.begin(range, several)?);
        Ok(Step::Working)
    }

    fn begin(&self, range: Range<usize>, writes: bool) -> Result<Rewrite<S::File>, CompactError> {
        let cursor = Cursor::start(&self.segments, range.start);
        let create = || Output::create(&self.storage, &self.folder, cursor.offset);
        let output = writes.then(create).transpose();
        let output = output.map_err(|source| CompactError::Storage { segment: cursor.offset, source })?;
        Ok(Rewrite { range, cursor, open: self.open.clone(), output, horizon_ms: i64::MAX })
    }

    /// Takes the group that is being written further.
    fn rewrite(&mut self, mut rewrite: Rewrite<S::File>) -> Result<Step<S::File>, CompactError> {
        if rewrite.cursor.segment >= rewrite.range.end {
            let (clean_offset, folder) = (self.judge.clean_offset, Arc::clone(&self.folder));
            return rewrite.finish(&self.segments, clean_offset, &folder).map(Step::Finished);
        }
        if !self.copy(&mut rewrite)? {
            // Something is to change in what was only looked at: from its beginning again, this time with a file.
            self.open = rewrite.open.clone();
            rewrite = self.begin(rewrite.range, true)?;
        }
        self.current = Some(rewrite);
        Ok(Step::Working)
    }

    /// Judges the next batches of a group and writes what stays. `false`: there is no file to write to and should be.
    fn copy(&mut self, rewrite: &mut Rewrite<S::File>) -> Result<bool, CompactError> {
        let segment = self.segments.get(rewrite.cursor.segment).expect("the group is of these segments");
        let failed = |source| CompactError::Storage { segment: segment.header.base_offset, source };
        let batches = next_batches(segment, &mut rewrite.cursor)?;
        let is_over = rewrite.cursor.position >= segment.header.synced_position;
        let is_last_segment = rewrite.cursor.segment + 1 == rewrite.range.end;
        for (header, bytes) in &batches {
            self.done.read_bytes += to_u64(bytes.len());
            let is_last = is_last_segment && header.next_offset() >= segment.end_offset();
            let verdict = self.judge.judge((header, bytes), &mut self.open, is_last)?;
            rewrite.horizon_ms = rewrite.horizon_ms.min(verdict.horizon_ms.unwrap_or(i64::MAX));
            let Some(output) = &mut rewrite.output else {
                if verdict.fate == Fate::Same {
                    continue;
                }
                return Ok(false);
            };
            let (header, bytes) = match &verdict.fate {
                Fate::Same => (*header, bytes),
                Fate::Changed(made) => {
                    let broken = || failed(std::io::ErrorKind::InvalidData.into());
                    (crate::batch::header(made).ok_or_else(broken)?, made)
                }
                Fate::Gone => continue,
            };
            output.push(&header, bytes).map_err(failed)?;
            self.done.written_bytes += to_u64(bytes.len());
        }
        if is_over {
            rewrite.cursor = Cursor::start(&self.segments, rewrite.cursor.segment + 1);
        }
        Ok(true)
    }
}

/// The next batches of a segment, each whole; the cursor goes behind them.
fn next_batches<F: File>(
    segment: &Sealed<F>,
    cursor: &mut Cursor,
) -> Result<Vec<(BatchHeader, Bytes)>, CompactError> {
    let header = &segment.header;
    let scan = Scan {
        file: &*segment.file,
        position: cursor.position,
        offset: cursor.offset,
        limit: header.synced_position,
        sparse: header.sparse,
    };
    let (mut found, mut bytes) = (Vec::new(), 0);
    let stopped = scan.run(&mut |met| {
        if !met.intact || bytes >= STEP_BYTES {
            return std::ops::ControlFlow::Break(());
        }
        bytes += met.bytes.len();
        found.push((met.header, Bytes::copy_from_slice(met.bytes)));
        std::ops::ControlFlow::Continue(())
    });
    let stopped = stopped.map_err(|source| CompactError::Storage { segment: header.base_offset, source })?;
    let Some((last, _)) = found.last() else {
        return Err(CompactError::Damaged { segment: header.base_offset, position: stopped });
    };
    cursor.position = stopped;
    cursor.offset = last.next_offset();
    Ok(found)
}
