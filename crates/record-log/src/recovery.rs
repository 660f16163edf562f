//! Opening a log after any end of the process before, clean or not. Costs a look at each header page and a walk
//! over what the last one does not vouch for, however much the log has.
//!
//! Bad bytes behind the synced position are a torn write that nobody was told of: they are cut off. What is
//! missing before it, or is not this log's, is damage: the log becomes read-only, its bytes stay, the reason is
//! told. Damage inside of what was synced is found by who reads it.

use std::{io, sync::Arc};

use crate::{
    batch::BatchHeader,
    compact,
    error::OpenError,
    header::{Header, PAGE_LENGTH, Page},
    log::{Log, ReadOnly, Settings, seal},
    redo,
    retention::{self, StoredStart},
    scan::to_u64,
    segment::{self, Segment},
    storage::{File, Storage},
};

/// Bytes that are read and written at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// At most so many bytes of a tail are looked at to tell how much of it was a torn write.
const TAIL_LOOK_BYTES: u64 = 1024 * 1024;

/// What an open found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes of a torn write that were cut off.
    pub truncated_bytes: u64,
    /// Why the log is read-only, when it is.
    pub read_only: Option<String>,
}

/// What every step of an open needs.
struct Opening<'a, S> {
    storage: &'a S,
    folder: &'a Arc<str>,
    now_ms: i64,
    truncated_bytes: u64,
    read_only: Option<ReadOnly>,
}

/// A segment's file and what its page says.
struct Loaded<F> {
    file: F,
    page: Page,
    length: u64,
}

impl<S: Storage> Log<S> {
    /// Opens the log in `folder`, making it when it is not there. `visit` sees the header and the
    /// bytes of each batch behind the position that was written down as synced, in order; [`Log::walk`] shows
    /// those before it.
    ///
    /// # Errors
    /// The storage failed, or no file there is this log's. Other damage is no error: see
    /// [`Recovery::read_only`].
    pub fn open(
        storage: S,
        folder: &str,
        settings: Settings,
        now_ms: i64,
        visit: &mut dyn FnMut(&BatchHeader, &[u8]),
    ) -> Result<(Self, Recovery), OpenError> {
        let (mut log, recovery) = Self::open_for_redo(storage, folder, settings, now_ms, visit)?;
        let failed = |source| OpenError::Storage {
            folder: folder.to_owned(),
            action: "syncing what was found",
            source,
        };
        log.sync_tail().map_err(failed)?;
        Ok((log, recovery))
    }

    /// Like [`Log::open`], but leaves batches that no note vouches for unsynced, and so hidden from readers, until
    /// [`Recovered::redo`](crate::journal::Recovered::redo) has found them in the journal or [`Log::sync_tail`] was
    /// called: a thousand logs need a thousand syncs less.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_for_redo(
        storage: S,
        folder: &str,
        settings: Settings,
        now_ms: i64,
        visit: &mut dyn FnMut(&BatchHeader, &[u8]),
    ) -> Result<(Self, Recovery), OpenError> {
        let failed = |action: &'static str| {
            move |source: io::Error| OpenError::Storage { folder: folder.to_owned(), action, source }
        };
        storage.create_folder(folder).map_err(failed("making the folder"))?;
        let names = storage.list(folder).map_err(failed("listing the folder"))?;
        let start = retention::load_start(&storage, folder, &names).map_err(failed("reading the start"))?;
        let mut bases: Vec<i64> = names.iter().filter_map(|name| segment::parse_name(name)).collect();
        bases.sort_unstable();
        let lost = redo::load_lost(&storage, folder, &names).map_err(failed("reading what is lost"))?;
        let read_only = lost.map(|reason| ReadOnly { reason, heals: false });
        let folder: Arc<str> = Arc::from(folder);
        let mut opening =
            Opening { storage: &storage, folder: &folder, now_ms, truncated_bytes: 0, read_only };
        let start = opening.start(&start);
        let mut segments = opening.segments(&bases, start, visit).map_err(failed("reading a segment"))?;
        if opening.read_only.is_none() {
            compact::remove_unfinished(&storage, &folder, &names);
        }
        if segments.is_empty() {
            if let Some(ReadOnly { reason, .. }) = &opening.read_only
                && !bases.is_empty()
            {
                return Err(OpenError::Damaged { reason: reason.clone() });
            }
            let created = Segment::create(&storage, &folder, start.unwrap_or(0), now_ms);
            segments.push(created.map_err(failed("making the first segment"))?);
            storage.sync_folder(&folder).map_err(failed("syncing the folder"))?;
        }
        let first = segments.first().map_or(0, |segment| segment.base_offset);
        let (truncated_bytes, read_only) = (opening.truncated_bytes, opening.read_only);
        let mut log = Self {
            start_offset: start.unwrap_or(first).max(first),
            folder,
            settings,
            segments,
            read_only,
            known_end: 0,
            recent_index: None,
            storage,
        };
        log.expect_end(log.start_offset);
        // Until then there is nothing to read.
        log.start_offset = log.start_offset.min(log.end_offset());
        let read_only = log.read_only_reason().map(str::to_owned);
        Ok((log, Recovery { truncated_bytes, read_only }))
    }
}

impl<S: Storage> Opening<'_, S> {
    fn damaged(&mut self, base: i64, what: &str) -> String {
        self.read_only_for(base, what, true)
    }

    fn read_only_for(&mut self, base: i64, what: &str, heals: bool) -> String {
        let reason = format!("{}: {what}", self.path(base));
        let known = self.read_only.get_or_insert_with(|| ReadOnly { reason: reason.clone(), heals });
        known.heals &= heals;
        reason
    }

    fn path(&self, base: i64) -> String {
        format!("{}/{}", self.folder, segment::file_name(base))
    }

    fn start(&mut self, stored: &StoredStart) -> Option<i64> {
        match stored {
            StoredStart::Nowhere => None,
            StoredStart::At(offset) => Some(*offset),
            StoredStart::Damaged => {
                let (folder, name) = (self.folder, retention::START_NAME);
                let reason = format!(
                    "{folder}/{name} cannot be read: records that were deleted are there again; delete them once more"
                );
                self.read_only.get_or_insert(ReadOnly { reason, heals: true });
                None
            }
        }
    }

    fn segments(
        &mut self,
        bases: &[i64],
        start: Option<i64>,
        visit: &mut dyn FnMut(&BatchHeader, &[u8]),
    ) -> io::Result<Vec<Segment<S::File>>> {
        let mut segments: Vec<Segment<S::File>> = Vec::with_capacity(bases.len().max(1));
        let mut compacted_end = i64::MIN;
        for (at, base) in bases.iter().enumerate() {
            let loaded = self.load(*base)?;
            if let Page::Foreign(log, offset) = &loaded.page {
                let what =
                    format!("this is the file of {log} from offset {offset} on: put it back to its place");
                self.read_only_for(*base, &what, false);
                continue;
            }
            if *base < compacted_end {
                self.left_over(loaded, *base)?;
                continue;
            }
            if let Page::Own { header, .. } = &loaded.page {
                compacted_end = header.compacted_end().unwrap_or(i64::MIN);
            }
            let segment = match bases.iter().skip(at + 1).find(|next| **next >= compacted_end) {
                // All of it was deleted, and the process ended before its file was.
                Some(next) if start.is_some_and(|start| *next <= start) => {
                    drop(loaded);
                    retention::remove_segment(self.storage, self.folder, *base)?;
                    continue;
                }
                Some(next) => self.sealed(loaded, *base, *next)?,
                None => {
                    let after_sealed = segments.last().is_some_and(|before| before.header.sealed);
                    self.last(loaded, *base, after_sealed, visit)?
                }
            };
            segments.push(segment);
        }
        self.seal_all_but_last(&mut segments)?;
        Ok(segments)
    }

    /// A segment that a compacted one has taken the place of, and the process ended before its file was removed.
    fn left_over(&self, loaded: Loaded<S::File>, base: i64) -> io::Result<()> {
        if self.read_only.is_some() || !matches!(loaded.page, Page::Own { .. }) {
            return Ok(());
        }
        drop(loaded);
        retention::remove_segment(self.storage, self.folder, base)
    }

    /// The process may have ended between making a segment and sealing the one before. Only now: a sealed one says
    /// that the next was made whole.
    fn seal_all_but_last(&self, segments: &mut [Segment<S::File>]) -> io::Result<()> {
        let Some((_, others)) = segments.split_last_mut() else { return Ok(()) };
        if self.read_only.is_some() {
            return Ok(());
        }
        for segment in others.iter_mut().filter(|segment| !segment.header.sealed) {
            seal(segment, self.now_ms)?;
        }
        Ok(())
    }

    fn load(&self, base: i64) -> io::Result<Loaded<S::File>> {
        let file = self.storage.open(&self.path(base))?;
        let mut page = vec![0; usize::try_from(PAGE_LENGTH).unwrap_or_default()];
        let read = file.read_at(0, &mut page)?;
        page.truncate(read);
        let page = Page::read(&page, self.folder, base);
        let length = file.length()?;
        Ok(Loaded { file, page, length })
    }

    /// A segment that is not the last: all of it was synced, and the page says so, before the next one was made.
    fn sealed(&mut self, loaded: Loaded<S::File>, base: i64, next: i64) -> io::Result<Segment<S::File>> {
        let Loaded { file, page, length } = loaded;
        let Page::Own { header, .. } = page else {
            return self.without_page(file, base, length);
        };
        let segment = Segment::from_header((file, self.folder), header, length);
        if segment.end_offset != next {
            let what = format!("the records {} to {} are missing behind it", segment.end_offset, next - 1);
            self.damaged(base, &what);
        }
        self.check_length(&segment, length);
        Ok(segment)
    }

    fn check_length(&mut self, segment: &Segment<S::File>, length: u64) {
        if let Some(missing) = segment.position.checked_sub(length).filter(|missing| *missing > 0) {
            let what = format!("{missing} bytes are missing at its end, before the position that was synced");
            self.damaged(segment.base_offset, &what);
        }
    }

    /// What can be read without a page, which nobody may add to.
    fn without_page(&mut self, file: S::File, base: i64, length: u64) -> io::Result<Segment<S::File>> {
        let reason = self.damaged(base, "both header slots are unreadable");
        let mut segment = Segment::from_header((file, self.folder), Header::new(base, self.now_ms), length);
        segment.rebuild()?;
        segment.stored();
        segment.damage = Some(reason);
        Ok(segment)
    }

    fn last(
        &mut self,
        loaded: Loaded<S::File>,
        base: i64,
        after_sealed: bool,
        visit: &mut dyn FnMut(&BatchHeader, &[u8]),
    ) -> io::Result<Segment<S::File>> {
        let Loaded { file, page, length } = loaded;
        let being_made = match &page {
            Page::Own { header, .. } => length < PAGE_LENGTH && header.sequence == 0,
            _ => length <= PAGE_LENGTH,
        };
        if being_made && !after_sealed {
            // Nothing can have been in it, or the one before would have been sealed.
            drop(file);
            let segment = Segment::create(self.storage, self.folder, base, self.now_ms)?;
            self.storage.sync_folder(self.folder)?;
            return Ok(segment);
        }
        let Page::Own { header, half } = page else {
            return self.without_page(file, base, length);
        };
        let mut segment = Segment::from_header((file, self.folder), header, length);
        if header.sealed {
            self.damaged(base, "the file behind it is missing");
            return Ok(segment);
        }
        if length < segment.position {
            self.check_length(&segment, length);
            if length < PAGE_LENGTH {
                // A slot that said more may be gone too.
                segment.damage = self.read_only.as_ref().map(|it| it.reason.clone());
            }
            return Ok(segment);
        }
        segment.extend(visit)?;
        // Whole batches that nobody may have been told of are kept, and can be read once they are synced.
        self.cut_tail(&mut segment, half)?;
        write_again(&*segment.file, header.synced_position, segment.position)?;
        Ok(segment)
    }

    /// Cuts off what comes behind the last whole batch. No sync: the next one makes it so for good.
    fn cut_tail(&mut self, segment: &mut Segment<S::File>, half: bool) -> io::Result<()> {
        let tail = segment.allocated.saturating_sub(segment.position);
        if tail == 0 {
            return Ok(());
        }
        let torn = significant(&*segment.file, segment.position, tail.min(TAIL_LOOK_BYTES))?;
        if torn > 0 && half {
            // The slot that is lost may have said that these bytes were synced.
            let position = segment.position;
            let what =
                format!("half of the header page is lost, and so may be records at position {position}");
            segment.damage = Some(self.damaged(segment.base_offset, &what));
            return Ok(());
        }
        self.truncated_bytes += torn;
        segment.file.truncate(segment.position)?;
        segment.allocated = segment.position;
        Ok(())
    }
}

/// Writes what is there once more. After a sync that failed, a page cache gives bytes back that are not on the disk and
/// that no later sync would write; a process that was killed then leaves them to the next one.
fn write_again<F: File>(file: &F, mut from: u64, to: u64) -> io::Result<()> {
    let size = |left: u64| usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
    let mut buffer = vec![0; size(to.saturating_sub(from))];
    while from < to {
        let chunk = buffer.get_mut(..size(to - from)).unwrap_or_default();
        let read = file.read_at(from, chunk)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(from, chunk.get(..read).unwrap_or_default())?;
        from += to_u64(read);
    }
    Ok(())
}

/// How many of the `tail` bytes are not just reserved space: those up to the last that is not zero.
fn significant<F: File>(file: &F, position: u64, tail: u64) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let (mut done, mut last) = (0, 0);
    while done < tail {
        let read = file.read_at(position + done, &mut buffer)?;
        if read == 0 {
            break;
        }
        if let Some(at) = buffer.iter().take(read).rposition(|byte| *byte != 0) {
            last = done + to_u64(at) + 1;
        }
        done += to_u64(read);
    }
    Ok(last)
}
