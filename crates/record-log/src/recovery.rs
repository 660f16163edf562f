//! Opening a log after any end of the process before, clean or not.
//!
//! Bad bytes behind the synced position are a torn write that nobody was told of: they are cut off.
//! Bad bytes before it are damage: the log becomes read-only, its bytes stay, the reason is told.

use std::io;

use crate::{
    batch::BatchHeader,
    error::OpenError,
    header::{Header, PAGE_LENGTH},
    log::{Log, Settings, seal},
    redo, retention,
    scan::to_u64,
    segment::{self, Segment},
    storage::{File, Storage},
};

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
    folder: &'a str,
    now_ms: i64,
    recovery: Recovery,
}

impl<S: Storage> Log<S> {
    /// Opens the log in `folder`, making it when it is not there. `visit` sees the header and the
    /// bytes of each batch in the last segment, in order.
    ///
    /// # Errors
    /// The storage failed. Damage is no error: see [`Recovery::read_only`].
    pub fn open(
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
        let mut bases: Vec<i64> = names.iter().filter_map(|name| segment::parse_name(name)).collect();
        bases.sort_unstable();
        let stored_start = retention::load_start(&storage, folder).map_err(failed("reading the start"))?;
        let lost = redo::load_lost(&storage, folder, &names).map_err(failed("reading what is lost"))?;
        let recovery = Recovery { truncated_bytes: 0, read_only: lost };
        let mut opening = Opening { storage: &storage, folder, now_ms, recovery };
        let mut segments = Vec::with_capacity(bases.len().max(1));
        if let Some((last, sealed)) = bases.split_last() {
            for (at, base) in sealed.iter().enumerate() {
                let next = bases.get(at + 1).copied().unwrap_or(*last);
                let segment = opening.sealed(*base, next).map_err(failed("reading a sealed segment"))?;
                segments.push(segment);
            }
            segments.push(opening.last(*last, visit).map_err(failed("recovering the last segment"))?);
        } else {
            let first = stored_start.unwrap_or(0);
            let created = Segment::create(&storage, folder, first, now_ms);
            segments.push(created.map_err(failed("making the first segment"))?);
            storage.sync_folder(folder).map_err(failed("syncing the folder"))?;
        }
        let recovery = opening.recovery;
        let first = segments.first().map_or(0, |segment| segment.base_offset);
        let log = Self {
            start_offset: stored_start.unwrap_or(first).max(first),
            folder: folder.to_owned(),
            settings,
            segments,
            read_only: recovery.read_only.clone(),
            recent_index: None,
            storage,
        };
        Ok((log, recovery))
    }
}

impl<S: Storage> Opening<'_, S> {
    fn damaged(&mut self, base: i64, what: &str) {
        let path = format!("{}/{}", self.folder, segment::file_name(base));
        self.recovery.read_only.get_or_insert_with(|| format!("{path}: {what}"));
    }

    fn load(&self, base: i64) -> io::Result<(S::File, Option<Header>, u64)> {
        let file = self.storage.open(&format!("{}/{}", self.folder, segment::file_name(base)))?;
        let mut page = vec![0; usize::try_from(PAGE_LENGTH).unwrap_or_default()];
        let read = file.read_at(0, &mut page)?;
        page.truncate(read);
        let header = Header::newest(&page).filter(|header| header.base_offset == base);
        let length = file.length()?;
        Ok((file, header, length))
    }

    /// A segment that is not the last: all of it was synced before the next one was made.
    fn sealed(&mut self, base: i64, next: i64) -> io::Result<Segment<S::File>> {
        let (file, header, length) = self.load(base)?;
        let Some(header) = header else {
            self.damaged(base, "both header slots are unreadable");
            let mut segment = Segment::from_header(file, Header::new(base, self.now_ms), length);
            segment.rebuild(&mut |_, _| ())?;
            return Ok(trusted(segment));
        };
        let mut segment = Segment::from_header(file, header, length);
        if !header.sealed {
            // The process ended between making the next segment and sealing this one.
            let damage = segment.rebuild(&mut |_, _| ())?;
            segment = trusted(segment);
            if damage.is_none() && segment.end_offset == next {
                segment.sync_all()?;
                seal(&mut segment, self.now_ms)?;
            }
        }
        if segment.end_offset != next {
            let what = format!("records {} to {} are missing behind it", segment.end_offset, next - 1);
            self.damaged(base, &what);
        }
        if length < segment.position {
            let what = format!("{} bytes are missing at its end", segment.position - length);
            self.damaged(base, &what);
        }
        Ok(segment)
    }

    fn last(
        &mut self,
        base: i64,
        visit: &mut dyn FnMut(&BatchHeader, &[u8]),
    ) -> io::Result<Segment<S::File>> {
        let (file, header, length) = self.load(base)?;
        let Some(header) = header else {
            if length <= PAGE_LENGTH {
                // It was being made: nothing can have been in it.
                drop(file);
                let segment = Segment::create(self.storage, self.folder, base, self.now_ms)?;
                self.storage.sync_folder(self.folder)?;
                return Ok(segment);
            }
            self.damaged(base, "both header slots are unreadable");
            let mut segment = Segment::from_header(file, Header::new(base, self.now_ms), length);
            segment.rebuild(visit)?;
            return Ok(trusted(segment));
        };
        let mut segment = Segment::from_header(file, header, length);
        let damage = segment.rebuild(visit)?;
        if let Some(position) = damage {
            let synced = header.synced_position;
            let what = format!("damaged at position {position}, before the synced position {synced}");
            self.damaged(base, &what);
            segment.end_offset = segment.end_offset.max(header.synced_offset);
            segment.position = segment.position.max(synced.min(length));
            return Ok(trusted(segment));
        }
        let tail = length.saturating_sub(segment.position);
        if tail > 0 {
            self.recovery.truncated_bytes += significant(&*segment.file, segment.position, tail)?;
            segment.file.truncate(segment.position)?;
            segment.allocated = segment.position;
        }
        if tail > 0 || segment.position > header.synced_position {
            segment.sync_all()?;
        }
        Ok(trusted(segment))
    }
}

/// What a rebuild found counts as synced.
fn trusted<F>(mut segment: Segment<F>) -> Segment<F> {
    segment.stored();
    segment
}

/// How many of the `tail` bytes are not just reserved space: those up to the last that is not zero.
fn significant<F: File>(file: &F, position: u64, tail: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 64 * 1024];
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
