//! Real disks that are full, read-only or too small in descriptors, under the real process. Mounting needs root: these
//! tests are marked to be ignored, which counts as skipped, and CI runs them as root (`cargo xtask ci`).
//!
//! Errors of single reads and writes (EIO) need a device mapper, which not every kernel has: those are made up in
//! `cargo xtask simulate` and in the tests of record-log.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use kafka_wire::{
    messages::{
        CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, FetchRequest, OffsetCommitRequest,
        ProduceRequest,
        create_topics::CreatableTopic,
        delete_records::{DeleteRecordsPartition, DeleteRecordsTopic},
        delete_topics::DeleteTopicState,
        fetch::{FetchPartition, FetchTopic},
        offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        produce::{PartitionProduceData, TopicProduceData},
    },
    records::{BatchBuilder, Batches, Record, Records},
};

use crate::support::{Broker, Wire, command, pause_for, wait_for};

const KAFKA_STORAGE_ERROR: i16 = 56;
const MIB: usize = 1024 * 1024;

/// A file system on a folder; taken off when it is dropped.
struct Mount(PathBuf);

impl Mount {
    fn run(program: &str, arguments: &[&str]) {
        let ran = Command::new(program).args(arguments).output();
        let output = ran.unwrap_or_else(|error| panic!("{program}: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?} needs root and mounts: {said}");
    }

    /// Memory as a disk.
    fn tmpfs(folder: &Path, mebibytes: usize) -> Self {
        fs::create_dir_all(folder).unwrap();
        Self::run("mount", &["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "none", text(folder)]);
        Self(folder.to_owned())
    }

    /// A file as a disk, with ext4 on it.
    fn ext4(image: &Path, folder: &Path, mebibytes: usize) -> Self {
        fs::create_dir_all(folder).unwrap();
        fs::File::create(image).unwrap().set_len((mebibytes * MIB) as u64).unwrap();
        Self::run("mkfs.ext4", &["-q", text(image)]);
        Self::run("mount", &["-o", "loop", text(image), text(folder)]);
        Self(folder.to_owned())
    }

    fn again(&self, how: &str) {
        Self::run("mount", &["-o", &format!("remount,{how}"), text(&self.0)]);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a broker that was just killed may still have it.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What was acknowledged of one partition: the length of each value, by offset from 0.
#[derive(Default)]
struct Acknowledged(Vec<usize>);

fn produce(wire: &mut Wire, topic: &str, bytes: usize, known: &mut Acknowledged) -> i16 {
    let value = vec![u8::try_from(known.0.len() % 251).unwrap(); bytes];
    let record = Record { value: Some(value.into()), ..Record::default() };
    let records = BatchBuilder::default().build(&[record]).unwrap();
    let data = PartitionProduceData { index: 0, records: Some(records) };
    let topic = TopicProduceData { name: topic.to_owned(), partition_data: vec![data], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    let answer = wire.call(&request, 9).responses.remove(0).partition_responses.remove(0);
    if answer.error_code == 0 {
        assert_eq!(usize::try_from(answer.base_offset), Ok(known.0.len()));
        known.0.push(bytes);
    }
    answer.error_code
}

/// All that was acknowledged can be read, and nothing else.
fn check(wire: &mut Wire, topic: &str, known: &Acknowledged) {
    let mut next = 0;
    while next < known.0.len() {
        let partition = FetchPartition {
            fetch_offset: i64::try_from(next).unwrap(),
            partition_max_bytes: 4 * 1024 * 1024,
            ..Default::default()
        };
        let wanted =
            FetchTopic { topic: topic.to_owned(), partitions: vec![partition], ..Default::default() };
        let request =
            FetchRequest { max_wait_ms: 0, min_bytes: 1, topics: vec![wanted], ..Default::default() };
        let found = wire.call(&request, 11).responses.remove(0).partitions.remove(0);
        assert_eq!(found.error_code, 0);
        assert_eq!(usize::try_from(found.high_watermark), Ok(known.0.len()));
        let before = next;
        for batch in Batches::new(found.records.unwrap()) {
            let (header, bytes) = batch.unwrap();
            header.check_checksum(&bytes).unwrap();
            for record in Records::open(&bytes, 16 * MIB).unwrap() {
                let value = record.unwrap().value.unwrap();
                assert_eq!(value.len(), known.0[next], "offset {next}");
                assert!(value.iter().all(|byte| usize::from(*byte) == next % 251), "offset {next}");
                next += 1;
            }
        }
        assert!(next > before);
    }
}

fn make_topic(wire: &mut Wire, name: &str, partitions: i32) -> (i16, String) {
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let answer = wire.call(&CreateTopicsRequest { topics: vec![topic], ..Default::default() }, 7);
    (answer.topics[0].error_code, answer.topics[0].error_message.clone().unwrap_or_default())
}

fn delete_topic(wire: &mut Wire, name: &str) -> i16 {
    let topic = DeleteTopicState { name: Some(name.to_owned()), ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![topic], ..Default::default() };
    wire.call(&request, 6).responses[0].error_code
}

fn commit(wire: &mut Wire, topic: &str, offset: i64) -> i16 {
    let partition = OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
    let topic = OffsetCommitRequestTopic {
        name: topic.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: "reader".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    wire.call(&request, 7).topics[0].partitions[0].error_code
}

/// Produces until the broker refuses. Says how it does.
fn fill(wire: &mut Wire, topic: &str, known: &mut Acknowledged) -> i16 {
    for _ in 0..1_000 {
        let code = produce(wire, topic, MIB - 1_024, known);
        if code != 0 {
            return code;
        }
    }
    panic!("the disk is never full");
}

/// Fills a file to the last byte that the disk has.
fn take_all(file: &mut fs::File) {
    let chunk = vec![1; 64 * 1024];
    while std::io::Write::write_all(file, &chunk).is_ok() {}
    while std::io::Write::write_all(file, &chunk[..1]).is_ok() {}
}

/// A full disk: filled by producing and then by somebody else to the last byte but the broker's reserve. Reads, commits and deletions go on,
/// the process lives, and with room it takes records again without a restart.
fn goes_through_a_full_disk(folder: &Path, data: &Path) {
    let broker = Broker::start_with(folder, "auto.create.topics.enable=false\nlog.segment.bytes=4194304\n");
    let mut wire = broker.connect();
    let [mut kept, mut large, mut spare] = <[Acknowledged; 3]>::default();
    ["kept", "large", "spare"].iter().for_each(|name| assert_eq!(make_topic(&mut wire, name, 1).0, 0));
    (0..50).for_each(|_| assert_eq!(produce(&mut wire, "kept", 500, &mut kept), 0));
    (0..20).for_each(|_| assert_eq!(produce(&mut wire, "spare", MIB - 1_024, &mut spare), 0));
    assert_eq!(fill(&mut wire, "large", &mut large), KAFKA_STORAGE_ERROR);
    let filling = data.join("filling");
    let mut neighbour = fs::File::create(&filling).unwrap();
    take_all(&mut neighbour);
    if !data.join("reserve").exists() {
        // It was given up while the neighbour still took all there was, and so it got that too: that is the next test.
        let taken = neighbour.metadata().unwrap().len();
        neighbour.set_len(taken.saturating_sub((2 * MIB) as u64)).unwrap();
    }
    wait_for("the mark", || (produce(&mut wire, "kept", 10, &mut kept) == KAFKA_STORAGE_ERROR).then_some(()));
    check(&mut wire, "kept", &kept);
    check(&mut wire, "large", &large);
    // The reserve is given up within a second, and then there is room for these.
    wait_for("a commit", || (commit(&mut wire, "kept", 7) == 0).then_some(()));
    let partition = DeleteRecordsPartition { partition_index: 0, offset: 3 };
    let topic = DeleteRecordsTopic { name: "kept".to_owned(), partitions: vec![partition] };
    let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 30_000 };
    wait_for("a deletion of records", || {
        (wire.call(&request, 2).topics[0].partitions[0].error_code == 0).then_some(())
    });
    wait_for("a deletion of a topic", || (delete_topic(&mut wire, "spare") == 0).then_some(()));
    fs::remove_file(&filling).unwrap();
    // It heals by itself, the log that met the end of the disk as well.
    wait_for("room", || (produce(&mut wire, "kept", 500, &mut kept) == 0).then_some(()));
    for bytes in [500, MIB / 2, 10] {
        assert_eq!(produce(&mut wire, "kept", bytes, &mut kept), 0);
        assert_eq!(produce(&mut wire, "large", bytes, &mut large), 0);
    }
    broker.kill();
    let broker = Broker::start_on(folder, 0);
    let mut wire = broker.connect();
    check_from(&mut wire, "kept", &kept, 3);
    check(&mut wire, "large", &large);
    assert_eq!(produce(&mut wire, "kept", 500, &mut kept), 0);
    broker.stop();
}

fn check_from(wire: &mut Wire, topic: &str, known: &Acknowledged, start: usize) {
    let partition = FetchPartition { fetch_offset: 0, partition_max_bytes: 1, ..Default::default() };
    let wanted = FetchTopic { topic: topic.to_owned(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { max_wait_ms: 0, topics: vec![wanted], ..Default::default() };
    let found = wire.call(&request, 11).responses.remove(0).partitions.remove(0);
    assert_eq!((found.error_code, found.log_start_offset), (1, i64::try_from(start).unwrap()));
    assert_eq!(usize::try_from(found.high_watermark), Ok(known.0.len()));
}

/// Goal: see [`goes_through_a_full_disk`], on memory, where a write is refused at once.
#[test]
#[ignore = "mounts file systems: needs root"]
fn a_full_tmpfs_heals_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _mount = Mount::tmpfs(&data, 64);
    goes_through_a_full_disk(folder.path(), &data);
}

/// Goal: see [`goes_through_a_full_disk`], on ext4, which gives blocks out late.
#[test]
#[ignore = "mounts file systems: needs root"]
fn a_full_ext4_heals_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _mount = Mount::ext4(&folder.path().join("image"), &data, 96);
    goes_through_a_full_disk(folder.path(), &data);
}

/// Goal: somebody else takes every byte, the reserve too, just when a new log is to note for the first time what it has
/// synced. With room again it takes records, and has all.
#[test]
#[ignore = "mounts file systems: needs root"]
fn a_neighbour_that_takes_all_space_is_outlived() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _mount = Mount::ext4(&folder.path().join("image"), &data, 96);
    let broker = Broker::start(folder.path());
    let mut wire = broker.connect();
    let mut fresh = Acknowledged::default();
    assert_eq!(make_topic(&mut wire, "fresh", 1).0, 0);
    assert_eq!(produce(&mut wire, "fresh", 500, &mut fresh), 0);
    let filling = data.join("filling");
    let mut file = fs::File::create(&filling).unwrap();
    // A quiet broker stores its logs after a second, and gives its reserve up within one.
    for _ in 0..40 {
        take_all(&mut file);
        pause_for(Duration::from_millis(100));
    }
    drop(file);
    fs::remove_file(&filling).unwrap();
    wait_for("room", || (produce(&mut wire, "fresh", 500, &mut fresh) == 0).then_some(()));
    broker.kill();
    let broker = Broker::start_on(folder.path(), 0);
    let mut wire = broker.connect();
    check(&mut wire, "fresh", &fresh);
    assert_eq!(produce(&mut wire, "fresh", 10, &mut fresh), 0);
    broker.stop();
}

/// Goal: a disk that is read-only all of a sudden refuses writes with an error that clients retry, and readers go
/// on; a start on the mended disk has everything.
#[test]
#[ignore = "mounts file systems: needs root"]
fn a_disk_that_turns_read_only_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mount = Mount::ext4(&folder.path().join("image"), &data, 96);
    let broker = Broker::start(folder.path());
    let mut wire = broker.connect();
    let mut known = Acknowledged::default();
    assert_eq!(make_topic(&mut wire, "kept", 1).0, 0);
    (0..200).for_each(|at| assert_eq!(produce(&mut wire, "kept", 100 + at * 50, &mut known), 0));
    // A file that is open for writing keeps a plain remount off; a sick disk asks nobody.
    mount.again("abort");
    wait_for("the error", || (produce(&mut wire, "kept", 100, &mut known) != 0).then_some(()));
    assert_eq!(produce(&mut wire, "kept", 100, &mut known), KAFKA_STORAGE_ERROR);
    check(&mut wire, "kept", &known);
    assert_ne!(commit(&mut wire, "kept", 7), 0);
    broker.kill();
    drop(mount);
    let image = folder.path().join("image");
    // What a person does: mend it, mount it, start.
    drop(Command::new("fsck.ext4").args(["-p", "-f", text(&image)]).status());
    Mount::run("mount", &["-o", "loop", text(&image), text(&data)]);
    let mount = Mount(data);
    let broker = Broker::start_on(folder.path(), 0);
    let mut wire = broker.connect();
    check(&mut wire, "kept", &known);
    assert_eq!(produce(&mut wire, "kept", 100, &mut known), 0);
    check(&mut wire, "kept", &known);
    broker.stop();
    drop(mount);
}

/// Goal: a thousand partitions in a process that may have 256 files open: all are written to and read, before and
/// after a kill, and clients can still connect.
#[test]
fn a_thousand_partitions_need_no_thousand_files() {
    let folder = tempfile::tempdir().unwrap();
    let limited = || {
        let plain = command(folder.path());
        let mut shell = Command::new("bash");
        shell.args(["-c", "ulimit -n 256 && exec \"$0\" \"$@\""]).arg(plain.get_program());
        shell.args(plain.get_args()).args(["--listen", "127.0.0.1:0"]);
        shell
    };
    let broker = Broker::run(limited(), folder.path());
    let mut wire = broker.connect();
    assert_eq!(make_topic(&mut wire, "many", 1_000).0, 0);
    write_to_all(&mut wire, 1);
    let others: Vec<Wire> = (0..50).map(|_| broker.connect()).collect();
    broker.kill();
    drop(others);
    let broker = Broker::run(limited(), folder.path());
    let mut wire = broker.connect();
    write_to_all(&mut wire, 2);
    assert!(descriptors(&broker) <= 256);
    let mut late: Vec<Wire> = (0..50).map(|_| broker.connect()).collect();
    let mut one = Acknowledged(vec![3, 3]);
    assert_eq!(produce(late.last_mut().unwrap(), "many", 3, &mut one), 0);
    broker.stop();
}

fn descriptors(broker: &Broker) -> usize {
    fs::read_dir(format!("/proc/{}/fd", broker.id())).unwrap().count()
}

/// A record for each partition, then each is read back: there are `wanted` now.
fn write_to_all(wire: &mut Wire, wanted: i64) {
    for first in (0..1_000).step_by(100) {
        let record = Record { value: Some("abc".into()), ..Record::default() };
        let records = BatchBuilder::default().build(&[record]).unwrap();
        let data = |index| PartitionProduceData { index, records: Some(records.clone()) };
        let topic = TopicProduceData {
            name: "many".to_owned(),
            partition_data: (first..first + 100).map(data).collect(),
            ..Default::default()
        };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
        let answer = wire.call(&request, 9);
        let answers = &answer.responses[0].partition_responses;
        assert!(answers.iter().all(|part| part.error_code == 0 && part.base_offset == wanted - 1));
    }
    for partition in 0..1_000 {
        let part = FetchPartition { partition, partition_max_bytes: 4_096, ..Default::default() };
        let topic = FetchTopic { topic: "many".to_owned(), partitions: vec![part], ..Default::default() };
        let request = FetchRequest { max_wait_ms: 0, topics: vec![topic], ..Default::default() };
        let found = wire.call(&request, 11).responses.remove(0).partitions.remove(0);
        assert_eq!((found.error_code, found.high_watermark), (0, wanted), "partition {partition}");
        assert!(!found.records.unwrap().is_empty());
    }
}
