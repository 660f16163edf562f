//! What the broker tells who follows it on the admin port, over real sockets and from real disks.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::support::{Broker, DEADLINE, command, payloads, wait_for};

/// As the broker has it.
const FOLLOWERS_MAX: usize = 8;
const MIB: usize = 1024 * 1024;

fn start(folder: &Path) -> (Broker, String) {
    let mut command = command(folder);
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--auto-create-topics"]);
    let broker = Broker::run(command, folder);
    let ready: Value = serde_json::from_str(&fs::read_to_string(folder.join("ready")).unwrap()).unwrap();
    (broker, ready["admin"].as_str().unwrap().to_owned())
}

/// Somebody who follows; the status line of the answer is read already.
struct Follower {
    answer: String,
    lines: BufReader<TcpStream>,
}

impl Follower {
    fn new(admin: &str) -> Self {
        let mut stream = TcpStream::connect(admin).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET /v1/health HTTP/1.1\r\nhost: {admin}\r\n\r\n").unwrap();
        let mut lines = BufReader::new(stream);
        let mut answer = String::new();
        lines.read_line(&mut answer).unwrap();
        Self { answer, lines }
    }

    fn is_taken(&self) -> bool {
        self.answer.starts_with("HTTP/1.1 200")
    }

    /// The next line that was told; `None` at the end. Headers and sizes of chunks are no objects.
    fn next(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.starts_with('{') {
                return Some(serde_json::from_str(&line).unwrap());
            }
        }
    }

    /// Reads on until it is told so.
    fn wait_for(&mut self, is_so: impl Fn(&Value) -> bool) -> Value {
        loop {
            let told = self.next().unwrap();
            if is_so(&told) {
                return told;
            }
        }
    }
}

/// Goal: who follows is told at once how the broker is, in sizes and counts alone; there are eight and no more; the stream
/// ends with the broker.
#[test]
fn a_follower_is_told_how_the_broker_is() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, admin) = start(folder.path());
    let mut all: Vec<Follower> = (0..FOLLOWERS_MAX).map(|_| Follower::new(&admin)).collect();
    for follower in &mut all {
        assert!(follower.is_taken(), "{}", follower.answer);
        let told = follower.next().unwrap();
        let sizes = ["capacityBytes", "usedBytes"].map(|size| told["storage"][size].as_u64().unwrap());
        assert!(sizes[0] > 0 && sizes[1] <= sizes[0], "{told}");
        let names: Vec<&String> = told.as_object().unwrap().keys().collect();
        assert_eq!(names, ["diskNearlyFull", "readOnlyPartitions", "storage"]);
        assert_eq!((&told["diskNearlyFull"], &told["readOnlyPartitions"]), (&json!(false), &json!(0)));
    }
    let refused = Follower::new(&admin);
    assert!(refused.answer.starts_with("HTTP/1.1 503"), "{}", refused.answer);
    drop(all.pop());
    wait_for("a place", || Follower::new(&admin).is_taken().then_some(()));
    broker.stop();
    assert!(all.iter_mut().all(|follower| follower.next().is_none()));
}

/// A small disk in memory; taken off when it is dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(at: PathBuf, mebibytes: usize) -> Self {
        fs::create_dir_all(&at).unwrap();
        let size = format!("size={mebibytes}m");
        let ran = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(&at).output().unwrap();
        assert!(ran.status.success(), "mounting needs root: {ran:?}");
        Self(at)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// Goal: a disk that fills is told when it is nearly full and when it has room again, and what is used with it.
#[test]
#[ignore = "mounts file systems: needs root"]
fn a_disk_that_fills_is_told_and_heals() {
    let folder = tempfile::tempdir().unwrap();
    let mount = Mount::new(folder.path().join("data"), 64);
    let (broker, admin) = start(folder.path());
    let mut follower = Follower::new(&admin);
    let first = follower.next().unwrap();
    assert_eq!(
        (&first["diskNearlyFull"], &first["storage"]["capacityBytes"]),
        (&json!(false), &json!(64 * MIB))
    );
    let filling = mount.0.join("filling");
    fs::write(&filling, vec![1; 40 * MIB]).unwrap();
    let used = |told: &Value| told["storage"]["usedBytes"].as_u64().unwrap();
    let more = follower.wait_for(|told| used(told) >= used(&first) + 40 * MIB as u64);
    assert_eq!(more["diskNearlyFull"], false);
    // Not all of it fits; the mark is a twentieth of the disk.
    drop(fs::write(&filling, vec![1; 64 * MIB]));
    let full = follower.wait_for(|told| told["diskNearlyFull"] == true);
    assert!(used(&full) >= 58 * MIB as u64, "{full}");
    fs::remove_file(&filling).unwrap();
    let healed = follower.wait_for(|told| told["diskNearlyFull"] == false);
    assert!(used(&healed) < 32 * MIB as u64, "{healed}");
    broker.stop();
}

/// Goal: partitions that take no writes are counted, and named to nobody.
#[tokio::test]
async fn read_only_partitions_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, _) = start(folder.path());
    broker.produce(&broker.client(), "hurt", &payloads(0..3)).await;
    broker.stop();
    let topics = folder.path().join("data/topics");
    let topic = fs::read_dir(topics).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(topic.join(format!("0/{:020}.log", 0))).unwrap();
    let (broker, admin) = start(folder.path());
    let told = Follower::new(&admin).wait_for(|told| told["readOnlyPartitions"] == 1);
    assert!(!told.to_string().contains("hurt"), "{told}");
    broker.stop();
}
