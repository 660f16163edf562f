//! More files than may be open: nobody who has one can tell.

use super::*;

fn descriptors(folder: &Path) -> usize {
    let open =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    open.filter(|path| path.starts_with(folder)).count()
}

/// Goal: a hundred files through eight descriptors keep what was written to them, in any order of use.
#[test]
fn more_files_than_descriptors() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path(), 8);
    let files: Vec<RealFile> = (0..100).map(|at| folder.open(&format!("{at}")).unwrap()).collect();
    for round in 0..3_u8 {
        for (at, file) in files.iter().enumerate() {
            file.write_at(u64::from(round), &[u8::try_from(at).unwrap() ^ round]).unwrap();
            assert!(descriptors(place.path()) <= 8, "{at}");
        }
    }
    for (at, file) in files.iter().enumerate().rev() {
        let mut bytes = [0; 4];
        assert_eq!(file.read_at(0, &mut bytes).unwrap(), 3);
        let wanted = [0, 1, 2].map(|round| u8::try_from(at).unwrap() ^ round);
        assert_eq!(bytes[..3], wanted, "{at}");
        file.sync().unwrap();
        assert_eq!(file.length().unwrap(), 3);
    }
    drop(files);
    assert_eq!((descriptors(place.path()), folder.files.open.load(Ordering::Relaxed)), (0, 0));
}

/// Goal: who has a file that is removed or renamed goes on to read it, also when it was closed meanwhile; another
/// file of its name is another file.
#[test]
fn a_file_outlives_its_name() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path(), 2);
    let old = folder.open("a").unwrap();
    old.write_at(0, b"old").unwrap();
    let moved = folder.open("b").unwrap();
    moved.write_at(0, b"moved").unwrap();
    let others: Vec<RealFile> = (0..6).map(|at| folder.open(&format!("other-{at}")).unwrap()).collect();
    folder.remove("a").unwrap();
    folder.rename("b", "c").unwrap();
    let new = folder.open("a").unwrap();
    new.write_at(0, b"new").unwrap();
    for other in &others {
        other.write_at(0, b"x").unwrap();
    }
    let read = |file: &RealFile| {
        let mut bytes = [0; 8];
        let length = file.read_at(0, &mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    assert_eq!([read(&old), read(&new), read(&moved)], ["old", "new", "moved"]);
    assert_eq!(read(&folder.open("c").unwrap()), "moved");
}

/// Goal: one file has one descriptor, however often it is opened by its name, so that a sync through one handle is
/// one of what was written through the other.
#[test]
fn a_file_that_is_opened_twice_is_one() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path(), 4);
    let (one, two) = (folder.open("a").unwrap(), folder.open("a").unwrap());
    one.write_at(0, b"x").unwrap();
    assert!(two.0.lock().dirty);
    assert_eq!(descriptors(place.path()), 1);
}

/// Goal: an error of a sync before a close is told to the next sync, and only to it.
#[test]
fn an_error_outlives_its_descriptor() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path(), 4);
    let file = folder.open("a").unwrap();
    file.0.lock().failed = Some(io::Error::other("broken"));
    assert!(file.sync().is_err());
    assert!(file.sync().is_ok());
}

/// Goal: what was written is synced before its file is closed to make room, and an error of that is not lost with the
/// descriptor: the next sync tells it, once.
#[test]
fn a_failed_sync_outlives_its_descriptor() {
    let place = tempfile::tempdir().unwrap();
    // Takes every write, and no sync.
    std::os::unix::fs::symlink("/dev/null", place.path().join("sick")).unwrap();
    let folder = Folder::new(place.path(), 2);
    let sick = folder.open("sick").unwrap();
    sick.write_at(0, b"x").unwrap();
    let _others: Vec<RealFile> = (0..6).map(|at| folder.open(&format!("other-{at}")).unwrap()).collect();
    assert!(sick.0.lock().file.is_none(), "it was closed for the others");
    assert_eq!(sick.sync().unwrap_err().kind(), io::ErrorKind::InvalidInput);
    sick.sync().unwrap();
}
