//! Letting go of old records: by age, by size, on request. Only whole segments give space back.

use std::io;

use bytes::{Buf, BufMut};

use crate::{
    error::AppendError,
    log::Log,
    segment::{self, Segment},
    storage::{File, Storage, is_full},
};

/// Holds the start offset once records were deleted on request.
pub(crate) const START_NAME: &str = "start";
const START_PREFIX: &[u8; 8] = b"PSTA\x02\0\0\0";
/// Prefix, offset, checksum of the log's folder, checksum.
const START_LENGTH: usize = 24;

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Milliseconds that a record is kept for at least; `None` is for ever.
    pub time_ms: Option<i64>,
    /// Bytes of batches that are kept at least; `None` is all.
    pub bytes: Option<u64>,
}

impl<S: Storage> Log<S> {
    /// Whether all records of the last segment are too old, so that it should be sealed and let go.
    #[must_use]
    pub fn is_expired(&self, retention: Retention, now_ms: i64) -> bool {
        let active = self.active();
        !active.is_empty() && too_old(active, retention, now_ms)
    }

    /// Removes the sealed segments that the limits do not keep; says how many.
    ///
    /// # Errors
    /// The storage failed; the log takes no more writes then.
    pub fn expire(&mut self, retention: Retention, now_ms: i64) -> Result<usize, AppendError> {
        self.writable()?;
        let mut size = self.size();
        let mut count = 0;
        for segment in self.segments.iter().take(self.segments.len() - 1) {
            let too_large = retention.bytes.is_some_and(|bytes| size.saturating_sub(segment.size()) >= bytes);
            if !too_large && !too_old(segment, retention, now_ms) {
                break;
            }
            size = size.saturating_sub(segment.size());
            count += 1;
        }
        self.remove_oldest(count)?;
        Ok(count)
    }

    /// Deletes the records before `offset`, which is cut to what the log has; says where the log starts now.
    /// When that leaves nothing damaged, the log takes writes again.
    ///
    /// # Errors
    /// The storage failed; the log takes no more writes then unless it was for want of space.
    pub fn delete_before(&mut self, offset: i64, now_ms: i64) -> Result<i64, AppendError> {
        let damaged = self.read_only.as_ref().is_some_and(|it| it.heals);
        if !damaged {
            self.writable()?;
        }
        let offset = offset.min(self.synced_offset()).max(self.start_offset);
        if offset <= self.start_offset && !damaged {
            return Ok(self.start_offset);
        }
        self.move_start(offset)?;
        let gone = self.segments.iter().take(self.segments.len() - 1);
        let count = gone.take_while(|segment| segment.end_offset <= offset).count();
        self.remove_oldest(count)?;
        if damaged {
            self.heal(now_ms)?;
        }
        Ok(self.start_offset)
    }

    pub(crate) fn move_start(&mut self, offset: i64) -> Result<(), AppendError> {
        if let Err(source) = store_start(&self.storage, &self.folder, offset) {
            if is_full(&source) {
                return Err(AppendError::Full { folder: self.folder.to_string(), source });
            }
            return Err(self.broken(source));
        }
        self.start_offset = offset;
        Ok(())
    }

    /// Removes all sealed segments. For a log whose last segment repeats what still counts of the others.
    ///
    /// # Errors
    /// The storage failed; the log takes no more writes then.
    pub fn keep_last_segment(&mut self) -> Result<(), AppendError> {
        self.writable()?;
        self.remove_oldest(self.segments.len() - 1)
    }

    /// One by one, and each durably, so that what is left never has a hole.
    pub(crate) fn remove_oldest(&mut self, count: usize) -> Result<(), AppendError> {
        for _ in 0..count {
            let base = self.segments.first().map_or(0, |segment| segment.base_offset);
            if let Err(source) = self.remove_files(base) {
                return Err(self.broken(source));
            }
            self.segments.remove(0);
            let first = self.segments.first().map_or(0, |segment| segment.base_offset);
            self.start_offset = self.start_offset.max(first);
        }
        Ok(())
    }

    fn remove_files(&self, base: i64) -> io::Result<()> {
        remove_segment(&self.storage, &self.folder, base)
    }
}

/// Removes the files of a segment, durably.
pub(crate) fn remove_segment<S: Storage>(storage: &S, folder: &str, base: i64) -> io::Result<()> {
    for name in [segment::file_name(base), segment::index_name(base)] {
        match storage.remove(&format!("{folder}/{name}")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    storage.sync_folder(folder)
}

/// A record with a time in the future does not keep its segment past the time that the segment was sealed.
fn too_old<F: File>(segment: &Segment<F>, retention: Retention, now_ms: i64) -> bool {
    let newest = if segment.header.sealed {
        segment.max_timestamp.min(segment.header.stamped_ms)
    } else {
        segment.max_timestamp
    };
    retention.time_ms.is_some_and(|time_ms| newest.saturating_add(time_ms) < now_ms)
}

fn store_start<S: Storage>(storage: &S, folder: &str, offset: i64) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(START_LENGTH);
    bytes.put_slice(START_PREFIX);
    bytes.put_i64(offset);
    bytes.put_u32(crc32c::crc32c(folder.as_bytes()));
    let checksum = crc32c::crc32c(&bytes);
    bytes.put_u32(checksum);
    let temporary = format!("{folder}/{START_NAME}.new");
    let file = storage.open(&temporary)?;
    file.truncate(0)?;
    file.write_at(0, &bytes)?;
    file.sync()?;
    storage.rename(&temporary, &format!("{folder}/{START_NAME}"))?;
    storage.sync_folder(folder)
}

/// Where the log starts, as far as that was stored.
pub(crate) enum StoredStart {
    Nowhere,
    At(i64),
    /// The file is there and cannot be read.
    Damaged,
}

/// The start offset that was stored, if any was; `names` are the files of the folder.
pub(crate) fn load_start<S: Storage>(storage: &S, folder: &str, names: &[String]) -> io::Result<StoredStart> {
    if !names.iter().any(|name| name == START_NAME) {
        return Ok(StoredStart::Nowhere);
    }
    let file = storage.open(&format!("{folder}/{START_NAME}"))?;
    let mut bytes = [0; START_LENGTH];
    let read = file.read_at(0, &mut bytes)?;
    Ok(if read < START_LENGTH { StoredStart::Damaged } else { decode_start(&bytes, folder) })
}

fn decode_start(bytes: &[u8; START_LENGTH], folder: &str) -> StoredStart {
    let (body, mut checksum) = bytes.split_at(START_LENGTH - 4);
    let Some(mut rest) = body.strip_prefix(START_PREFIX) else { return StoredStart::Damaged };
    let offset = rest.get_i64();
    let own = rest.get_u32() == crc32c::crc32c(folder.as_bytes());
    if own && checksum.get_u32() == crc32c::crc32c(body) && offset >= 0 {
        StoredStart::At(offset)
    } else {
        StoredStart::Damaged
    }
}
