//! A partition's folder as a crash, a bad disk or an enemy may leave it: opening ends well or with an error, a second
//! opening finds nothing more to do, and reading gives whole batches or an error.

use record_log::storage::{File as _, Storage as _, memory::MemoryStorage};
use record_log::{Log, Settings, batch};

const FOLDER: &str = "log";
const SETTINGS: Settings = Settings { segment_bytes: 16_384, segment_ms: i64::MAX };
/// Nothing makes a log read more often than it has bytes.
const READS_MAX: usize = 10_000;

/// One input: names and contents of files, as [`pack`] puts them together.
pub fn run(data: &[u8]) {
    let storage = MemoryStorage::default();
    let mut rest = data;
    while let Some(((kind, base, content), next)) = unpack(rest) {
        rest = next;
        let ending = [".log", ".index", ".producers"][usize::from(kind % 3)];
        let name = if kind % 4 == 3 { "start".to_owned() } else { format!("{base:020}{ending}") };
        let file = storage.open(&format!("{FOLDER}/{name}")).expect("memory opens");
        file.write_at(0, content).expect("memory takes all");
    }
    let Ok((mut log, recovery)) = Log::open(storage.clone(), FOLDER, SETTINGS, 1, &mut |_, _| ()) else {
        return;
    };
    read(&mut log);
    if recovery.read_only.is_none() {
        let mut more = batch::wrap(b"more", 1).expect("it is small");
        log.append(&mut more, 1).expect("memory takes all");
        log.close().expect("memory syncs");
        let end = log.end_offset();
        drop(log);
        let (again, recovery) =
            Log::open(storage, FOLDER, SETTINGS, 1, &mut |_, _| ()).expect("what was closed well opens");
        assert_eq!((again.end_offset(), recovery.truncated_bytes, recovery.read_only), (end, 0, None));
    }
}

fn read(log: &mut Log<MemoryStorage>) {
    let mut offset = log.start_offset();
    for _ in 0..READS_MAX {
        let Ok(Some(location)) = log.locate(offset) else { return };
        let Ok(slice) = location.read(4_096) else { return };
        assert!(slice.next_offset > offset, "a read moves on");
        offset = slice.next_offset;
    }
}

fn unpack(bytes: &[u8]) -> Option<((u8, u16, &[u8]), &[u8])> {
    let (head, rest) = bytes.split_at_checked(5)?;
    let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
    let (content, rest) = rest.split_at(length.min(rest.len()));
    Some(((head[0], u16::from_be_bytes([head[1], head[2]]), content), rest))
}

fn pack(storage: &MemoryStorage) -> Vec<u8> {
    let mut packed = Vec::new();
    for name in storage.list(FOLDER).expect("it is there") {
        let file = storage.open(&format!("{FOLDER}/{name}")).expect("it is there");
        // Reserved space is nothing but zeros.
        let length = file.length().expect("it has one").min(12_000);
        let mut content = vec![0; usize::try_from(length).expect("it is small")];
        file.read_at(0, &mut content).expect("it reads");
        while content.len() > 4_096 && content.last() == Some(&0) {
            content.pop();
        }
        let (digits, ending) = name.split_once('.').unwrap_or((&name, "start"));
        packed.push(match ending {
            "log" => 0,
            "index" => 1,
            _ => 3,
        });
        packed.extend(digits.parse::<u16>().unwrap_or(0).to_be_bytes());
        packed.extend(u16::try_from(content.len()).expect("it is small").to_be_bytes());
        packed.extend(content);
    }
    packed
}

/// Logs of several shapes: empty, closed, not closed, rolled, with a moved start.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for shape in 0..5 {
        let storage = MemoryStorage::default();
        let opened = Log::open(storage.clone(), FOLDER, SETTINGS, 1, &mut |_, _| ());
        let (mut log, _) = opened.expect("memory opens");
        for number in 0..shape * 2 {
            let mut bytes = batch::wrap(&[7; 60], number).expect("it is small");
            log.append(&mut bytes, 1).expect("memory takes all");
            if shape == 3 && number == 2 {
                log.roll(1).expect("memory takes all");
            }
        }
        if shape != 2 {
            log.close().expect("memory syncs");
        }
        if shape == 4 {
            log.delete_before(3, 0).expect("memory takes all");
        }
        seeds.push(pack(&storage));
    }
    seeds
}
