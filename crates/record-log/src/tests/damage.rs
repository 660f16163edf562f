//! Damage to every file of a log: nothing is lost in silence, nothing of another log is read, and there is a way out.

use super::*;
use crate::storage::File;

/// Files of the folder that end so, in order.
fn files(storage: &MemoryStorage, folder: &str, end: &str) -> Vec<String> {
    let mut names = storage.list(folder).unwrap();
    names.retain(|name| name.ends_with(end));
    names.sort();
    names.iter().map(|name| format!("{folder}/{name}")).collect()
}

fn length(storage: &MemoryStorage, path: &str) -> u64 {
    storage.open(path).unwrap().length().unwrap()
}

fn bytes(storage: &MemoryStorage, path: &str) -> Vec<u8> {
    let file = storage.open(path).unwrap();
    let mut bytes = vec![0; usize::try_from(file.length().unwrap()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

fn put(storage: &MemoryStorage, path: &str, bytes: &[u8]) {
    let file = storage.open(path).unwrap();
    file.truncate(0).unwrap();
    file.write_at(0, bytes).unwrap();
}

/// A log with `count` records of 500 bytes, closed; each says its own number and the log's.
fn written(storage: &MemoryStorage, folder: &str, count: u64) {
    let (mut log, _) = Log::open(storage.clone(), folder, SETTINGS, 0, &mut |_, _| ()).unwrap();
    for number in 0..count {
        append(&mut log, &labelled(folder, number), 0).unwrap();
    }
    log.close().unwrap();
}

fn labelled(folder: &str, number: u64) -> Vec<u8> {
    let mut bytes = payload(number, 500);
    bytes.extend(folder.as_bytes());
    bytes
}

/// Every offset is read by itself: it comes back as it was written, or the error is told.
fn readable(log: &mut Log<MemoryStorage>, folder: &str) -> (Vec<i64>, Vec<String>) {
    let (mut good, mut told) = (Vec::new(), Vec::new());
    for offset in log.start_offset()..log.end_offset() {
        let read = log.locate(offset).and_then(|found| found.expect("all is synced").read(1));
        match read {
            Ok(slice) => {
                assert_eq!(slice.next_offset, offset + 1);
                let expected = labelled(folder, offset.unsigned_abs());
                assert_eq!(slice.bytes[batch::HEADER_BYTES..], expected[..], "offset {offset}");
                good.push(offset);
            }
            Err(error) => told.push(error.to_string()),
        }
    }
    (good, told)
}

fn reopen(storage: &MemoryStorage) -> (Log<MemoryStorage>, Option<String>) {
    let (log, recovery) = open(storage);
    (log, recovery.read_only)
}

/// Goal: one flipped bit anywhere in what was synced is met by the reader and told with file and place; every
/// other record is still read; no byte is changed.
#[test]
fn a_flipped_bit_is_told_by_the_reader() {
    let storage = MemoryStorage::default();
    written(&storage, FOLDER, 10);
    let path = format!("{FOLDER}/{:020}.log", 0);
    let size = (length(&storage, &path) - 4096) / 10;
    for bit_at in (4096..length(&storage, &path)).step_by(13) {
        let hurt = storage.after_kill();
        hurt.flip_bit(&path, usize::try_from(bit_at).unwrap()).unwrap();
        let before = bytes(&hurt, &path);
        let (mut log, _) = reopen(&hurt);
        assert_eq!((log.start_offset(), log.end_offset()), (0, 10));
        let (good, told) = readable(&mut log, FOLDER);
        // The leader epoch of a batch is under no checksum; anything else is.
        let of_batch = (bit_at - 4096) % size;
        if (12..16).contains(&of_batch) {
            assert_eq!(good.len(), 10);
        } else {
            assert!(!told.is_empty(), "bit of byte {bit_at}");
            assert!(told[0].starts_with(&path) && told[0].contains("position"), "{}", told[0]);
            let first_bad = i64::try_from((bit_at - 4096) / size).unwrap();
            assert!((0..first_bad).all(|offset| good.contains(&offset)), "those before it");
        }
        assert_eq!(bytes(&hurt, &path), before);
    }
}

/// Goal: behind damage to the records reading goes on, and behind damage that breaks the chain of batches it goes
/// on from the next entry of the index.
#[test]
fn reading_goes_on_behind_damage() {
    let storage = MemoryStorage::default();
    let (mut log, _) = open(&storage);
    for number in 0..200 {
        let mut batch = batch::wrap(&labelled(FOLDER, number), 0).unwrap();
        log.append(&mut batch, 0).unwrap();
    }
    sync(&mut log).unwrap();
    log.save_index().unwrap();
    log.close().unwrap();
    let size = usize::try_from((length(&storage, &format!("{FOLDER}/{:020}.log", 0)) - 4096) / 200).unwrap();
    for in_batch in [100, 8] {
        let hurt = storage.after_kill();
        hurt.flip_bit(&format!("{FOLDER}/{:020}.log", 0), 4096 + 50 * size + in_batch).unwrap();
        let (mut log, _) = reopen(&hurt);
        let (good, told) = readable(&mut log, FOLDER);
        assert!(good.starts_with(&(0..50).collect::<Vec<_>>()));
        assert!(good.ends_with(&(100..200).collect::<Vec<_>>()), "{} told", told.len());
        assert_eq!(good.len() + told.len(), 200);
    }
}

/// Goal: records that were damaged are deleted on request, and then the log takes writes again, now and after a
/// restart; damage that is left keeps it read-only.
#[test]
fn deleting_the_damage_heals() {
    let storage = MemoryStorage::default();
    written(&storage, FOLDER, 100);
    let path = files(&storage, FOLDER, ".log")[1].clone();
    storage.flip_bit(&path, 4096 + 2 * 600).unwrap();
    let (mut log, _) = reopen(&storage);
    let (_, told) = readable(&mut log, FOLDER);
    log.fail_damaged(&told[0]);
    assert!(matches!(append(&mut log, b"no", 0), Err(AppendError::ReadOnly { .. })));
    assert_eq!(log.delete_before(20, 0).unwrap(), 20);
    assert!(log.read_only_reason().unwrap().starts_with(&path), "it is still there");
    assert_eq!(log.delete_before(60, 0).unwrap(), 60);
    assert_eq!(log.read_only_reason(), None);
    assert_eq!(append(&mut log, &labelled(FOLDER, 100), 0).unwrap(), 100);
    sync(&mut log).unwrap();
    let (mut log, read_only) = reopen(&storage.after_kill());
    assert_eq!(read_only, None);
    assert_eq!(readable(&mut log, FOLDER).0, (60..101).collect::<Vec<_>>());
}

/// Goal: a failed disk is not healed by deleting records.
#[test]
fn deleting_does_not_heal_a_failed_disk() {
    let storage = MemoryStorage::default();
    written(&storage, FOLDER, 100);
    let (mut log, _) = reopen(&storage);
    log.fail_damaged("damage");
    log.fail("sync failed");
    assert!(matches!(log.delete_before(100, 0), Err(AppendError::ReadOnly { .. })));
}

/// Goal: a segment cut off at any length before its synced position is told, whichever it is, and what is left is
/// read; deleting all records takes the log back into service with no offset given out twice.
#[test]
fn a_file_cut_short_is_told() {
    let storage = MemoryStorage::default();
    written(&storage, FOLDER, 100);
    let paths = files(&storage, FOLDER, ".log");
    for path in &paths {
        for cut in [0, 1, 100, 2_100, 4_095, 4_096, 4_100, 6_000] {
            if cut >= length(&storage, path) {
                continue;
            }
            let hurt = storage.after_kill();
            hurt.open(path).unwrap().truncate(cut).unwrap();
            let (mut log, read_only) = reopen(&hurt);
            let reason = read_only.unwrap_or_else(|| panic!("{path} cut to {cut} is not told"));
            assert!(reason.contains(path), "{reason}");
            let (good, told) = readable(&mut log, FOLDER);
            assert!(
                !good.is_empty() && (path == paths.last().unwrap() || !told.is_empty()),
                "{path} {cut} {good:?} {told:?}"
            );
            let start = log.delete_before(log.end_offset(), 0).unwrap();
            assert!(start >= 100 || path != paths.last().unwrap(), "offsets begin at {start}");
            assert_eq!((log.read_only_reason(), log.start_offset()), (None, log.end_offset()));
            let next = append(&mut log, b"new", 0).unwrap();
            assert!(next >= 100, "offset {next} was given out before");
            sync(&mut log).unwrap();
            let (log, read_only) = reopen(&hurt.after_kill());
            assert_eq!((read_only, log.end_offset()), (None, next + 1));
        }
    }
}

/// Goal: a file that is gone from the beginning is like one that retention removed; from the middle or the end it
/// is told, and a reader of what was in it is told too.
#[test]
fn a_missing_file_is_told() {
    let storage = MemoryStorage::default();
    written(&storage, FOLDER, 150);
    let paths = files(&storage, FOLDER, ".log");
    for path in &paths[1..] {
        let hurt = storage.after_kill();
        hurt.remove(path).unwrap();
        let (mut log, read_only) = reopen(&hurt);
        assert!(read_only.unwrap().contains("missing"), "{path}");
        let (_, told) = readable(&mut log, FOLDER);
        if path != paths.last().unwrap() {
            assert!(told[0].contains("lost the file with the records"), "{}", told[0]);
        }
        log.delete_before(log.end_offset(), 0).unwrap();
        assert!(append(&mut log, b"new", 0).unwrap() >= 150);
    }
}

/// Goal: a file of another log, or another segment's, is never read as this log's and never changed; putting it
/// back is all that is needed.
#[test]
fn a_swapped_file_is_not_read() {
    let storage = MemoryStorage::default();
    written(&storage, FOLDER, 100);
    written(&storage, "topics/two", 100);
    let (own, other) = (files(&storage, FOLDER, ".log"), files(&storage, "topics/two", ".log"));
    for (here, there) in own.iter().zip(&other).chain([(&own[1], &own[2])]) {
        let hurt = storage.after_kill();
        let (mine, theirs) = (bytes(&hurt, here), bytes(&hurt, there));
        put(&hurt, here, &theirs);
        put(&hurt, there, &mine);
        let (mut log, read_only) = reopen(&hurt);
        assert!(read_only.unwrap().contains("put it back"));
        readable(&mut log, FOLDER);
        assert!(log.delete_before(log.end_offset(), 0).is_err(), "nothing is deleted over it");
        assert_eq!((bytes(&hurt, here), bytes(&hurt, there)), (theirs, mine.clone()));
        let theirs = bytes(&hurt, here);
        put(&hurt, here, &mine);
        put(&hurt, there, &theirs);
        let (mut log, read_only) = reopen(&hurt);
        assert_eq!((read_only, readable(&mut log, FOLDER).0.len()), (None, 100));
    }
    // The only file of a log is another's: there is nothing to read, and nothing is made over it.
    let alone = MemoryStorage::default();
    written(&alone, FOLDER, 3);
    put(&alone, &format!("{FOLDER}/{:020}.log", 0), &bytes(&storage, &other[0]));
    let opened = Log::open(alone.clone(), FOLDER, SETTINGS, 0, &mut |_, _| ());
    assert!(opened.is_err_and(|error| error.to_string().contains("topics/two")));
}

/// Goal: an older copy of the last file is told by who knows how far the log was, and its offsets are not given out
/// again.
#[test]
fn an_older_copy_is_told() {
    let storage = MemoryStorage::default();
    written(&storage, FOLDER, 10);
    let path = format!("{FOLDER}/{:020}.log", 0);
    let older = bytes(&storage, &path);
    written(&storage, FOLDER, 10);
    put(&storage, &path, &older);
    let (mut log, read_only) = reopen(&storage);
    assert_eq!((read_only, log.end_offset()), (None, 10), "the log alone cannot know");
    log.expect_end(10);
    assert_eq!(log.read_only_reason(), None);
    log.expect_end(20);
    assert!(log.read_only_reason().unwrap().contains("older copy"));
    assert!(append(&mut log, b"no", 0).is_err());
    log.delete_before(5, 0).unwrap();
    assert!(log.read_only_reason().is_some(), "the records are still missing");
    assert_eq!(log.delete_before(10, 0).unwrap(), 20);
    assert_eq!(append(&mut log, b"new", 0).unwrap(), 20);
}

/// Goal: one damaged half of a header page harms nothing, unless records may have hung on it; both make the log
/// read-only, and reading goes on.
#[test]
fn a_damaged_header_page_is_told() {
    let storage = MemoryStorage::default();
    written(&storage, FOLDER, 100);
    for path in files(&storage, FOLDER, ".log") {
        for slots in [vec![40], vec![2_048 + 40], vec![40, 2_048 + 40]] {
            let hurt = storage.after_kill();
            let both = slots.len() == 2;
            for at in slots {
                hurt.flip_bit(&path, at).unwrap();
            }
            let (mut log, read_only) = reopen(&hurt);
            let (good, told) = readable(&mut log, FOLDER);
            assert!(read_only.is_some() || !both, "{path}");
            if read_only.is_none() {
                assert_eq!(good.len(), 100);
            }
            assert!(good.len() + told.len() == 100, "{path} {} {}", good.len(), told.len());
        }
    }
}

/// Goal: whatever happens to an index file, all records and times are found.
#[test]
fn an_index_is_never_believed() {
    let storage = MemoryStorage::default();
    written(&storage, FOLDER, 100);
    written(&storage, "topics/two", 100);
    let paths = files(&storage, FOLDER, ".index");
    assert!(!paths.is_empty());
    for path in &paths {
        for what in 0..5 {
            let hurt = storage.after_kill();
            match what {
                0 => hurt.flip_bit(path, 30).unwrap(),
                1 => hurt.open(path).unwrap().truncate(20).unwrap(),
                2 => hurt.remove(path).unwrap(),
                3 => put(&hurt, path, &bytes(&hurt, &path.replace(FOLDER, "topics/two"))),
                _ => put(&hurt, path, &[7; 5_000]),
            }
            let (mut log, read_only) = reopen(&hurt);
            assert_eq!((read_only, readable(&mut log, FOLDER).0.len()), (None, 100));
        }
    }
}

/// Goal: a start file that is damaged, or another log's, is told, and deleting again heals it.
#[test]
fn a_damaged_start_is_told() {
    let storage = MemoryStorage::default();
    written(&storage, FOLDER, 100);
    let (mut log, _) = reopen(&storage);
    log.delete_before(57, 0).unwrap();
    for what in 0..3 {
        let hurt = storage.after_kill();
        let path = format!("{FOLDER}/start");
        match what {
            0 => hurt.flip_bit(&path, 12).unwrap(),
            1 => hurt.open(&path).unwrap().truncate(3).unwrap(),
            _ => {
                written(&hurt, "topics/two", 100);
                let (mut two, _) =
                    Log::open(hurt.clone(), "topics/two", SETTINGS, 0, &mut |_, _| ()).unwrap();
                two.delete_before(3, 0).unwrap();
                put(&hurt, &path, &bytes(&hurt, "topics/two/start"));
            }
        }
        let (mut log, read_only) = reopen(&hurt);
        assert!(read_only.unwrap().contains("start cannot be read"));
        assert!(log.start_offset() <= 57);
        assert_eq!(log.delete_before(57, 0).unwrap(), 57);
        let (log, read_only) = reopen(&hurt);
        assert_eq!((read_only, log.start_offset()), (None, 57));
    }
}
